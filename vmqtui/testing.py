"""For tests that use an engine: waiting for conditions (docs/library.md)."""

from engine.waiting import WaitTimeoutError, until, wait_until

__all__ = ["WaitTimeoutError", "until", "wait_until"]
