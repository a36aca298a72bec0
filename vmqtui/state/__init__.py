"""What the screen knows: snapshots, rates, bounded history, rows; pure, without widgets or I/O.

Not here: how it arrives (``vmqtui.link``), how it is written (``vmqtui.columns``) or drawn.
"""
