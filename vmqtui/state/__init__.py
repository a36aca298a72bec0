"""State of the screen: moments, archive, playhead, history, the viewer's choices. Pure: no widgets, no I/O.

Not here: rates and rows (``engine.view``), how messages arrive (``engine.bus``), how rows are written
(``vmqtui.columns``) or drawn.
"""
