"""Worker processes, one for each simulated processor: start, pool, rounds, the shard's loop, supervision.

Not here: the workers' kernels (``kernels``) and shared memory (``dataplane``).
"""
