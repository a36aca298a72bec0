"""A move that was made: the loads before it, and what they are now."""

from dataclasses import dataclass, replace

from engine.view.rates import WINDOW_NS
from engine.view.rows import CpuView
from vmqtui.state.placement import Forecast, Side
from vmqtui.state.snapshot import Snapshot


@dataclass(frozen=True)
class Move:
    """A queue's move from ``source`` to ``target``, each before and now. ``at_ns`` is the simulated time at
    which the configuration first showed it; until rates are of the time after it, it is not ``measured``."""

    identity: object
    label: str
    source: Side
    target: Side
    at_ns: int | None = None
    measured: bool = False


def intended(forecast: Forecast) -> Move:
    """A move that is asked for."""
    return Move(forecast.queue.identity, forecast.queue.label, forecast.source, forecast.target)


def followed(move: Move, snapshot: Snapshot) -> Move:
    """The same move as it stands in a newer snapshot."""
    stats = snapshot.stats
    queue = next((row for row in snapshot.queues if row.identity == move.identity), None)
    if stats is None or queue is None or queue.cpu != move.target.cpu:
        return replace(move, at_ns=None, measured=False)
    at_ns = stats.sim_time_ns if move.at_ns is None else move.at_ns
    measured = stats.sim_time_ns - at_ns >= WINDOW_NS
    cpus = {cpu.cpu: cpu for cpu in snapshot.cpus}
    return replace(
        move,
        at_ns=at_ns,
        measured=measured,
        source=_now(move.source, cpus.get(move.source.cpu), measured),
        target=_now(move.target, cpus.get(move.target.cpu), measured),
    )


def _now(side: Side, cpu: CpuView | None, measured: bool) -> Side:
    if cpu is None:
        return side
    return replace(side, after=cpu.load if measured else None, queues_after=len(cpu.queues))
