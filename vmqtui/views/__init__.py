"""The views of the dashboard, one per tab: their tables and panels.

Not here: how those are drawn (``vmqtui.widgets``) and what keys do (``vmqtui.dashboard``).
"""
