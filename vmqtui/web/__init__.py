"""The dashboard in a browser: access control, the page, and a process for each session.

Not here: the command (``vmqtui.cli.serve``), and the dashboard itself, which is the one of the terminal.
"""
