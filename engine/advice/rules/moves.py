"""Rules on queues that move between processors, and on those that nothing moves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from engine.advice import powershell
from engine.advice.evidence import Evidence
from engine.advice.finding import Finding, Request
from engine.advice.foresight import foreseen, if_on
from engine.advice.room import Room, eligible
from engine.advice.rules.processors import cpu_load
from engine.advice.rules.rule import Rule
from engine.advice.thresholds import AdviceThresholds
from engine.balance.decide import Move
from engine.counted import noun
from engine.ndis.processors import processor_name, processor_names
from engine.view.adapter import AdapterView
from engine.view.rows import QueueView

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
            key = (adapter.name, queue.queue_id, queue.generation)
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
                key=queue.key,
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
                vm=queue.vm,
            )


def _home(evidence: Evidence, adapter: AdapterView, queue: QueueView) -> _Remedy:
    """Whoever moves it should stop."""
    cool = Room(evidence).coolest(eligible(evidence, adapter))
    target = queue.known.cpu if cool is None else cool
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
    """Processors are full, and the balancer, if it were on, would move queues of them."""
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
    source, made = next(iter(moves.items()))  # the fullest comes first
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
        f" {processor_names(moves)} to others that have less to do",
        numbers={
            "load": cpu.load,
            "full_processors": len(moves),
            "moves": sum(map(len, moves.values())),
            "scale_out_load": spec.scale_out,
        },
        cause="A plan is made for some load. When the load is another, queues stay where they were put, "
        "however full their processor is, until somebody moves them.",
        fix=f"Turn the balancer on: it would move {queue.called} of {adapter.name} from {cpu.known.name} to "
        f"{processor_name(first.target)} first",
        requests=[Request(op="set_balancer", params={"mode": "dynamic"})],
        commands=[powershell.adapter_vmq(adapter.name, [one.cpu for one in eligible(evidence, adapter)])],
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
    ),
)
