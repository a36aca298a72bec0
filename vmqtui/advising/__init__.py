"""Findings in words, for the command and the screen. Not here: what is found (``engine.advice``)."""
