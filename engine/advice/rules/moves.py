"""Rules about queues that move too often or not at all, and about swinging load; and a forecast of the moves
that the balancer would make if it were on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Request
from engine.advice.needs import BALANCER, BUSY, DROPS, FRAMES, NODE, NODES, PLACE, SIBLINGS
from engine.advice.placement import NO_LINE, of_vms, placement
from engine.advice.room import Room, eligible
from engine.advice.rules.processors import cpu_load
from engine.advice.thresholds import AdviceThresholds
from engine.balance.decide import Move, ProcessorLoad, QueueKey, QueueLoad, barred, decide
from engine.counted import noun
from engine.ndis.adapter import DEFAULT_DRIVER
from engine.scenario.keys import keys_of
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import BalancerSpec
from engine.scenario.values import check_number
from engine.view.adapter import AdapterView
from engine.view.rows import QueueView


@dataclass(frozen=True, eq=False)
class Swing:
    """A stretch in which a processor was full, and the first move that the balancer would make for it."""

    then: Evidence
    drops_pps: float
    move: Move


def swings(evidence: Evidence, thresholds: AdviceThresholds) -> dict[int, Swing]:
    """Return processors that are not busy on average but were full for a while and dropped frames, if the
    balancer is off and would have moved a queue; highest drop rate first."""
    spec = if_on(evidence)
    found: dict[int, Swing] = {}
    for number, then in evidence.worst.items() if spec is not None else ():
        now, full = evidence.cpu.get(number), then.cpu.get(number)
        if now is None or full is None or not then.usable or spec is None:
            continue
        if now.load is None or full.load is None:
            continue
        if now.load >= thresholds.busy_load or full.load < thresholds.busy_load:
            continue
        moves = [one for one in foreseen(then, spec) if (one.source, one.reason) == (number, "scale_out")]
        drops = sum(queue.rate("dropped_no_buffer") or 0.0 for queue in full.queues)
        if moves and drops:
            found[number] = Swing(then, drops, moves[0])
    return dict(sorted(found.items(), key=lambda item: -item[1].drops_pps))


def load_swings(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report processors that are not busy on average but were full at times, while others were not."""
    found = swings(evidence, thresholds)
    if not found:
        return
    number, swing = next(iter(found.items()))
    then, move = swing.then, swing.move
    cpu = evidence.cpu[number]
    adapter = then.adapters[move.key.adapter]
    queue = adapter.by_id[move.key.queue_id]
    end_s = then.stats.sim_time_ns / 1e9
    yield Finding(
        rule="load-swings",
        severity="bad",
        adapter=adapter.name,
        key="host",
        where=f"processor {cpu.known.name}",
        says=f"{noun(len(found), 'processor')} {evidence.processors.names(found)} dropped frames while full "
        "for a time; on the whole there is room",
        numbers={
            "load": cpu.load,
            "worst_load": then.cpu[number].load,
            "from_s": end_s - then.span_s,
            "to_s": end_s,
            "worst_drops_pps": swing.drops_pps,
            "full_processors": len(found),
        },
        cause="The load swings between VMs: their processors have time enough on average and too little at "
        "the moment, and a queue stays on its processor whatever the others do.",
        fix=f"Turn the balancer on: then it would have moved {queue.called} of {adapter.name} from "
        f"{cpu.known.name} to {evidence.processors.name(move.target)}",
        requests=[Request(op="set_balancer", params={"mode": "dynamic"})],
        commands=powershell.dynamic(adapter.name, evidence.config.windows),
        measure="frames dropped for want of a buffer, in all",
        value=evidence.rate("dropped_no_buffer"),
        cpu=number,
    )


def if_on(evidence: Evidence) -> BalancerSpec | None:
    """Return the settings of a balancer that is off, with mode "dynamic"; None if it is on or absent.

    Also None if a VM's queues on members of a team have to stay on one processor: it would part them.
    """
    if any(team.mode in ("min", "primary") and any(map(of_vms, team.members)) for team in evidence.teams):
        return None
    told = {key: value for key, value in evidence.config.balancer.items() if key in keys_of(BalancerSpec)}
    try:
        spec = read_balancer(told, BalancerSpec())
    except ScenarioError:
        return None  # another writer sent values out of range
    return msgspec.structs.replace(spec, mode="dynamic") if told.get("mode") == "off" else None


