"""One host at a moment: its configuration joined with its counters, rates, and a row for each thing. Pure.

Not here: the moments there are (``vmqtui.state``), what is wrong with a host (``engine.advice``), or how a
row is written (``vmqtui.columns``).
"""
