"""The shared memory of the receive path, and the ownership of its rows, receive buffers and guest memory.

Not here: kernels and layout (``kernels``), workers and rounds (``workers``), control requests (``ndis``).
"""
