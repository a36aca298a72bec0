"""The dashboard in a browser: who may come in, the page, and a session's own process.

Not here: the command (``vmqtui.cli.serve``), and the dashboard itself, which is the very same.
"""
