"""The views of the dashboard, one per tab: their tables and panels.

Not here: drawing them (``vmqtui.widgets``), and key actions (``vmqtui.dashboard``).
"""
