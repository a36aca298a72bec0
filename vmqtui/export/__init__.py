"""Exports for other programs: metrics for Prometheus, tables of recordings for analysis.

Not here: files that the dashboard writes of its tables (``vmqtui.view_actions``).
"""
