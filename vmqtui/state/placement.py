"""Moves of queues between processors: forecasts from measured loads, moves made, and the balancer's."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.scenario.values import check_number
from engine.view.rates import WINDOW_NS, known_sum, ratio
from engine.view.rows import CpuView, QueueView
from vmqtui.state.snapshot import Snapshot


@dataclass(frozen=True)
class Side:
    """The source or target processor of a move: load and number of queues before and after. None: unknown."""

    cpu: int
    processor: str
    before: float | None
    after: float | None
    queues_before: int
    queues_after: int


@dataclass(frozen=True)
class Forecast:
    """The expected effect of moving a queue to another processor, and warnings against it."""

    queue: QueueView
    source: Side
    target: Side
    warnings: tuple[str, ...] = ()


def cost_of(queue: QueueView, model: dict[str, Any], remote: bool) -> float | None:
    """Cycles per second to serve a queue, by the host's CPU model; None if its rates or the model is unknown.

    Interrupts and DPCs shared by several queues count in full for each, so use costs only for comparison.
    """
    frames, dpcs, interrupts = (queue.rate(name) for name in ("indicated_frames", "dpcs", "interrupts"))
    if frames is None or dpcs is None or interrupts is None:
        return None
    size = ratio(queue.rate("steered_bytes"), queue.rate("steered_frames")) or 0.0
    if queue.config is not None and queue.config.lookahead_bytes:
        size = min(size, float(queue.config.lookahead_bytes))  # the rest is not copied
    try:
        factor = _cycles(model, "remote_copy_factor") if remote else 1.0
        per_frame = _cycles(model, "cycles_per_frame") + size * factor * _cycles(model, "cycles_per_byte")
        return (
            frames * per_frame
            + dpcs * _cycles(model, "cycles_per_dpc")
            + interrupts * _cycles(model, "cycles_per_interrupt")
        )
    except ValueError:
        return None


def _cycles(model: dict[str, Any], key: str) -> float:
    """A number of the CPU model, which may be missing or invalid. Raises ValueError."""
    return check_number(model.get(key), 0, 1e12)


def is_remote(queue: QueueView, cpu: CpuView) -> bool:
    """Whether the adapter's buffers are on a different NUMA node from the processor; False if unknown."""
    adapter = queue.settings.numa_node if queue.settings is not None else None
    node = cpu.config.numa_node if cpu.config is not None else None
    return adapter is not None and node is not None and adapter != node


def loads_of(cpu: CpuView, model: dict[str, Any]) -> dict[Hashable, float | None]:
    """The part of the processor's measured load that each queue causes, by queue identity; None: unknown."""
    load = cpu.load
    costs = {one.identity: cost_of(one, model, is_remote(one, cpu)) for one in cpu.queues}
    total = known_sum(costs.values())
    if load is None or total is None:
        return dict.fromkeys(costs)
    return {
        identity: None if cost is None else load * cost / total if total else 0.0
        for identity, cost in costs.items()
    }


def load_of(queue: QueueView, cpu: CpuView, model: dict[str, Any]) -> float | None:
    """As ``loads_of``, for one queue."""
    return loads_of(cpu, model).get(queue.identity)


def forecast(snapshot: Snapshot, queue: QueueView, target: int) -> Forecast | None:
    """The effect of moving ``queue`` to processor ``target``; None if a processor is unknown."""
    cpus = {cpu.cpu: cpu for cpu in snapshot.cpus}
    if queue.cpu is None or queue.cpu not in cpus or target not in cpus or snapshot.config is None:
        return None
    here, there, model = cpus[queue.cpu], cpus[target], snapshot.config.cpu_model
    taken = load_of(queue, here, model)
    given = _given(queue, taken, here, there, model)
    moves = 0 if here.cpu == there.cpu else 1
    return Forecast(
        queue,
        _side(here, _less(here.load, taken, moves), -moves),
        _side(there, _more(there.load, given, moves), moves),
        _warnings(snapshot, queue, here, there, given),
    )


