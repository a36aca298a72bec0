"""The control plane: queues, filters, states, memory budgets, and the compiled steering table.

It turns requests into new state and effects, without I/O, processes, a clock or kernels.
"""
