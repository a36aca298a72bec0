"""Worker processes, one a simulated processor: the pool, rounds, the shard's loop, supervision, start.

Not here: kernels that workers run (``kernels``), the shared memory they work in (``dataplane``).
"""
