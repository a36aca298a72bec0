"""State of the screen: moments, archive, playhead, history, the viewer's choices. No widgets, no I/O.

Not here: rates and rows (``engine.view``), receiving messages (``engine.bus``), formatting rows
(``vmqtui.columns``), or drawing them.
"""
