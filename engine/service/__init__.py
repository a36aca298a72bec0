"""What wires the rooms together: a machine, its live loop, a replay, and the asyncio engine.

The only place that knows all the others; nothing below imports it.
"""