def foreseen(evidence: Evidence, spec: BalancerSpec) -> list[Move]:
    """Return the moves that the balancer would make at once with ``spec``."""
    seconds, hyperthreading = evidence.span_s, evidence.config.hyperthreading
    if any(cpu.known.numa_node is None for cpu in evidence.cpus) or any(
        one.known.numa_node is None for one in evidence.adapters
    ):
        return []  # what a move costs depends on the nodes
    processors = [
        ProcessorLoad(
            cpu=cpu.id,
            numa_node=cpu.known.numa_node or 0,
            usable=cpu.load is not None and not cpu.down and not (hyperthreading and cpu.id % 2),
            load=cpu.load or 0.0,
            budget_cycles=round((cpu.rate("budget_cycles") or 0.0) * seconds),
        )
        for cpu in evidence.cpus
    ]
    place = {adapter.name: number for number, adapter in enumerate(evidence.adapters)}
    apart = barred(
        [
            {cpu for queue in adapter.of_vms if (cpu := queue.planned_cpu) is not None}
            for adapter in evidence.adapters
        ],
        [[place[one.adapter] for one in team.members] for team in evidence.teams if team.mode == "sum"],
        [adapter.processor_set for adapter in evidence.adapters],
        evidence.processors.places.keys(),
    )
    queues = [
        QueueLoad(
            key=QueueKey(number, queue.queue_id, queue.generation),
            cpu=cpu,
            home_cpu=home,
            numa_node=adapter.known.numa_node or 0,
            cycles=(queue.cycles - queue.copy_cycles) * seconds,
            copy_cycles=queue.copy_cycles * seconds,
            movable=queue.queue_id != 0 and queue.state == "running" and queue.known.driver == DEFAULT_DRIVER,
            rested=True,
            barred=apart[number],
        )
        for number, adapter in enumerate(evidence.adapters)
        for queue in adapter.queues
        if (cpu := queue.known.cpu) is not None and (home := queue.planned_cpu) is not None
        if {cpu, home} <= evidence.cpu.keys()
    ]
    try:
        dearer = check_number(evidence.config.cpu_model.get("remote_copy_factor"), 1, 1e6)
    except ValueError:
        dearer = 1.0
    return decide(spec, processors, queues, dearer)


_LONGEST_REST_MS = 3_600_000


@dataclass(frozen=True)
class _Remedy:
    """The cause of a queue's repeated moves, and its fix."""

    cause: str
    fix: str
    request: Request
    commands: list[str]


