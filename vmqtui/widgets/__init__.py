"""Widgets that draw their own lines from view models: tables, bars, charts, header and key bar.

Not here: where the numbers come from (``vmqtui.state``) and what a column is (``vmqtui.columns``).
"""
