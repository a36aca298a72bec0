"""Comparing plans: the same frames through each, in processes side by side or on a cluster; who wins at what.

Not here: how a comparison is shown (``vmqtui.compare``).
"""
