"""The options of the commands, by subject: what may be typed, and what each does in a line of help.

Not here: what they do (``vmqtui.cli``), and their list (``vmqtui.cli.program``).
"""