def _given(
    queue: QueueView, taken: float | None, here: CpuView, there: CpuView, model: dict[str, Any]
) -> float | None:
    """The load on ``there`` of a queue that has the load ``taken`` on ``here``."""
    near, far = (cost_of(queue, model, is_remote(queue, cpu)) for cpu in (here, there))
    budgets = ratio(here.rate("budget_cycles"), there.rate("budget_cycles"))
    dearer = ratio(far, near)
    return taken * budgets * (dearer or 1.0) if taken is not None and budgets is not None else None


def load_with(snapshot: Snapshot, queues: Sequence[QueueView], target: CpuView) -> float | None:
    """The load of a processor with ``queues`` of others as well; None if that of one is unknown."""
    if snapshot.config is None or target.load is None:
        return None
    model, cpus = snapshot.config.cpu_model, {cpu.cpu: cpu for cpu in snapshot.cpus}
    sources = {queue.cpu for queue in queues}
    loads = {cpu: loads_of(cpus[cpu], model) for cpu in sources if cpu is not None and cpu in cpus}
    after = target.load
    for queue in queues:
        if queue.cpu is None or queue.cpu not in loads:
            return None
        taken = loads[queue.cpu].get(queue.identity)
        given = _given(queue, taken, cpus[queue.cpu], target, model)
        if given is None:
            return None
        after += given
    return min(1.0, after)


def _side(cpu: CpuView, after: float | None, added: int) -> Side:
    return Side(cpu.cpu, cpu.processor, cpu.load, after, len(cpu.queues), len(cpu.queues) + added)


def _less(load: float | None, taken: float | None, moves: int) -> float | None:
    return None if load is None or taken is None else max(0.0, load - taken * moves)


def _more(load: float | None, given: float | None, moves: int) -> float | None:
    return None if load is None or given is None else min(1.0, load + given * moves)


def _warnings(
    snapshot: Snapshot, queue: QueueView, here: CpuView, there: CpuView, given: float | None
) -> tuple[str, ...]:
    found: list[str] = []
    if here.cpu == there.cpu:
        return ()
    if there.down:
        found.append(f"{there.processor} is down: frames for its queues are lost")
    if is_remote(queue, there):
        node = there.config.numa_node if there.config else None
        adapter = queue.settings.numa_node if queue.settings else None
        found.append(f"{there.processor} is on NUMA node {node}, the adapter's buffers on {adapter}")
    index = snapshot.index.adapters.get(queue.adapter)
    known = index.processor_set if index is not None and queue.queue_id else None
    if index is not None and known is not None and there.cpu not in known:
        found.append(f"{there.processor} is outside the adapter's set, {index.set_words}")
    core = there.config.core if there.config is not None else None
    if core is not None and snapshot.config is not None and snapshot.config.hyperthreading:
        for other in snapshot.cpus:
            shares = other.config is not None and other.config.core == core
            if shares and other.cpu != there.cpu and (set(other.queues) - {queue}):
                found.append(f"{there.processor} shares a core with {other.processor}, which serves queues")
    if here.load is not None and here.load >= 0.95:
        found.append(f"{here.processor} is saturated: there is more to do than it shows")
    if given is not None and there.load is not None and there.load + given >= 0.95:
        found.append(f"{there.processor} would be saturated")
    return tuple(found)


@dataclass(frozen=True)
class Move:
    """A queue's move from ``source`` to ``target``, each with its values before and now. ``at_ns`` is the
    simulated time of the first reading after it; ``measured``: all rates are of the time after ``at_ns``."""

    identity: object
    label: str
    source: Side
    target: Side
    at_ns: int | None = None
    measured: bool = False


def intended(forecast: Forecast) -> Move:
    """A requested move, not yet seen in a snapshot."""
    return Move(forecast.queue.identity, forecast.queue.label, forecast.source, forecast.target)


def followed(move: Move, snapshot: Snapshot) -> Move:
    """The move updated from a newer snapshot."""
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


def balancer_words(snapshot: Snapshot) -> str:
    """The balancer's state and the number of queues away from home, in words; "" if it is off or unknown."""
    if snapshot.config is None or snapshot.config.balancer.get("mode", "off") == "off":
        return ""
    away = sum(row.home_cpu not in (None, row.cpu) for row in snapshot.queues)
    return f"balancer on, {away} away from home (⌂)" if away else "balancer on"
