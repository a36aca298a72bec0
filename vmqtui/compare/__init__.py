"""A comparison as people read it: one grid of words, drawn for a terminal, in Markdown, as a page with plots.

Not here: what is measured, and how runs are carried out (``engine.service.compare``).
"""
