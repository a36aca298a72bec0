"""Messages that a live engine derives from its readings: advice, when it changes, and summaries."""

from typing import Final

from engine.advice.finding import Advice
from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import AdviceWindow
from engine.ndis.counters import DEFAULT_QUEUE_REASONS
from engine.telemetry.config import Config
from engine.telemetry.stats import AdapterStats, Cell, Stats, total
from engine.telemetry.summary import WORST_BYTES, FindingCounts, Kind, Summary
from engine.view.rates import CounterTable, ratio

AGAIN_NS: Final = 10_000_000_000
"""While there are findings, advice is published again after this much simulated time, with new numbers."""


class AdvicePublisher:
    """Follows an engine's configurations and readings; decides when to publish advice.

    Advice is due when a finding appears, disappears or changes severity, when rules that could not look
    change, and every ``AGAIN_NS`` while there are findings.
    """

    def __init__(self, thresholds: AdviceThresholds | None = None) -> None:
        self._window = AdviceWindow(thresholds)
        self._published: frozenset[tuple[object, ...]] | None = None
        self._published_ns = 0

    def configured(self, config: Config) -> None:
        """Use a new configuration for the readings that follow."""
        self._window.configured(config)

    def read(self, stats: Stats) -> Advice | None:
        """Process a reading; return the advice if it is due, else None."""
        window = self._window
        if not window.add(None, stats):
            return None
        found = window.advice()
        content = frozenset(
            [
                (found.more > 0,),
                *((one.identity, one.severity) for one in found.findings),
                *((one.why, *one.rules, *one.adapters) for one in found.unchecked),
            ]
        )
        old = found.findings and stats.sim_time_ns - self._published_ns >= AGAIN_NS
        if content == self._published and not old:
            return None
        self._published, self._published_ns = content, stats.sim_time_ns
        return found


_DROPS_OF_QUEUES: Final = ("dropped_no_buffer", "discarded_frames", "lost_frames", "switch_dropped_frames")
_DROPS_OF_INTERFACES: Final = ("kernel_dropped_frames", "interface_dropped_frames")


class SummaryBuilder:
    """Builds each summary from a reading, the previous summary's reading, and the newest advice.

    A number is None if a part of it is unknown. The drops of a measured host are those for want of a buffer,
    the only ones that it knows; its default queue's frames are those of queue 0.
    """

    def __init__(self, kind: Kind = "model") -> None:
        self._kind: Kind = kind
        self._seq = 0
        self._before: Stats | None = None
        self._advice: Advice | None = None

    def advised(self, advice: Advice) -> None:
        """Use this advice in the summaries that follow."""
        self._advice = advice

    def read(self, stats: Stats) -> Summary:
        """Build the summary of a reading."""
        before, self._before = self._before, stats
        self._seq += 1
        adapters = stats.adapters.values()
        dropped = _dropped if self._kind == "model" else _dropped_where_measured
        landed = _landed if self._kind == "model" else _landed_where_measured
        busiest_cpu, busiest_load = _busiest(stats, before)
        return Summary(
            seq=self._seq,
            time_ns=stats.time_ns,
            sim_time_ns=stats.sim_time_ns,
            kind=self._kind,
            cpus=len(stats.cpus["id"]),
            cpus_down=total(stats.cpus["down"]),
            adapters=len(adapters),
            queues=sum(len(one.queues["id"]) for one in adapters),
            offered_frames=total(one.port["offered_frames"] for one in adapters),
            offered_bytes=total(one.port["offered_bytes"] for one in adapters),
            dropped_frames=total(map(dropped, adapters)),
            default_queue_frames=total(map(landed, adapters)),
            busiest_cpu=busiest_cpu,
            busiest_load=busiest_load,
            behind_ns=stats.behind_ns,
            findings=self._findings(),
            worst=self._worst(),
        )

    def _findings(self) -> FindingCounts | None:
        if self._advice is None:
            return None
        counts = self._advice.counts
        return FindingCounts(bad=counts.get("bad", 0), cost=counts.get("warn", 0), note=counts.get("note", 0))

    def _worst(self) -> str | None:
        if self._advice is None or not self._advice.findings:
            return None
        sentence = self._advice.findings[0].says.encode()
        return sentence[:WORST_BYTES].decode(errors="ignore")


def _dropped(adapter: AdapterStats) -> Cell:
    of_queues = [cell for name in _DROPS_OF_QUEUES for cell in (*adapter.queues[name], adapter.freed[name])]
    interface = adapter.interface or dict.fromkeys(_DROPS_OF_INTERFACES, 0)
    return total([*of_queues, *(interface[name] for name in _DROPS_OF_INTERFACES)])


def _dropped_where_measured(adapter: AdapterStats) -> Cell:
    return total([*adapter.queues["dropped_no_buffer"], adapter.freed["dropped_no_buffer"]])


def _landed(adapter: AdapterStats) -> Cell:
    return total(adapter.default_queue[reason.name] for reason in DEFAULT_QUEUE_REASONS)


def _landed_where_measured(adapter: AdapterStats) -> Cell:
    queues = adapter.queues
    rows = zip(queues["id"], queues["steered_frames"], queues["received_frames"], strict=True)
    of_default = (received if steered is None else steered for id, steered, received in rows if id == 0)
    return next(of_default, None)


def _busiest(stats: Stats, before: Stats | None) -> tuple[int | None, float | None]:
    """The processor with the highest load between two readings, and that load (0..1); None if unknown."""
    if before is None:
        return None, None
    table = CounterTable(stats.cpus, before.cpus, (stats.sim_time_ns - before.sim_time_ns) / 1e9)
    loads = [
        (load, -cpu)
        for (cpu,), row in table.index.items()
        if (load := ratio(table.delta("busy_cycles", row), table.delta("budget_cycles", row))) is not None
    ]
    if not loads:
        return None, None
    load, cpu = max(loads)
    return -cpu, min(load, 1.0)
