"""Sources of frames (capture files, live interfaces, synthetic mixes, teams), and scenario plans from them.

Not here: processing of a frame after its arrival (``kernels``).
"""
