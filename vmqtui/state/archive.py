"""The readings of the last 70 minutes, limited in time and bytes; each can be shown again."""

import zlib
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final

import msgspec

from engine.bus.messages import Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.packing import PackingError, pack_delta, pack_key, unpack_delta, unpack_key
from engine.telemetry.stats import Stats
from engine.view.rates import WINDOW_NS
from vmqtui.state.moment import Moment

LIMIT_BYTES: Final = 150_000_000
"""Size limit of the whole archive. Above it, the oldest coarse readings are dropped, then fine ones."""

FINE: Final = (250_000_000, 600_000_000_000)
"""Period and span, ns: four readings a second for the last ten minutes."""
COARSE: Final = (1_000_000_000, 4_200_000_000_000)
"""Period and span, ns: one reading a second for the last seventy minutes."""

EVENTS: Final = 1000
"""Maximum number of events shown at a moment, the same as live."""
_EVENTS_KEPT: Final = 10_000
_CHAIN: Final = 16
"""Maximum length of a chain (a key and its deltas), so the maximum number of readings to unpack for one."""
_OVERHEAD_BYTES: Final = 400
"""Assumed memory of an entry in addition to its packed bytes."""
_EARLY: Final = 0.8
"""Minimum distance of two readings, in periods: below 1 to tolerate clock and network jitter."""
_UNPACKED: Final = 4


_config_decoder = msgspec.msgpack.Decoder(Config)


class _Entry(msgspec.Struct, frozen=True, eq=False, gc=False):
    number: int
    clock_ns: int
    time_ns: int
    sim_time_ns: int
    revision: int
    run: int
    key: bool
    packed: bytes


class _Ring:
    """A FIFO of readings at one period: chains of a key and its deltas; whole chains are dropped."""

    def __init__(self, period_ns: int, span_ns: int) -> None:
        self._period_ns = period_ns
        self._span_ns = span_ns
        self._last: Stats | None = None
        self._chained = 0
        self.entries: list[_Entry] = []
        self.size = 0

    def offer(self, number: int, clock_ns: int, run: int, stats: Stats) -> bool:
        """Store a reading unless it is too soon after the last; return whether it was stored."""
        entries = self.entries
        if entries and clock_ns - entries[-1].clock_ns < self._period_ns * _EARLY:
            return False
        packed = None
        if self._last is not None and self._chained < _CHAIN and entries[-1].run == run:
            packed = pack_delta(self._last, stats)
        key = packed is None
        self._chained = 1 if packed is None else self._chained + 1
        packed = pack_key(stats) if packed is None else packed
        entries.append(
            _Entry(number, clock_ns, stats.time_ns, stats.sim_time_ns, stats.revision, run, key, packed)
        )
        self.size += len(packed) + _OVERHEAD_BYTES
        self._last = stats
        while (length := self._chain()) and entries[length - 1].clock_ns < clock_ns - self._span_ns:
            self._drop(length)
        return True

    def shed(self) -> bool:
        """Drop the oldest chain unless it is the only one; return whether one was dropped."""
        length = self._chain()
        if length:
            self._drop(length)
        return bool(length)

    def _chain(self) -> int:
        """The length of the oldest chain; 0 if it is the only one."""
        return next((place for place in range(1, len(self.entries)) if self.entries[place].key), 0)

    def _drop(self, count: int) -> None:
        self.size -= sum(len(one.packed) + _OVERHEAD_BYTES for one in self.entries[:count])
        del self.entries[:count]


class _KnownConfig(msgspec.Struct, frozen=True, eq=False):
    since: int
    """The number of the first moment with this configuration."""
    run: int
    revision: int
    packed: bytes


