"""The receive path: shared-memory layout, kernels, one shard process per CPU, and their conductor.

Not here: requests (``ndis``), names for people and messages (``telemetry``).
"""
