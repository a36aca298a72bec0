"""What other programs take from engines and recordings: metrics for Prometheus, tables for analysis.

Not here: files that the dashboard writes of what it shows (``vmqtui.view_actions``).
"""