def churn(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue that is moved too often within ``churn_s``, by the balancer or by requests."""
    since_ns = evidence.stats.sim_time_ns - int(thresholds.churn_s * 1e9)
    for adapter in evidence.adapters:
        for queue in adapter.queues:
            key = (adapter.name, queue.queue_id, queue.generation)
            moves = [one for one in evidence.trace.moves.get(key, ()) if one.at_ns >= since_ns]
            cpu = queue.known.cpu
            if (
                len(moves) < thresholds.churn_moves
                or cpu is None
                or queue.state in ("dma_stopped", "freeing")
            ):
                continue
            by_balancer = sum(one.by_balancer for one in moves)
            mostly = evidence.is_balanced and 2 * by_balancer >= len(moves)
            remedy = _rest(thresholds) if mostly else _home(evidence, thresholds, adapter, queue, cpu)
            whose = f", {by_balancer} of them by the balancer" if by_balancer else ""
            yield Finding(
                rule="affinity-churn",
                severity="warn",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{queue.called} was moved {len(moves)} times within {thresholds.churn_s:g} s{whose}",
                numbers={
                    "moves": len(moves),
                    "by_the_balancer": by_balancer,
                    "within_s": thresholds.churn_s,
                    "pps": queue.pps,
                },
                cause=remedy.cause,
                fix=remedy.fix,
                requests=[remedy.request],
                commands=remedy.commands,
                measure="moves within the last while",
                value=float(len(moves)),
                queue_id=queue.queue_id,
                vm=queue.vm,
            )


def _home(
    evidence: Evidence, thresholds: AdviceThresholds, adapter: AdapterView, queue: QueueView, cpu: int
) -> _Remedy:
    """Return the remedy that pins a queue of ``cpu`` to the least loaded processor of the adapter's set."""
    plan = placement(evidence, adapter, thresholds.busy_load)
    cpus = [evidence.cpu[one] for one in plan.sets[adapter.name]] if plan else eligible(evidence, adapter)
    cool = Room(evidence).coolest(cpus)
    target = cpu if cool is None else cool
    return _Remedy(
        "Something moves the queue to follow its load, and the load follows the queue: caches are cold after "
        "each move, and nothing is gained.",
        f"Let processor {evidence.processors.name(target)} serve it, and leave it there",
        Request(
            op="set_queue_parameters",
            params={"adapter": adapter.name, "queue_id": queue.queue_id, "cpu": target},
        ),
        powershell.look_at_queues(adapter.name, NO_LINE),
    )


def _rest(thresholds: AdviceThresholds) -> _Remedy:
    """Return the remedy of a longer rest, so that fewer moves than the threshold fit into ``churn_s``."""
    least_ms = thresholds.churn_s * 1100 / max(1, thresholds.churn_moves - 1)
    rest_ms = min(_LONGEST_REST_MS, math.ceil(least_ms / 100) * 100)
    return _Remedy(
        "The load of its processors swings faster than the balancer lets a queue rest, so what it moves away "
        "it soon moves home again, and caches are cold after each move.",
        f"Let a queue that moved rest for {rest_ms / 1000:g} s",
        Request(op="set_balancer", params={"cooldown_ms": rest_ms}),
        [],
    )


def _moves(evidence: Evidence, finding: Finding) -> float | None:
    since_ns = evidence.stats.sim_time_ns - int(float(finding.numbers.get("within_s") or 0) * 1e9)
    return float(
        sum(
            one.at_ns >= since_ns
            for (adapter, queue_id, _), moves in evidence.trace.moves.items()
            if (adapter, queue_id) == (finding.adapter, finding.queue_id)
            for one in moves
        )
    )


def balancer_off(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report busy processors from which the balancer, if it were on, would move queues."""
    spec = if_on(evidence)
    if spec is None or (evidence.busiest or 0.0) < thresholds.busy_load:
        return
    moves: dict[int, list[Move]] = {}
    for one in foreseen(evidence, spec):
        cpu = evidence.cpu[one.source]
        if one.reason == "scale_out" and (cpu.load or 0.0) >= thresholds.busy_load:
            moves.setdefault(one.source, []).append(one)
    if not moves:
        return
    source, made = next(iter(moves.items()))  # the fullest processor comes first
    first, cpu = made[0], evidence.cpu[source]
    adapter = evidence.adapters[first.key.adapter]
    queue = adapter.by_id[first.key.queue_id]
    yield Finding(
        rule="balancer-off",
        severity="note",
        adapter=adapter.name,
        key="host",
        where=f"processor {cpu.known.name}",
        says=f"the balancer is off; it would move queues of {noun(len(moves), 'processor')}"
        f" {evidence.processors.names(moves)} to others that have less to do",
        numbers={
            "load": cpu.load,
            "full_processors": len(moves),
            "moves": sum(map(len, moves.values())),
            "scale_out_load": spec.scale_out,
        },
        cause="A plan is made for some load. When the load is another, queues stay where they were put, "
        "however full their processor is, until somebody moves them.",
        fix=f"Turn the balancer on: it would move {queue.called} of {adapter.name} from {cpu.known.name} to "
        f"{evidence.processors.name(first.target)} first",
        requests=[Request(op="set_balancer", params={"mode": "dynamic"})],
        commands=powershell.dynamic(adapter.name, evidence.config.windows),
        measure=f"load of processor {cpu.known.name}",
        value=cpu.load,
        after=min(1.0, made[-1].source_after),
        estimated=True,
        cpu=source,
    )


RULES = (
    Rule(
        "affinity-churn",
        "A queue is moved again and again",
        "jitter although no processor is full",
        (6,),
        churn,
        _moves,
        "moves",
        thresholds=("churn_moves", "churn_s"),
        needs=(PLACE,),
        on_linux=True,
    ),
    Rule(
        "balancer-off",
        "A full processor, and the balancer is off",
        "one core at 100 % at some hours, the others idle",
        (1,),
        balancer_off,
        cpu_load,
        "load",
        thresholds=("busy_load",),
        needs=(BALANCER, BUSY, FRAMES, PLACE, SIBLINGS, NODES, NODE),
    ),
    Rule(
        "load-swings",
        "The load swings, and the balancer is off",
        "drops at some moments, although no processor is busy on average",
        (1, 8),
        load_swings,
        lambda evidence, finding: evidence.rate("dropped_no_buffer"),
        "frames/s",
        thresholds=("busy_load",),
        needs=(BALANCER, BUSY, FRAMES, DROPS, PLACE, SIBLINGS, NODES, NODE),
    ),
)
