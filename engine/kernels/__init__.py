"""Compiled kernels, the layout of the rows they process, and their compilation and cache.

Not here: kernels of traffic sources (``traffic``), shared memory (``dataplane``), processes (``workers``).
"""
