"""Compares plans: runs the same frames through each, in local processes or on a cluster; computes measures.

Not here: the presentation of a comparison (``vmqtui.compare``).
"""
