"""Compiled code, the layout of the rows it works on, and how it is compiled and cached.

Not here: traffic sources' kernels (``traffic``), the shared memory (``dataplane``), processes (``workers``).
"""
