"""The rule about full processors whose drops are not explained by any rule about idle processors."""

from collections.abc import Iterator, Sequence
from typing import Any

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Number
from engine.advice.needs import BUSY, DROPS, FRAMES, NODE, NODES, PLACE, SIBLINGS
from engine.advice.placement import Placement, placement
from engine.advice.room import eligible
from engine.advice.rules.processors import one_queue, piled_queues, shared_with_default, sibling_serves
from engine.advice.rules.teams import is_of_team
from engine.advice.rules.unserved import unserved
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted
from engine.view.adapter import AdapterView
from engine.view.rows import CpuView, QueueView

_MAIN_PART = 0.5
_WORTH_IT = 0.05
"""Smallest load difference that justifies moves: the source's load before them minus any load after them."""

_FRAMES_OF = {
    "broadcast": "broadcasts",
    "multicast": "multicasts",
    "no_queue": "frames for VMs without a queue",
    "vlan_mismatch": "frames with another VLAN than their filter's",
    "unknown_unicast": "frames for MACs that nobody here has",
}


def full_processor(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a busy processor that drops frames, unless a rule about idle processors reports it already.

    The cause is uneven load, one heavy queue, strays in the default queue, or overload.
    """
    spread_out = {
        one.cpu
        for look in (shared_with_default, piled_queues, one_queue)
        for one in look(evidence, thresholds)
    }
    overloaded = set()
    for cpu in evidence.cpus:
        if cpu.load is None or cpu.load < thresholds.busy_load or sibling_serves(evidence, cpu):
            continue  # another rule reports half a core
        dropping = [one for one in cpu.queues if one.rate("dropped_no_buffer") and not one.known.vm_paused]
        if not dropping or is_of_team(evidence, dropping):
            continue
        heaviest = max(cpu.queues, key=lambda one: (evidence.work(one), -one.queue_id))
        adapter = evidence.by_name[heaviest.adapter]
        share = evidence.share(cpu, heaviest)
        if not evidence.is_plain(heaviest) and share is not None and share >= thresholds.busy_load:
            if not unserved(adapter, thresholds):  # otherwise another rule reports those VMs
                yield _full_of_strays(evidence, adapter, cpu, heaviest)
            continue
        if cpu.id in spread_out:
            continue
        plan = placement(evidence, adapter, thresholds.busy_load)
        own = [evidence.cpu[one] for one in plan.sets[adapter.name]] if plan else eligible(evidence, adapter)
        others = [one for one in own if one.cpu != cpu.id]
        if plan is not None and _evens(evidence, plan, cpu):
            yield _uneven(evidence, thresholds, adapter, cpu, others, plan)
        elif any(one.load is not None and one.load < thresholds.busy_load for one in others):
            if share is not None and share < _MAIN_PART * cpu.load:
                continue  # on a real host, other devices have most of it
            yield _one_that_fills(evidence, thresholds, adapter, cpu, others, heaviest)
        elif adapter.name not in overloaded and all(one.load is not None for one in others):
            overloaded.add(adapter.name)
            yield _overload(evidence, adapter, cpu, others)


def _found(
    evidence: Evidence, adapter: AdapterView, cpu: CpuView, numbers: dict[str, Number], **words: Any
) -> Finding:
    return Finding(
        rule="full-processor",
        severity="bad",
        adapter=adapter.name,
        numbers={"load": cpu.load, "drops_pps": cpu.drops, **numbers},
        measure="frames dropped for want of a buffer, in all",
        value=evidence.rate("dropped_no_buffer"),
        cpu=cpu.id,
        **{"key": f"cpu {cpu.id}", "where": f"processor {cpu.known.name}", **words},
    )


def _among(thresholds: AdviceThresholds, others: Sequence[CpuView]) -> tuple[str, dict[str, Number]]:
    """Return the counts of busy and idle ones among other processors, in words and as numbers."""
    loads = [one.load for one in others if one.load is not None]
    busy = sum(load >= thresholds.busy_load for load in loads)
    idle = sum(load <= thresholds.idle_load for load in loads)
    among = counted(len(others), "other that may serve its queues", "others that may serve its queues")
    words = f"of {among} {busy} are busy and {idle} idle"
    return words, {"others": len(others), "busy_others": busy, "idle_others": idle}


def _uneven(
    evidence: Evidence,
    thresholds: AdviceThresholds,
    adapter: AdapterView,
    cpu: CpuView,
    others: Sequence[CpuView],
    plan: Placement,
) -> Finding:
    words, numbers = _among(thresholds, others)
    drops = evidence.rate("dropped_no_buffer")
    return _found(
        evidence,
        adapter,
        cpu,
        {"queues": len(cpu.queues), **numbers},
        says=f"processor {cpu.known.name} has no time left and drops frames; {words}",
        cause="Queues were spread without regard to the frames they bring: others have less to do.",
        fix=f"Give the adapter processors {plan.words}, and spread its queues over them",
        requests=plan.requests,
        commands=plan.commands,
        after=max(0.0, drops - (cpu.drops or 0.0)) if plan.fits and drops is not None else None,
        estimated=True,
    )


def _one_that_fills(
    evidence: Evidence,
    thresholds: AdviceThresholds,
    adapter: AdapterView,
    cpu: CpuView,
    others: Sequence[CpuView],
    heaviest: QueueView,
) -> Finding:
    words, numbers = _among(thresholds, others)
    vm, several = heaviest.vm, evidence.has_multi_queue(adapter)
    return _found(
        evidence,
        adapter,
        cpu,
        {"pps": heaviest.known_pps, **numbers},
        says=f"{heaviest.called} has most of processor {cpu.known.name}, which drops frames; {words}",
        cause="A queue uses exactly one processor, and no other one has room for what this one does.",
        fix="Let its VM have several queues (VMMQ) and spread its flows in the guest (vRSS)"
        if several
        else "Without VMMQ, a network adapter of its VM has one queue: spread its load over several "
        "network adapters, or VMs",
        commands=(powershell.multi_queue(vm, 4) if several else powershell.one_queue_each(adapter.name))
        if vm
        else [],
    )


def _overload(evidence: Evidence, adapter: AdapterView, cpu: CpuView, others: Sequence[CpuView]) -> Finding:
    count = len(others) + 1
    return _found(
        evidence,
        adapter,
        cpu,
        {"processors": count},
        key="all",
        where=adapter.name,
        says=f"frames are dropped, and all processors that may serve {adapter.name} are busy: {count}",
        cause="The frames that come take more than the processors that serve this adapter can do.",
        fix="Move VMs to another host, or give this one more processors: moves of queues only shift drops",
        commands=[powershell.queues_of(adapter.name)],
    )


def _evens(evidence: Evidence, plan: Placement, cpu: CpuView) -> bool:
    """Return whether a placement takes load from a processor, and brings none to as much."""
    before = evidence.demand[cpu.id]
    touched = {cpu.id, *(int(one.params["cpu"]) for one in plan.requests if "cpu" in one.params)}
    return len(touched) > 1 and all(plan.room.loads[one] < before - _WORTH_IT for one in touched)


def _full_of_strays(evidence: Evidence, adapter: AdapterView, cpu: CpuView, default: QueueView) -> Finding:
    """Return the finding for a processor that the default queue fills."""
    counts = {reason: adapter.reason(reason) for reason in _FRAMES_OF}
    known = {reason: pps for reason, pps in counts.items() if pps is not None}
    most = max(known, key=lambda reason: known[reason]) if len(known) == len(counts) else None
    frames = "frames" if most is None else _FRAMES_OF[most]
    numbers: dict[str, Number] = {"default_queue_pps": default.pps}
    if most is not None:
        numbers[f"{most}_pps"] = known[most]
    return _found(
        evidence,
        adapter,
        cpu,
        numbers,
        says=f"the default queue fills processor {cpu.known.name}"
        + ("; which frames it takes is not known" if most is None else f", most of it with {frames}"),
        cause="What no filter takes is the default queue's, and one processor sorts it all by software.",
        fix=f"Find out where the {frames} come from: no queue of a VM can take them"
        if most is not None
        else "Find out which frames it takes, and where they come from",
        commands=[f"Get-NetAdapterStatistics -Name {powershell.quoted(adapter.name)} | Format-List *"],
    )


RULES = (
    Rule(
        "full-processor",
        "A full processor, and no idle one",
        "drops although the queues are spread",
        (1, 8),
        full_processor,
        lambda evidence, finding: evidence.rate("dropped_no_buffer"),
        "frames/s",
        thresholds=("busy_load", "idle_load", "busy_vm_pps"),
        needs=(BUSY, FRAMES, DROPS, PLACE, SIBLINGS, NODES, NODE),
        on_linux=True,
    ),
)
