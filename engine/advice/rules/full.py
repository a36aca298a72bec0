"""Rules on processors that are full where no other one idles, so that no move alone explains the drops."""

from collections.abc import Iterator

from engine.advice import powershell
from engine.advice.evidence import AdapterSeen, CpuSeen, Evidence, QueueSeen
from engine.advice.finding import Finding, Request
from engine.advice.room import Room, eligible
from engine.advice.rules.processors import one_queue, piled_queues, shared_with_default
from engine.advice.rules.queues import unserved
from engine.advice.rules.rule import Rule
from engine.advice.rules.teams import is_of_team
from engine.advice.thresholds import AdviceThresholds

_WORTH_IT = 0.05
"""A move that makes the busier of two processors less busy by less than this is none to make."""

_FRAMES_OF = {
    "broadcast": "broadcasts",
    "multicast": "multicasts",
    "no_queue": "frames for VMs without a queue",
    "vlan_mismatch": "frames with another VLAN than their filter's",
    "unknown_unicast": "frames for MACs that nobody here has",
}


def full_processor(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """A busy processor drops frames, and none is idle: the load is uneven, or there is too much of it."""
    spread_out = {
        one.cpu
        for look in (shared_with_default, piled_queues, one_queue)
        for one in look(evidence, thresholds)
    }
    for cpu in evidence.cpus:
        if cpu.load is None or cpu.load < thresholds.busy_load or cpu.id in spread_out:
            continue
        dropping = [one for one in cpu.queues if one.rate("dropped_no_buffer") and not one.config.vm_paused]
        if not dropping or _half_a_core(evidence, cpu) or is_of_team(evidence, dropping):
            continue
        heaviest = max(cpu.queues, key=lambda one: (one.cycles, -one.queue_id))
        adapter = evidence.by_name[heaviest.adapter.name]
        if heaviest.queue_id == 0:
            if not unserved(adapter, thresholds):  # else those VMs are what is said
                yield _full_of_strays(evidence, adapter, cpu, heaviest)
        else:
            yield _full(evidence, thresholds, adapter, cpu, heaviest)


def _half_a_core(evidence: Evidence, cpu: CpuSeen) -> bool:
    """Whether it shares a core with a busy one, of which another rule tells."""
    sibling = evidence.cpu.get(cpu.id ^ 1)
    return (
        evidence.config.hyperthreading and sibling is not None and any(one.pps > 0 for one in sibling.queues)
    )


def _drops(cpu: CpuSeen) -> float:
    return sum(one.rate("dropped_no_buffer") or 0.0 for one in cpu.queues)


def _full(
    evidence: Evidence, thresholds: AdviceThresholds, adapter: AdapterSeen, cpu: CpuSeen, heaviest: QueueSeen
) -> Finding:
    """Most of what it does is for VMs' queues."""
    fitting = [one for one in eligible(evidence, adapter) if one.load is not None]
    others = [one for one in fitting if one.id != cpu.id]
    requests = _evened(evidence, cpu, heaviest, others)
    loads = [one.load for one in others if one.load is not None]
    busy = sum(load >= thresholds.busy_load for load in loads)
    idle = sum(load <= thresholds.idle_load for load in loads)
    vm = heaviest.config.vm
    commands = [powershell.adapter_vmq(adapter.name, [one.id for one in fitting])] if fitting else []
    if requests:
        cause = "Queues were spread without regard to the frames they bring: others have less to do."
        fix = "Move queues to processors that have less to do"
    elif busy < len(others):
        cause = f"Most of it is {heaviest.called}, and a queue uses exactly one processor."
        fix = "Let its VM have several queues (VMMQ) and spread its flows in the guest (vRSS)"
        commands = [powershell.multi_queue(vm, 4)] if vm else []
    else:
        cause = "The frames that come take more than the processors that serve this adapter can do."
        fix = "Let more processors serve it (MaxProcessors), or a faster host: a move only shifts the drops"
    return Finding(
        rule="full-processor",
        severity="bad",
        adapter=adapter.name,
        key=f"cpu {cpu.id}",
        where=f"processor {cpu.config.name}",
        says=f"processor {cpu.config.name} has no time left and drops frames; of {len(others)} others that "
        f"may serve {adapter.name}, {busy} are busy and {idle} idle",
        numbers={
            "load": cpu.load,
            "queues": len(cpu.queues),
            "drops_pps": _drops(cpu),
            "others": len(others),
            "busy_others": busy,
            "idle_others": idle,
        },
        cause=cause,
        fix=fix,
        requests=requests,
        commands=commands,
        measure="frames dropped for want of a buffer, in all",
        value=evidence.rate("dropped_no_buffer"),
        cpu=cpu.id,
    )


def _evened(evidence: Evidence, cpu: CpuSeen, heaviest: QueueSeen, others: list[CpuSeen]) -> list[Request]:
    """Moves of its queues, each to the processor with least to do, as long as that evens the two out.

    The heaviest stays, or, where there is one, the default queue.
    """
    room = Room(evidence)
    requests: list[Request] = []
    with_default = any(one.queue_id == 0 for one in cpu.queues)
    movable = [one for one in cpu.queues if one.queue_id != 0 and (with_default or one is not heaviest)]
    for queue in sorted(movable, key=lambda one: (-one.cycles, one.queue_id)):
        target = room.coolest(others)
        if target is not None and room.loads[target] + room.cost(queue) < room.loads[cpu.id] - _WORTH_IT:
            requests.append(room.move(queue, target))
    return requests


def _full_of_strays(evidence: Evidence, adapter: AdapterSeen, cpu: CpuSeen, default: QueueSeen) -> Finding:
    """Most of what it does is for the default queue."""
    counts = {reason: adapter.reasons.rate((0,), reason) or 0.0 for reason in _FRAMES_OF}
    most = max(counts, key=lambda reason: counts[reason])
    return Finding(
        rule="full-processor",
        severity="bad",
        adapter=adapter.name,
        key=f"cpu {cpu.id}",
        where=f"processor {cpu.config.name}",
        says=f"the default queue fills processor {cpu.config.name}, most of it with {_FRAMES_OF[most]}",
        numbers={
            "load": cpu.load,
            "drops_pps": _drops(cpu),
            "default_queue_pps": default.pps,
            f"{most}_pps": counts[most],
        },
        cause="What no filter takes is the default queue's, and one processor sorts it all by software.",
        fix=f"Find out where the {_FRAMES_OF[most]} come from: no queue of a VM can take them",
        commands=[f"Get-NetAdapterStatistics -Name {powershell.quoted(adapter.name)} | Format-List *"],
        measure="frames dropped for want of a buffer, in all",
        value=evidence.rate("dropped_no_buffer"),
        cpu=cpu.id,
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
    ),
)
