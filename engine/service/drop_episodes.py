"""Drop episodes: turns the drop counters of queues and live interfaces into events."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.counted import counted
from engine.telemetry.events import NewEvent
from engine.telemetry.stats import Stats, known

QUIET_NS: Final = 2_000_000_000
"""An episode ends when its counter has not grown for this long (simulated time)."""
MOST_AT_ONCE: Final = 64
"""Largest burst of episodes that are reported individually (size of the token bucket)."""
EPISODES_PER_S: Final = 2
"""Rate at which episodes are reported individually after a burst; the others are reported as a sum."""
SUMMARY_NS: Final = 10_000_000_000
"""Shortest time between two ``drops_unreported`` events."""

_LOST_BY_INTERFACE: Final = ("kernel_dropped_frames", "interface_dropped_frames")

_Key = tuple[str, int | None, int]
"""(adapter name, queue id, queue generation); the queue id is None for the adapter's live interface."""


@dataclass
class _Dropping:
    """State of one drop counter; ``before`` is its value just before the current episode."""

    count: int = 0
    before: int = 0
    last_ns: int = 0
    going_on: bool = False
    reported: bool = False


class DropEpisodes:
    """Follows one host's drop counters from reading to reading.

    A reported episode gets both events, ``drops_begin`` and ``drops_end`` (for an interface,
    ``interface_drops_begin`` and ``_end``). Any other episode gets neither; the next ``drops_unreported``
    counts it. Counters that are not known have no episodes. ``from_zero``: counters begin at 0 with their
    queue; those of a measured host do not, and count from the first reading of each.
    """

    def __init__(self, *, from_zero: bool = True) -> None:
        self._from_zero = from_zero
        self._known: dict[_Key, _Dropping] = {}
        self._budget = float(MOST_AT_ONCE)
        self._now_ns = 0
        self._summed_ns = -SUMMARY_NS
        self._unreported = 0
        self._unreported_frames = 0

    def take(self, stats: Stats) -> Iterator[NewEvent]:
        """Process a reading; yield events for episodes that began or ended since the previous one."""
        elapsed_s = (stats.sim_time_ns - self._now_ns) / 1e9
        self._now_ns = stats.sim_time_ns
        self._budget = min(MOST_AT_ONCE, self._budget + elapsed_s * EPISODES_PER_S)
        known: dict[_Key, _Dropping] = {}
        for key, dropped in _counters(stats, 1 if self._from_zero else 0):
            one = self._known.pop(key) if key in self._known else self._first(dropped)
            known[key] = one
            new, one.count = dropped - one.count, dropped
            if new > 0:
                one.last_ns = self._now_ns
                if not one.going_on:
                    one.going_on, one.before = True, dropped - new
                    one.reported = self._may_report()
                    if one.reported:
                        yield _begin(key, new)
                if not one.reported:
                    self._unreported_frames += new
            elif one.going_on and self._now_ns - one.last_ns >= QUIET_NS:
                one.going_on = False
                if one.reported:
                    yield _end(key, f"{counted(dropped - one.before, 'frame was', 'frames were')} dropped")
        for key, one in self._known.items():
            if one.going_on and one.reported:
                yield _end(
                    key,
                    "it is gone; at least "
                    f"{counted(one.count - one.before, 'frame was', 'frames were')} dropped",
                )
        self._known = known
        if self._unreported and self._now_ns - self._summed_ns >= SUMMARY_NS:
            yield self._summary()

    def _first(self, dropped: int) -> _Dropping:
        return _Dropping(0 if self._from_zero else dropped)

    def _may_report(self) -> bool:
        if self._budget < 1:
            self._unreported += 1
            return False
        self._budget -= 1
        return True

    def _summary(self) -> NewEvent:
        count, frames = self._unreported, self._unreported_frames
        self._unreported = self._unreported_frames = 0
        self._summed_ns = self._now_ns
        return NewEvent(
            "drops_unreported",
            f"drops began {count:,} times more than events say; so far these cost {counted(frames, 'frame')}",
        )


def _kind(key: _Key) -> str:
    return "interface_drops" if key[1] is None else "drops"


def _begin(key: _Key, frames: int) -> NewEvent:
    why = "were lost before they were read" if key[1] is None else "found no buffer"
    return NewEvent(f"{_kind(key)}_begin", f"{counted(frames, 'frame')} {why}", key[0], key[1])


def _end(key: _Key, cause: str) -> NewEvent:
    return NewEvent(f"{_kind(key)}_end", cause, key[0], key[1])


def _counters(stats: Stats, least: int) -> Iterator[tuple[_Key, int]]:
    """The drop counters of queues that are known and at least ``least``, and the nonzero ones of live
    interfaces."""
    for name, adapter in stats.adapters.items():
        ids, generations = known(adapter.queues["id"]), known(adapter.queues["generation"])
        drops = adapter.queues["dropped_no_buffer"]
        for queue_id, generation, dropped in zip(ids, generations, drops, strict=True):
            if dropped is not None and dropped >= least:
                yield (name, queue_id, generation), dropped
        if adapter.interface is not None:
            lost = sum(known(adapter.interface[each] for each in _LOST_BY_INTERFACE))
            if lost:
                yield (name, None, 0), lost
