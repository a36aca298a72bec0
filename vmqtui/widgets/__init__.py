"""Widgets that draw their own lines from view models: tables, bars, charts, header and key bar.

Not here: the source of the numbers (``vmqtui.state``), and the definition of columns (``vmqtui.columns``).
"""
