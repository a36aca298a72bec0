"""The scenario file a user writes: its model, its validation, its defaults.

It reads that file and does no other I/O; it does not model frames or queues.
"""
