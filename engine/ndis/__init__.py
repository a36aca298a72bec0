"""The control plane: queues, filters, states, memory budgets, and the compiled steering table.

Pure functions: requests in, new state and effects out. No I/O, no processes, no clock, no kernels.
"""
