"""Recordings: a telemetry stream in a file, as it is written and as it is read back.

Not here: where the messages come from (``vmqtui.cli.record``), how they are shown (``vmqtui.recorded``).
"""
