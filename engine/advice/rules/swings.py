"""Rules on load that swings: even on the whole, and at no moment."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.advice import powershell
from engine.advice.evidence import Evidence
from engine.advice.finding import Finding, Request
from engine.advice.foresight import foreseen, if_on
from engine.advice.room import eligible
from engine.advice.rules.rule import Rule
from engine.advice.thresholds import AdviceThresholds
from engine.balance.decide import Move
from engine.counted import noun
from engine.ndis.processors import processor_name, processor_names


@dataclass(frozen=True, eq=False)
class Swing:
    """The stretch in which a processor was full, and what the balancer would have moved first."""

    then: Evidence
    drops_pps: float
    move: Move


def swings(evidence: Evidence, thresholds: AdviceThresholds) -> dict[int, Swing]:
    """By processor: it was full for a while and dropped frames, though on the whole it has time, and the
    balancer, which is off, would have moved something; where most was dropped comes first."""
    spec = if_on(evidence)
    found: dict[int, Swing] = {}
    for number, then in evidence.worst.items() if spec is not None else ():
        now, full = evidence.cpu.get(number), then.cpu.get(number)
        if now is None or full is None or not then.usable or spec is None:
            continue
        if (now.load or 0.0) >= thresholds.busy_load or (full.load or 0.0) < thresholds.busy_load:
            continue
        moves = [one for one in foreseen(then, spec) if (one.source, one.reason) == (number, "scale_out")]
        drops = sum(queue.rate("dropped_no_buffer") or 0.0 for queue in full.queues)
        if moves and drops:
            found[number] = Swing(then, drops, moves[0])
    return dict(sorted(found.items(), key=lambda item: -item[1].drops_pps))


def load_swings(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Processors that have time on the whole were full at times, while others were not."""
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
        says=f"{noun(len(found), 'processor')} {processor_names(found)} dropped frames while full for a "
        "time; on the whole there is room",
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
        f"{cpu.known.name} to {processor_name(move.target)}",
        requests=[Request(op="set_balancer", params={"mode": "dynamic"})],
        commands=[powershell.adapter_vmq(adapter.name, [one.cpu for one in eligible(evidence, adapter)])],
        measure="frames dropped for want of a buffer, in all",
        value=evidence.rate("dropped_no_buffer"),
        cpu=number,
    )


RULES = (
    Rule(
        "load-swings",
        "The load swings, and the balancer is off",
        "drops at some moments, although no processor is busy on average",
        (1, 8),
        load_swings,
        lambda evidence, finding: evidence.rate("dropped_no_buffer"),
        "frames/s",
        thresholds=("busy_load",),
    ),
)
