"""The queues of a Linux adapter: its rings and virtual functions, and their counters by generation.

Receive rings in use are queues: ring k has id k. SR-IOV virtual functions are queues behind them. A counter
that goes back has started again (another number of channels, a driver that was loaded again), and its queue
with it, as a new generation: no rate is negative. A wrap of a 32-bit counter looks the same and is taken for
a restart, which loses the frames between two readings; the other guess could make up four billion.
"""

from typing import Final, NamedTuple

from engine.measure.facts import Adapter
from engine.scenario.keys import MAX_QUEUES
from engine.telemetry.config import Vlan
from engine.telemetry.stats import Cell, total

_NO_MAC: Final = "00:00:00:00:00:00"


class Counts(NamedTuple):
    """Counters of a queue, as its driver has them or since its generation began; or sums of them."""

    frames: Cell = None
    bytes: Cell = None
    dropped: Cell = None
    interrupts: Cell = None

    def columns(self) -> dict[str, Cell]:
        """Return these counters by their names in messages. The bytes of dropped frames are not known:
        ``steered_bytes`` are those of the frames received, and known where the drops are. The model has no
        ``received_bytes``."""
        return {
            "steered_frames": total((self.frames, self.dropped)),
            "steered_bytes": None if self.dropped is None else self.bytes,
            "received_frames": self.frames,
            "received_bytes": self.bytes,
            "dropped_no_buffer": self.dropped,
            "interrupts": self.interrupts,
        }

    def newest(self, former: "Counts") -> "Counts":
        """Return these counters, with those of ``former`` where these are unknown."""
        return Counts(*(old if new is None else new for new, old in zip(self, former, strict=True)))


ZERO: Final = Counts(0, 0, 0, 0)


class QueueRow(NamedTuple):
    """A queue as one reading has it. ``key`` is ("rx" or "vf", number). A virtual function without a MAC
    address has no filter: ``mac`` is None. Counters of another ``device`` are other counters."""

    key: tuple[str, int]
    queue_id: int
    counts: Counts
    cpus: tuple[int, ...] | None
    is_served_here: bool
    ring_size: int | None = None
    vm: str | None = None
    device: str | None = None
    mac: str | None = None
    vlan: Vlan = None

    @property
    def name(self) -> str:
        kind, number = self.key
        return f"rx-{number}" if kind == "rx" else f"vf {number}"

    @property
    def cpu(self) -> int | None:
        """The processor that serves it; None if several may, or it is not known."""
        return self.cpus[0] if self.cpus is not None and len(self.cpus) == 1 else None


def is_ring_of_all_drops(adapter: Adapter) -> bool:
    """Whether the drops of the port are those of its only ring, which has no counter of them."""
    alone = len(adapter.rings) == 1 and not adapter.functions
    return alone and adapter.rings[0].dropped is None and adapter.port_dropped is not None


def rows_of(adapter: Adapter) -> list[QueueRow]:
    """Return the queues of a reading in order of id, at most as many as readers accept."""
    all_drops = is_ring_of_all_drops(adapter)
    rows = [
        QueueRow(
            ("rx", ring.ring),
            ring.ring,
            Counts(
                ring.frames, ring.bytes, adapter.port_dropped if all_drops else ring.dropped, ring.interrupts
            ),
            ring.cpus,
            True,
            adapter.ring_size,
        )
        for ring in sorted(adapter.rings, key=lambda one: one.ring)
    ]
    behind = max((row.queue_id for row in rows), default=-1) + 1
    rows += [
        QueueRow(
            ("vf", function.vf),
            behind + function.vf,
            Counts(function.frames, function.bytes, function.dropped, function.interrupts),
            function.cpus,
            function.device is not None,
            function.ring_size,
            vm=function.device or f"{adapter.name} vf {function.vf}",
            device=function.device,
            mac=None if function.mac == _NO_MAC else function.mac,
            vlan=("untagged" if function.vlan == 0 else function.vlan),
        )
        for function in sorted(adapter.functions, key=lambda one: one.vf)
    ]
    return rows[:MAX_QUEUES]


class Total:
    """A counter without generations: where its source goes back, it stands still.

    A source that is back by up to ``slack`` is waited for; one that is further back has started again.
    """

    __slots__ = ("_last", "_offset", "_slack")

    def __init__(self, slack: int = 0) -> None:
        self._last: Cell = None
        self._offset = 0
        self._slack = slack

    def take(self, value: Cell) -> Cell:
        """Return the total at the next value of its source; None if that is unknown."""
        last = self._last
        if value is None:
            return None
        if last is not None and value < last:
            if last - value <= self._slack:
                return last + self._offset
            self._offset += last - value
        self._last = value
        return value + self._offset


class QueueLife:
    """One generation of a queue. It counts from what ``former``, the one before it, had last; a counter that
    started again counts from 0, as the first generation does; another counter counts from now."""

    __slots__ = ("_base", "_last", "generation", "row")

    def __init__(self, generation: int, row: QueueRow, former: "QueueLife | None" = None) -> None:
        self.generation = generation
        self.row = row
        self._last: Counts
        last = ZERO if former is None else former._last
        if former is not None and former.row.device != row.device:
            last = self._last = row.counts
        self._base = [
            old if old is not None and (new is None or new >= old) else 0
            for new, old in zip(row.counts, last, strict=True)
        ]
        self._last = row.counts if former is None else row.counts.newest(last)

    def has_restarted(self, row: QueueRow) -> bool:
        """Return whether a counter is lower than it was, or another, so that another generation has begun."""
        if row.device != self.row.device:
            return _is_known(self._last) and _is_known(row.counts)
        return any(
            new is not None and old is not None and new < old
            for new, old in zip(row.counts, self._last, strict=True)
        )

    def take(self, row: QueueRow) -> None:
        """Go on with the next reading of this generation."""
        self.row, self._last = row, row.counts.newest(self._last)

    @property
    def counts(self) -> Counts:
        """Its counters now; None where the newest reading has none."""
        return self._since_base(self.row.counts)

    @property
    def final_counts(self) -> Counts:
        """Its counters as they were known last."""
        return self._since_base(self._last)

    def _since_base(self, counts: Counts) -> Counts:
        cells = zip(counts, self._base, strict=True)
        return Counts(*(None if count is None else count - base for count, base in cells))


def _is_known(counts: Counts) -> bool:
    return any(count is not None for count in counts)
