"""The newest events that the engine has published, kept for ``query_events``."""

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from engine.counted import counted
from engine.ndis.effects import Observe
from engine.ndis.outcome import Outcome, answer

MAX_EVENTS: Final = 1000
"""Events kept, and the most that one answer has."""
EVENTS_LIMIT_BYTES: Final = 1 << 20
"""Bytes of the events kept."""


class EventHistory:
    """Events by ascending ``seq``, bounded in number and in bytes: the oldest go."""

    def __init__(self) -> None:
        self._events: deque[tuple[Mapping[str, Any], int]] = deque()
        self._bytes = 0

    def add(self, event: Mapping[str, Any], size_bytes: int) -> None:
        """Keep an event, which takes so many bytes as a message."""
        self._events.append((event, size_bytes))
        self._bytes += size_bytes
        while len(self._events) > MAX_EVENTS or self._bytes > EVENTS_LIMIT_BYTES:
            _, size_bytes = self._events.popleft()
            self._bytes -= size_bytes

    def since(self, seq: int, limit: int) -> list[Mapping[str, Any]]:
        """The first ``limit`` events after ``seq``, oldest first."""
        return list(islice((event for event, _ in self._events if event["seq"] > seq), limit))


def query_events(
    history: EventHistory, observe: Observe, driver: str, *, since_seq: int = 0, limit: int = 256
) -> Outcome:
    """The events kept after one, oldest first."""
    events = history.since(since_seq, limit)
    return answer(f"{counted(len(events), 'event')}", {"events": events})
