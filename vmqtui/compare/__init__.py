"""Presents a comparison: one grid of text for the terminal, Markdown, and an HTML page with plots.

Not here: the measures, and the execution of runs (``engine.service.compare``).
"""
