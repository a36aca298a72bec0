"""The registry of measures by which plans are compared, each computed from the counters of a run.

Tables, reports, plots and the reference page read it. A value of None is unknown: the run had nothing to
measure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.balance.decide import Reason
from engine.kernels.latency import percentiles_ns
from engine.kernels.layout import I64, LATENCY_BUCKETS
from engine.service.replay import FinishedRun
from engine.telemetry.stats import AdapterStats, known

Better = Literal["higher", "lower", ""]
Unit = Literal["frames", "frames/s", "share", "ratio", "ns", "cycles", "buffers", "count"]


@dataclass(frozen=True, eq=False)
class Observed:
    """A finished run as the measures read it: counters, latencies, and the duration of its traffic."""

    ended: FinishedRun
    sim_seconds: float

    @property
    def adapters(self) -> list[AdapterStats]:
        """The counters of each adapter."""
        return list(self.ended.stats.adapters.values())

    def port(self, counter: str) -> int:
        """The sum of a counter over the ports."""
        return sum(known(one.port[counter] for one in self.adapters))

    def queues(self, counter: str) -> int:
        """The sum of a counter over all queues, including freed ones."""
        return sum(sum(known([*one.queues[counter], one.freed[counter]])) for one in self.adapters)

    def default_queues(self, counter: str) -> int:
        """The sum of a counter over the default queues."""
        return sum(known(one.queues[counter][0] for one in self.adapters))

    def busy(self) -> list[int]:
        """Busy cycles of each processor of the host."""
        return known(self.ended.stats.cpus["busy_cycles"])

    def loads(self) -> list[float]:
        """Load of each processor: busy cycles / available cycles."""
        cpus = self.ended.stats.cpus
        return [
            busy / budget if budget else 0.0
            for busy, budget in zip(self.busy(), known(cpus["budget_cycles"]), strict=True)
        ]

    def latency(self) -> I64:
        """Histogram of the time from arrival to indication over all queues; shape (LATENCY_BUCKETS,)."""
        histogram = np.zeros(LATENCY_BUCKETS, np.int64)
        for queues in self.ended.latency.values():
            for one in queues.values():
                histogram += one
        return histogram

    def moves(self, reason: Reason) -> int | None:
        """Number of moves the balancer made for a reason; None if it was off."""
        moves = self.ended.moves
        return None if moves is None else moves.by_reason[reason]

    def longest_ns(self) -> int:
        """The longest time from arrival to indication."""
        return max(max(known(one.queues["latency_max_ns"])) for one in self.adapters)


@dataclass(frozen=True)
class Measure:
    """A quantity by which plans are compared.

    ``short`` fits the head of a narrow column. ``better`` is "" if no plan can win. ``value`` computes it,
    None for unknown. ``easier``: dropping frames improves it, so only the plans that deliver most can win.
    ``some``: not every plan has it, and it is hidden if none has.
    """

    key: str
    title: str
    short: str
    unit: Unit
    better: Better
    help: str
    value: Callable[[Observed], float | None]
    easier: bool = False
    some: bool = False


def share(part: float, whole: float) -> float | None:
    """``part / whole``; None if ``whole`` is 0."""
    return part / whole if whole else None


def max_over_mean(values: Sequence[float]) -> float | None:
    """The maximum divided by the mean: 1 if all values are equal, None if all are 0."""
    return share(max(values, default=0) * len(values), sum(values))


def gini(values: Sequence[float]) -> float | None:
    """The Gini coefficient: 0 if all n values are equal, (n - 1) / n if only one is not 0; None if all are 0.

    Definition: the mean absolute difference between all pairs of values, divided by twice their mean.
    """
    ordered = sorted(values)
    weighted = sum((2 * rank - len(ordered) - 1) * value for rank, value in enumerate(ordered, 1))
    return share(weighted, len(ordered) * sum(ordered))


def _percentile(wanted: float) -> Callable[[Observed], float | None]:
    def value(run: Observed) -> float | None:
        histogram = run.latency()
        if not histogram.any():
            return None
        [found] = percentiles_ns(histogram[None, :], np.array([run.longest_ns()]), (wanted,))
        return int(found[0])

    return value


def _lowest_share(run: Observed) -> float | None:
    return min(
        (low / total for _, _, low, total in low_water(run) if total),
        default=None,
    )


_LOW_WATER: Final = ("id", "low_free_buffers", "total_buffers", "steered_frames")


def low_water(run: Observed) -> list[tuple[str, str, int, int]]:
    """Queues as (adapter, name, lowest number of free buffers, total buffers), the lowest share of free
    buffers first. Queues that received no frame are left out."""
    rows = []
    for config in run.ended.config.adapters:
        queues = run.ended.stats.adapters[config.name].queues
        columns = (known(queues[name]) for name in _LOW_WATER)
        names = {queue.queue_id: queue.name for queue in config.queues}
        rows += [
            (config.name, names.get(queue_id, ""), low, total)
            for queue_id, low, total, steered in zip(*columns, strict=True)
            if steered and total
        ]
    return sorted(rows, key=lambda row: row[2] / row[3])


MEASURES: Final = (
    Measure(
        "offered", "offered frames", "offered", "frames", "",
        "Frames that arrived at the ports.",
        lambda run: run.port("offered_frames"),
    ),
    Measure(
        "throughput", "throughput", "thruput", "frames/s", "higher",
        "Frames indicated, by the simulated time in which the traffic came.",
        lambda run: share(run.queues("indicated_frames"), run.sim_seconds),
    ),
    Measure(
        "delivered", "delivered", "deliv", "share", "higher",
        "Frames indicated, of those offered.",
        lambda run: share(run.queues("indicated_frames"), run.port("offered_frames")),
    ),
    Measure(
        "dropped_no_buffer", "no-buffer drops", "no buf", "frames", "lower",
        "Frames of VMs' queues that found every buffer taken.",
        lambda run: run.queues("dropped_no_buffer") - run.default_queues("dropped_no_buffer"),
    ),
    Measure(
        "dropped_default", "default queue drops", "def drop", "frames", "lower",
        "Frames of the default queue that found every buffer taken.",
        lambda run: run.default_queues("dropped_no_buffer"),
    ),
    Measure(
        "dropped_switch", "no-port drops", "no port", "frames", "lower",
        "Frames indicated that no switch port accepts; those to group addresses are among them.",
        lambda run: run.queues("switch_dropped_frames"),
    ),
    Measure(
        "dropped_port", "runt or oversize", "bad size", "frames", "lower",
        "Frames that the ports did not steer.",
        lambda run: run.port("runt") + run.port("oversize"),
    ),
    Measure(
        "dropped_otherwise", "discarded or lost", "lost", "frames", "lower",
        "Frames discarded with a queue's last filter, or lost with a worker.",
        lambda run: run.queues("discarded_frames") + run.queues("lost_frames"),
    ),
    Measure(
        "default_queue", "default queue's share", "default", "share", "lower",
        "Frames that the default queue took, of those steered.",
        lambda run: share(run.default_queues("steered_frames"), run.queues("steered_frames")),
    ),
    Measure(
        "busiest", "busiest processor", "busiest", "share", "lower",
        "The share of its cycles that the busiest processor was busy.",
        lambda run: max(run.loads(), default=None),
        easier=True,
    ),
    Measure(
        "max_over_mean", "busiest over average", "over avg", "ratio", "lower",
        "How many times as busy the busiest processor was as the average of all the host's: 1 × is even"
        " (max/mean of their cycles).",
        lambda run: max_over_mean(run.busy()),
        easier=True,
    ),
    Measure(
        "gini", "unevenness of processors", "uneven", "ratio", "lower",
        "How unevenly the work lies on the host's processors: 0 is even, near 1 is one for all (Gini"
        " coefficient of their cycles).",
        lambda run: gini(run.busy()),
        easier=True,
    ),
    Measure(
        "cycles_per_frame", "cycles a frame", "cyc/fr", "cycles", "lower",
        "Busy cycles of all processors, by frames indicated.",
        lambda run: share(sum(run.busy()), run.queues("indicated_frames")),
        easier=True,
    ),
    Measure(
        "interrupts", "interrupts", "intr", "count", "lower",
        "Interrupts that the processors took.",
        lambda run: sum(known(run.ended.stats.cpus["interrupts"])),
        easier=True,
    ),
    Measure(
        "latency_p50_ns", "latency p50", "p50", "ns", "lower",
        "Half of the frames were indicated within this time after they arrived (at most 25 % too high).",
        _percentile(0.5),
        easier=True,
    ),
    Measure(
        "latency_p99_ns", "latency p99", "p99", "ns", "lower",
        "99 % of the frames were indicated within this time after they arrived (at most 25 % too high).",
        _percentile(0.99),
        easier=True,
    ),
    Measure(
        "latency_max_ns", "longest latency", "max", "ns", "lower",
        "The longest that a frame waited to be indicated.",
        lambda run: run.longest_ns() or None,
        easier=True,
    ),
    Measure(
        "buffers", "receive buffers", "buffers", "buffers", "lower",
        "Receive buffers of all queues together.",
        lambda run: sum(sum(known(one.queues["total_buffers"])) for one in run.adapters),
        easier=True,
    ),
    Measure(
        "low_free", "buffers' low-water mark", "low free", "share", "higher",
        "The fewest buffers that were ever free, of those it has, in the queue where that is least.",
        _lowest_share,
    ),
    Measure(
        "moved_away", "queues moved away", "moved", "count", "",
        "Moves by the balancer from processors that had too much to do; unknown where it is off.",
        lambda run: run.moves("scale_out"), some=True,
    ),
    Measure(
        "moved_home", "queues moved home", "home", "count", "",
        "Moves by the balancer back to where the plan has a queue; unknown where it is off.",
        lambda run: run.moves("scale_in"), some=True,
    ),
)  # fmt: skip
"""In display order."""

_ALIKE: Final = 0.001


def best(
    measure: Measure, values: Sequence[float | None], delivered: Sequence[float | None] = ()
) -> list[int]:
    """Return the indices of the runs within 0.1 % of the best value; none if all runs are, or no run can win.

    ``delivered`` is the share of frames that each run delivered. For an ``easier`` measure only the runs that
    delivered the most (within 0.1 %) are compared.
    """
    most = max((value for value in delivered if value is not None), default=None)
    known = {
        n: value
        for n, value in enumerate(values)
        if value is not None and not (measure.easier and most and not _alike(delivered[n] or 0.0, most))
    }
    if not measure.better or len(known) < 2:
        return []
    top = (max if measure.better == "higher" else min)(known.values())
    winners = [n for n, value in known.items() if _alike(value, top)]
    return winners if len(winners) < len(known) else []


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _ALIKE * max(abs(one), abs(other))
