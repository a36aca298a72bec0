"""Exports for other programs: metrics for Prometheus, tables of recordings for analysis.

Not here: the dashboard's exports of its own tables (``vmqtui.view_actions``).
"""
