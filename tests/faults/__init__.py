"""Engines and readers when brokers and networks fail: a proxy that fails on purpose, real brokers that are
killed and paused, and a count of what was applied. ``python -m tests.faults`` tries more, with a table."""
