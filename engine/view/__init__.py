"""One host at one moment: its configuration joined with its counters and rates, one row per object. Pure.

Not here: the choice of the moment (``vmqtui.state``), the diagnosis of a host (``engine.advice``), or the
formatting of a row (``vmqtui.columns``).
"""
