"""The views of the dashboard, one a tab: which tables and panels it shows, and where.

Not here: how those are drawn (``vmqtui.widgets``) and what keys do (``vmqtui.dashboard``).
"""
