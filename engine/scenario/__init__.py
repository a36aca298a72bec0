"""The scenario file a user writes: its model, its validation, its defaults.

No I/O beyond reading that file, and nothing about how frames or queues work.
"""