class Archive:
    """The tape of a live host, recorded while the host is watched."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._fine = _Ring(*FINE)
        self._coarse = _Ring(*COARSE)
        self._next = 0
        self._clock_ns = 0
        self._run = 0
        self._newest: Stats | None = None
        self._statuses: deque[tuple[int, Status | None]] = deque()
        self._configs: deque[_KnownConfig] = deque()
        self._config: Config | None = None
        self._events: deque[tuple[int, Event]] = deque(maxlen=_EVENTS_KEPT)
        self._noted: tuple[Event, ...] = ()
        self._unpacked: dict[int, Stats] = {}
        self._unreadable: set[int] = set()
        self._unpacked_config: tuple[_KnownConfig | None, Config | None] = (None, None)

    def add(self, moment: Moment) -> int | None:
        """Store a moment and return its number; None if the reading was not stored (not new, or too soon).

        A new status, configuration or event is stored in any case.
        """
        self._note(moment)
        stats = moment.stats
        if stats is None or stats is self._newest:
            return None
        if (last := self._newest) is not None:
            grown = stats.time_ns - last.time_ns
            self._clock_ns += grown if grown >= 0 else FINE[0]  # the clock was set back
            if stats.sim_time_ns < last.sim_time_ns or stats.seq <= last.seq:
                self._run += 1
        self._newest = stats
        number = self._next
        if not self._fine.offer(number, self._clock_ns, self._run, stats):
            return None
        self._coarse.offer(number, self._clock_ns, self._run, stats)
        self._next += 1
        while self.size > self._limit_bytes and (self._coarse.shed() or self._fine.shed()):
            pass
        self._forget()
        return number

    @property
    def run(self) -> int:
        """The run of the engine that the newest reading belongs to, counted from 0."""
        return self._run

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        return (
            self._fine.size
            + self._coarse.size
            + sum(len(one.packed) + _OVERHEAD_BYTES for one in self._configs)
            + len(self._events) * _OVERHEAD_BYTES
        )

    @property
    def unreadable(self) -> int:
        return len(self._unreadable)

    def numbers(self) -> Sequence[int]:
        return [one.number for one in self._entries()]

    def time_ns(self, number: int) -> int:
        ring, place = self._find(number)
        return ring.entries[place].time_ns

    def sim_time_ns(self, number: int) -> int:
        ring, place = self._find(number)
        return ring.entries[place].sim_time_ns

    def reading(self, number: int) -> tuple[Config | None, Stats]:
        ring, place = self._find(number)
        return self._config_of(ring.entries[place]), self._stats(ring, place)

    def moment(self, number: int) -> Moment:
        ring, place = self._find(number)
        entry = ring.entries[place]
        before = self._before(entry)
        return Moment(
            status=next((status for since, status in reversed(self._statuses) if since <= number), None),
            config=self._config_of(entry),
            stats=self._stats(ring, place),
            before=before,
            events=tuple(event for since, event in self._events if since <= number)[-EVENTS:],
        )

    def _note(self, moment: Moment) -> None:
        """Store the status, configuration and events that are new."""
        if not self._statuses or self._statuses[-1][1] is not moment.status:
            if self._statuses and self._statuses[-1][0] == self._next:
                self._statuses.pop()
            self._statuses.append((self._next, moment.status))
        if moment.config is not None and moment.config is not self._config:
            self._config = moment.config
            if self._configs and self._configs[-1].since == self._next:
                self._configs.pop()
            packed = zlib.compress(msgspec.msgpack.encode(moment.config), 3)
            self._configs.append(_KnownConfig(self._next, self._run, moment.config.revision, packed))
        if moment.events != self._noted:
            self._noted = moment.events
            self._note_events(moment.events)

    def _note_events(self, events: tuple[Event, ...]) -> None:
        """Insert the new events at their places: queried past events may precede events stored earlier."""
        at = {id(event): place for place, (_, event) in enumerate(self._events)}
        following = len(at)
        new: dict[int, list[Event]] = defaultdict(list)
        for event in reversed(events):
            if id(event) in at:
                following = at[id(event)]
            else:
                new[following].append(event)
        if not new:
            return
        kept = [*self._events, None]
        self._events.clear()
        for place, one in enumerate(kept):
            self._events.extend((self._next, event) for event in reversed(new.get(place, ())))
            if one is not None:
                self._events.append(one)

    def _forget(self) -> None:
        """Drop statuses, configurations and unreadable numbers that no remaining moment needs."""
        first = min(ring.entries[0].number for ring in (self._fine, self._coarse))
        self._unreadable = {number for number in self._unreadable if number >= first}
        while len(self._configs) > 1 and self._configs[1].since <= first:
            self._configs.popleft()
        while len(self._statuses) > 1 and self._statuses[1][0] <= first:
            self._statuses.popleft()

    def _entries(self) -> list[_Entry]:
        """All entries in order: the coarse ones older than the first fine one, then the fine ones."""
        fine, coarse = self._fine.entries, self._coarse.entries
        if not fine:
            return coarse
        first = fine[0].number
        return [*(one for one in coarse if one.number < first), *fine]

    def _find(self, number: int) -> tuple[_Ring, int]:
        fine = self._fine.entries
        ring = self._fine if fine and number >= fine[0].number else self._coarse
        place = bisect_left(ring.entries, number, key=lambda one: one.number)
        if place == len(ring.entries) or ring.entries[place].number != number:
            raise KeyError(number)
        return ring, place

    def _before(self, entry: _Entry) -> Stats | None:
        """The reading to compute rates against, as live: ``WINDOW_NS`` older, or the oldest of the run; None
        if there is none."""
        entries = self._entries()
        place = bisect_left(entries, entry.number, key=lambda one: one.number)
        found = None
        while place and entries[place - 1].run == entry.run:
            place -= 1
            found = entries[place]
            if entry.sim_time_ns - found.sim_time_ns >= WINDOW_NS:
                break
        return self._stats(*self._find(found.number)) if found is not None else None

    def _stats(self, ring: _Ring, place: int) -> Stats:
        """Unpack a reading from the key of its chain, or from a later reading of the chain that is cached.

        If it can't be unpacked, counts it as unreadable and raises KeyError.
        """
        entries = ring.entries
        first = place
        while entries[first].number not in self._unpacked and not entries[first].key:
            first -= 1
        number = entries[place].number
        try:
            stats = self._unpacked.get(entries[first].number) or unpack_key(entries[first].packed)
            for entry in entries[first + 1 : place + 1]:
                stats = unpack_delta(stats, entry.packed)
        except PackingError:
            self._unreadable.add(number)
            raise KeyError(number) from None
        self._unpacked.pop(number, None)
        self._unpacked[number] = stats
        if len(self._unpacked) > _UNPACKED:
            del self._unpacked[next(iter(self._unpacked))]
        return stats

    def _config_of(self, entry: _Entry) -> Config | None:
        """The configuration of a reading's revision and run, else the latest before it; None if unknown."""
        known = [one for one in self._configs if one.run == entry.run and one.revision == entry.revision]
        known = known or [one for one in self._configs if one.since <= entry.number]
        if not known:
            return None
        if known[-1] is not self._unpacked_config[0]:
            self._unpacked_config = known[-1], _config_decoder.decode(zlib.decompress(known[-1].packed))
        return self._unpacked_config[1]
