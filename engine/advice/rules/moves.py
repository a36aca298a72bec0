"""Rules on queues that move between processors, and on those that nothing moves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from engine.advice import powershell
from engine.advice.evidence import AdapterSeen, Evidence, QueueSeen
from engine.advice.finding import Finding, Request
from engine.advice.room import Room, eligible
from engine.advice.rules.processors import cpu_load
from engine.advice.rules.rule import Rule
from engine.advice.thresholds import AdviceThresholds
from engine.balance.decide import Move, Processor, QueueKey, Served, decide
from engine.balance.teams import barred
from engine.ndis.adapter import DEFAULT_DRIVER
from engine.ndis.processors import processor_name
from engine.scenario.keys import KEYS
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import BalancerSpec
from engine.scenario.values import check_number

_LONGEST_REST_MS = 3_600_000


@dataclass(frozen=True)
class _Remedy:
    """Why a queue is moved about, and what ends it."""

    cause: str
    fix: str
    request: Request
    commands: list[str]


def churn(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """A queue that is moved again and again, by the balancer or by others."""
    since_ns = evidence.stats.sim_time_ns - int(thresholds.churn_s * 1e9)
    for adapter in evidence.adapters:
        for queue in adapter.queues:
            key = (adapter.name, queue.queue_id, queue.config.generation)
            moves = [one for one in evidence.trace.moves.get(key, ()) if one.at_ns >= since_ns]
            if len(moves) < thresholds.churn_moves:
                continue
            by_balancer = sum(one.by_balancer for one in moves)
            mostly = evidence.is_balanced and 2 * by_balancer >= len(moves)
            remedy = _rest(thresholds) if mostly else _home(evidence, adapter, queue)
            whose = f", {by_balancer} of them by the balancer" if by_balancer else ""
            yield Finding(
                rule="affinity-churn",
                severity="warn",
                adapter=adapter.name,
                key=f"queue {queue.queue_id}",
                where=queue.called,
                says=f"{queue.called} was moved {len(moves)} times within {thresholds.churn_s:g} s{whose}",
                numbers={
                    "moves": len(moves),
                    "by_the_balancer": by_balancer,
                    "within_s": thresholds.churn_s,
                    "pps": queue.rate("steered_frames"),
                },
                cause=remedy.cause,
                fix=remedy.fix,
                requests=[remedy.request],
                commands=remedy.commands,
                measure="moves within the last while",
                value=float(len(moves)),
                queue_id=queue.queue_id,
                vm=queue.config.vm,
            )


def _home(evidence: Evidence, adapter: AdapterSeen, queue: QueueSeen) -> _Remedy:
    """Whoever moves it should stop."""
    cool = Room(evidence).coolest(eligible(evidence, adapter))
    target = queue.config.cpu if cool is None else cool
    return _Remedy(
        "Something moves the queue to follow its load, and the load follows the queue: caches are cold after "
        "each move, and nothing is gained.",
        f"Let processor {processor_name(target)} serve it, and leave it there",
        Request(
            op="set_queue_parameters",
            params={"adapter": adapter.name, "queue_id": queue.queue_id, "cpu": target},
        ),
        [powershell.adapter_vmq(adapter.name, [target])],
    )


def _rest(thresholds: AdviceThresholds) -> _Remedy:
    """The balancer should let it rest for so long that fewer moves fit into the time looked at."""
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
    """A processor is full, and the balancer, if it were on, would move queues of it."""
    spec = _if_on(evidence)
    if spec is None or (evidence.busiest or 0.0) < thresholds.busy_load:
        return
    moves: dict[int, list[Move]] = {}
    for one in _foreseen(evidence, spec):
        if one.reason == "scale_out":
            moves.setdefault(one.source, []).append(one)
    for source, made in moves.items():
        cpu = evidence.cpu[source]
        if cpu.load is None or cpu.load < thresholds.busy_load:
            continue
        first, last = made[0], made[-1]
        adapter = evidence.adapters[first.key.adapter]
        queue = adapter.by_id[first.key.queue_id]
        over = len([one for one in cpu.queues if one.pps >= thresholds.idle_pps])
        yield Finding(
            rule="balancer-off",
            severity="note",
            adapter=adapter.name,
            key=f"cpu {source}",
            where=f"processor {cpu.config.name}",
            says=f"the balancer is off; it would move queues of processor {cpu.config.name} to idle ones",
            numbers={
                "load": cpu.load,
                "queues": over,
                "moves": len(made),
                "scale_out_load": spec.scale_out,
            },
            cause="A plan is made for some load. When the load is another, queues stay where they were put, "
            "however full their processor is, until somebody moves them.",
            fix=f"Turn the balancer on: it would move {queue.called} to {processor_name(first.target)} first",
            requests=[Request(op="set_balancer", params={"mode": "dynamic"})],
            commands=[powershell.adapter_vmq(adapter.name, [one.id for one in eligible(evidence, adapter)])],
            measure="load of the processor",
            value=cpu.load,
            after=min(1.0, last.source_after),
            estimated=True,
            cpu=source,
        )


def _if_on(evidence: Evidence) -> BalancerSpec | None:
    """What the balancer would go by, where it is off; None where it is on, or there is none."""
    told = {key: value for key, value in evidence.config.balancer.items() if key in KEYS[BalancerSpec]}
    try:
        spec = read_balancer(told, BalancerSpec())
    except ScenarioError:
        return None  # another writer's, which says what can't be
    return msgspec.structs.replace(spec, mode="dynamic") if told.get("mode") == "off" else None


def _foreseen(evidence: Evidence, spec: BalancerSpec) -> list[Move]:
    """What the balancer would do at once, on what was seen."""
    seconds, hyperthreading = evidence.seconds, evidence.config.hyperthreading
    processors = [
        Processor(
            cpu=cpu.id,
            numa_node=cpu.config.numa_node,
            usable=cpu.up and not (hyperthreading and cpu.id % 2),
            load=cpu.load or 0.0,
            budget_cycles=round((cpu.grown.rate((cpu.id,), "budget_cycles") or 0.0) * seconds),
        )
        for cpu in evidence.cpus
    ]
    place = {adapter.name: number for number, adapter in enumerate(evidence.adapters)}
    apart = barred(
        [{queue.home_cpu for queue in adapter.of_vms} for adapter in evidence.adapters],
        [[place[one.name] for one in team.members] for team in evidence.teams if team.mode == "sum"],
    )
    queues = [
        Served(
            key=QueueKey(number, queue.queue_id, queue.config.generation),
            cpu=queue.config.cpu,
            home_cpu=queue.home_cpu,
            numa_node=adapter.config.numa_node,
            cycles=(queue.cycles - queue.copy_cycles) * seconds,
            copy_cycles=queue.copy_cycles * seconds,
            movable=queue.queue_id != 0
            and queue.config.state == "running"
            and queue.config.driver == DEFAULT_DRIVER,
            rested=True,
            barred=apart[number],
        )
        for number, adapter in enumerate(evidence.adapters)
        for queue in adapter.queues
        if {queue.config.cpu, queue.home_cpu} <= evidence.cpu.keys()
    ]
    try:
        dearer = check_number(evidence.config.cpu_model.get("remote_copy_factor"), 1, 1e6)
    except ValueError:
        dearer = 1.0
    return decide(spec, processors, queues, dearer)


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
    ),
    Rule(
        "balancer-off",
        "A full processor, and the balancer is off",
        "one core at 100 % at some hours, the others idle",
        (1,),
        balancer_off,
        cpu_load,
        "load",
        thresholds=("busy_load", "idle_pps"),
    ),
)
