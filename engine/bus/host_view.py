"""A reader's view of one host: its newest messages, its events, and their age."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from engine.advice.finding import Advice
from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from engine.telemetry.summary import Summary

EVENT_LIMIT = 1000
SILENT_S = 30.0
"""A host whose newest message is older counts as silent, even if its retained status is online."""


class Reader(Protocol):
    """The reader of a host: the state of its connection, and a counter of messages it could not decode."""

    undecodable: int

    @property
    def state(self) -> str: ...


class HostView:
    """The latest state of one host. ``events`` holds up to 1,000; ``events_dropped`` counts those removed.

    ``received_monotonic`` is the arrival time of the last stats (``time.monotonic``), or None.
    ``stats_missed`` and ``events_missed`` count gaps in sequence numbers: messages replaced by newer ones,
    here or at the engine, or not delivered. ``stats_unreadable`` counts undecodable stats since the last
    decodable ones. Without a ``reader``, as for a recording, the host is never online.
    """

    def __init__(self, name: str, reader: Reader | None = None) -> None:
        self.name = name
        self.status: Status | None = None
        self.config: Config | None = None
        self.advice: Advice | None = None
        """Findings of the engine's own advisor, if the reader subscribes to that kind."""
        self.summary: Summary | None = None
        self.summary_before: Summary | None = None
        """The previous summary, if it is from the same run of the engine."""
        self._first_heard_monotonic = time.monotonic()
        self.heard_monotonic: float | None = None
        """Time of the newest message (``time.monotonic``), determined as in ``age_s``."""
        self.heard_live: bool = False
        """Whether a message that is not retained has arrived from this host."""
        self.received_monotonic: float | None = None
        self.stats_received: int = 0
        self.stats_missed: int = 0
        self.stats_unreadable: int = 0
        self.events: deque[Event] = deque(maxlen=EVENT_LIMIT)
        self._event_bytes: deque[int] = deque(maxlen=EVENT_LIMIT)
        self.events_dropped: int = 0
        self.events_missed: int = 0
        self.kept_bytes: dict[str, int] = {}
        self._reader = reader
        self._stats: Stats | None = None
        self._stats_payload: bytes | None = None

    @property
    def online(self) -> bool:
        """Whether its status is online and the reader is connected."""
        connected = self._reader is not None and self._reader.state == "connected"
        return connected and self.status is not None and self.status.state == "online"

    @property
    def stats(self) -> Stats | None:
        """The latest stats, decoded on first access, so that unread ones cost nothing."""
        payload, self._stats_payload = self._stats_payload, None
        if payload is not None:
            try:
                stats = codec.decode(Stats, payload)
            except BadMessage:
                if self._reader is not None:
                    self._reader.undecodable += 1
                self.stats_unreadable += 1
            else:
                self.stats_unreadable = 0
                if self._stats is not None:
                    self.stats_missed += max(0, stats.seq - self._stats.seq - 1)
                self._stats = stats
        return self._stats

    @stats.setter
    def stats(self, stats: Stats | None) -> None:
        self._stats, self._stats_payload = stats, None

    def age_s(self, now: float) -> float | None:
        """Return the age in seconds of the newest message at ``now`` (``time.monotonic``); None if unknown.

        The age of a live message counts from its arrival. Among retained messages, only a summary contains
        its creation time, which is by the host's clock.
        """
        return None if self.heard_monotonic is None else max(0.0, now - self.heard_monotonic)

    def quiet_s(self, now: float) -> float:
        """Return the seconds since the newest message or, if its age is unknown, since this reader first saw
        the host."""
        age_s = self.age_s(now)
        return now - self._first_heard_monotonic if age_s is None else age_s

    def is_gone(self, now: float) -> bool:
        """Return whether the host is offline or silent."""
        offline = self.status is not None and self.status.state == "offline"
        return offline or self.quiet_s(now) > SILENT_S

    def take(self, kind: str, payload: bytes, *, retained: bool = False) -> None:
        """Store a message of this host. Raises ``BadMessage``."""
        if payload and not retained:
            self.heard_monotonic, self.heard_live = time.monotonic(), True
        if kind == "stats":
            self._stats_payload = payload
            self.received_monotonic = time.monotonic()
            self.stats_received += 1
        elif kind == "event":
            self._take_event(codec.decode(Event, payload), len(payload))
        elif kind == "summary":
            self._take_summary(codec.decode(Summary, payload) if payload else None, retained)
        elif kind == "advice":
            self.advice = codec.decode(Advice, payload) if payload else None
        elif kind == "config":
            self.config = codec.decode(Config, payload) if payload else None
        else:
            self.status = codec.decode(Status, payload) if payload else None

    def _take_summary(self, summary: Summary | None, retained: bool) -> None:
        before = self.summary
        if before is None or summary is None or summary.seq != before.seq:  # otherwise a retained duplicate
            same_run = before is not None and summary is not None and before.seq < summary.seq
            self.summary, self.summary_before = summary, before if same_run else None
        if summary is not None and retained and not self.heard_live:
            age_s = max(0.0, time.time() - summary.time_ns / 1e9)
            self.heard_monotonic = time.monotonic() - age_s

    def bytes_with(self, kind: str, payload: bytes) -> int:
        """Return the bytes of a kind after adding this payload, which replaces the last one, or the oldest of
        1,000 events."""
        if kind != "event":
            return len(payload)
        oldest = self._event_bytes[0] if len(self._event_bytes) == EVENT_LIMIT else 0
        return sum(self._event_bytes) - oldest + len(payload)

    def forget_event(self) -> bool:
        """Drop the oldest event; return whether there was one."""
        if not self.events:
            return False
        self.events.popleft()
        self._event_bytes.popleft()
        self.events_dropped += 1
        return True

    def take_past(self, past: Sequence[tuple[Event, int]], has_room: Callable[[int], bool]) -> None:
        """Merge queried events, with their sizes in bytes, into the received ones, in order and without
        duplicates.

        ``past`` holds events of the engine's current run, by ascending ``seq``; events of an earlier run stay
        before them. Events added here no longer count as missed. Without room, the oldest are dropped.
        """
        kept = list(zip(self.events, self._event_bytes, strict=True))
        begin = _present_run([event for event, _ in kept], [event for event, _ in past])
        earlier, run = kept[:begin], {event.seq: (event, size) for event, size in kept[begin:]}
        present = [
            one for _, one in sorted(({event.seq: (event, size) for event, size in past} | run).items())
        ]
        self.events_missed += _gaps(earlier) + _gaps(present) - _gaps(kept)
        events = earlier + present
        size_bytes = sum(size for _, size in events)
        first = 0
        while first < len(events) and (len(events) - first > EVENT_LIMIT or not has_room(size_bytes)):
            size_bytes -= events[first][1]
            first += 1
        self.events_dropped += max(0, first - len(events) + len(kept))
        self.events = deque((event for event, _ in events[first:]), EVENT_LIMIT)
        self._event_bytes = deque((size for _, size in events[first:]), EVENT_LIMIT)

    def _take_event(self, event: Event, size_bytes: int) -> None:
        """Store an event unless it is a duplicate, from QoS 1 delivery or from ``take_past``."""
        if self.events:
            last = self.events[-1].seq
            if event.seq <= last and event in self.events:
                return
            self.events_missed += max(0, event.seq - last - 1)
        self.events_dropped += len(self.events) == EVENT_LIMIT
        self.events.append(event)
        self._event_bytes.append(size_bytes)


def _present_run(kept: Sequence[Event], past: Sequence[Event]) -> int:
    """Return the index in ``kept`` where the run of ``past`` begins; ``past`` has no gaps in ``seq``."""
    known = {event.seq: event for event in past}
    span = range(past[0].seq, past[-1].seq + 1) if past else range(0)
    begin, following = len(kept), None
    while begin:
        event = kept[begin - 1]
        if following is not None and event.seq >= following.seq:
            break
        if event.seq in span and known.get(event.seq) != event:
            break
        begin, following = begin - 1, event
    return begin


def _gaps(events: Sequence[tuple[Event, int]]) -> int:
    """Return the number of missing sequence numbers between consecutive events."""
    return sum(max(0, after.seq - before.seq - 1) for (before, _), (after, _) in pairwise(events))
