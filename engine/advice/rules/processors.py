"""Rules about the assignment of queues to processors."""

from collections.abc import Iterator, Sequence

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Request
from engine.advice.needs import BUSY, FRAMES, NODE, NODES, PLACE, SIBLINGS
from engine.advice.placement import Placement, called, placement, team_of
from engine.advice.room import Room, buffers_from, eligible, give_queue, resize
from engine.advice.rules.teams import is_of_team
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted
from engine.telemetry.config import FilterConfig
from engine.view.adapter import AdapterView
from engine.view.rates import known_sum
from engine.view.rows import CpuView, QueueView


def cpu_load(evidence: Evidence, finding: Finding) -> float | None:
    """Return the load of the finding's processor; None if unknown."""
    cpu = evidence.cpu.get(finding.cpu if finding.cpu is not None else -1)
    return cpu.load if cpu else None


def _idle(
    evidence: Evidence, adapter: AdapterView, plan: Placement | None, thresholds: AdviceThresholds
) -> list[CpuView]:
    """Return the processors of the set that the adapter should have, that are idle."""
    cpus = plan.sets[adapter.name] if plan is not None else ()
    loads = {cpu: evidence.cpu[cpu].load for cpu in cpus}
    idle = thresholds.idle_load
    return [evidence.cpu[cpu] for cpu, load in loads.items() if load is not None and load <= idle]


def _estimate(evidence: Evidence, plan: Placement, cpu: CpuView) -> float | None:
    """Return the load of a processor after a plan; None if the part of one of its queues is not known."""
    known = all(evidence.share(cpu, one) is not None for one in cpu.queues)
    return min(1.0, plan.room.loads[cpu.cpu]) if plan.requests and known else None


def _may_serve(evidence: Evidence, queue: QueueView) -> bool:
    """Return whether it is a default queue of which it is not known whether it has frames."""
    return not evidence.is_plain(queue) and queue.pps is None


def shared_with_default(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a busy processor that serves the default queue and VM queues while others are idle."""
    for adapter in evidence.adapters:
        default = adapter.default
        cpu = evidence.serving(default) if default else None
        if cpu is None or cpu.load is None or (evidence.load(cpu) or 0.0) < thresholds.busy_load:
            continue
        queues = [
            one for one in adapter.of_vms if one.known.cpu == cpu.id and one.known_pps >= thresholds.idle_pps
        ]
        plan = placement(evidence, adapter, thresholds.busy_load) if queues else None
        idle = [one for one in _idle(evidence, adapter, plan, thresholds) if one.cpu != cpu.id]
        if plan is None or not idle:
            continue
        yield Finding(
            rule="shared-with-default",
            severity="bad" if cpu.load >= 0.99 else "warn",
            adapter=adapter.name,
            key=f"cpu {cpu.id}",
            where=f"processor {cpu.known.name}",
            says=f"{len(queues)} busy queues share processor {cpu.known.name} with the default queue",
            numbers={
                "load": cpu.load,
                "drops_pps": cpu.drops,
                "queues": len(queues),
                "idle_processors": len(idle),
                "default_queue_pps": default.pps if default else None,
            },
            cause=(
                "The base processor was left at 0, where the default queue and the rest of the host work, so "
                "queues were put there."
                if cpu.id == 0
                else "The default queue was given a processor that serves VMs' queues, too: its strays and "
                "broadcasts, and their frames, wait for each other."
            ),
            fix=f"Give the adapter processors {plan.words}, and spread its queues over them",
            requests=plan.requests,
            commands=plan.commands,
            measure="load of the processor",
            value=cpu.load,
            after=_estimate(evidence, plan, cpu),
            estimated=True,
            cpu=cpu.id,
        )


def piled_queues(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report several busy queues on one busy processor while others are idle."""
    for cpu in evidence.cpus:
        if cpu.load is None or (evidence.load(cpu) or 0.0) < thresholds.busy_load:
            continue
        pps = thresholds.idle_pps
        active = [one for one in cpu.queues if one.known_pps >= pps or _may_serve(evidence, one)]
        busy = [one for one in active if evidence.is_plain(one)]
        if len(busy) < 2 or len(busy) < len(active):
            continue  # the rule shared-with-default covers it
        if is_of_team(evidence, busy):
            continue  # the rule team-overlap covers it
        adapter = _lightest(evidence, busy)
        if adapter is None:
            continue  # they are one VM's, on members of its team
        plan = placement(evidence, adapter, thresholds.busy_load)
        idle = [one for one in _idle(evidence, adapter, plan, thresholds) if one.cpu != cpu.id]
        if plan is None or not idle:
            continue
        yield Finding(
            rule="piled-queues",
            severity="bad" if cpu.load >= 0.99 else "warn",
            adapter=adapter.name,
            key=f"cpu {cpu.id}",
            where=f"processor {cpu.known.name}",
            says=f"{len(busy)} busy queues on processor {cpu.known.name} alone",
            numbers={
                "load": cpu.load,
                "drops_pps": cpu.drops,
                "queues": len(busy),
                "idle_processors": len(idle),
            },
            cause="Queues were given to processors without regard to how many frames they bring; the adapter "
            "interrupts only the processor of a queue's affinity.",
            fix=f"Give the adapter processors {plan.words}, and spread its queues over them",
            requests=plan.requests,
            commands=plan.commands,
            measure="load of the processor",
            value=cpu.load,
            after=_estimate(evidence, plan, cpu),
            estimated=True,
            cpu=cpu.id,
        )


def _lightest(evidence: Evidence, busy: Sequence[QueueView]) -> AdapterView | None:
    """Return the adapter whose queues on a processor need least of it, as they are the ones to move.

    None if all are one VM's queues on members of a team, which stay together.
    """
    units = set()
    needs: dict[str, float] = {}
    for queue in busy:
        team = team_of(evidence, evidence.by_name[queue.adapter])
        apart = team is None or team.mode == "sum"
        units.add((queue.adapter, queue.queue_id) if apart or team is None else (team.name, called(queue)))
        needs[queue.adapter] = needs.get(queue.adapter, 0.0) + evidence.work(queue)
    if len(units) < 2:
        return None
    return evidence.by_name[min(needs, key=lambda name: needs[name])]


def one_queue(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue that fills its processor while others are idle: a queue uses exactly one."""
    room = Room(evidence)
    for cpu in evidence.cpus:
        if cpu.load is None or (evidence.load(cpu) or 0.0) < thresholds.busy_load:
            continue
        queue = max(filter(evidence.is_plain, cpu.queues), key=evidence.work, default=None)
        if queue is None or (evidence.share(cpu, queue) or 0) < 0.9 * cpu.load:
            continue
        adapter = evidence.by_name[queue.adapter]
        plan = placement(evidence, adapter, thresholds.busy_load)
        idle = [one for one in _idle(evidence, adapter, plan, thresholds) if one.cpu != cpu.id]
        if not idle or sibling_serves(evidence, cpu):
            continue  # a busy sibling halves the core, so the queue itself may be small
        vm, several = queue.vm, evidence.has_multi_queue(adapter)
        team = team_of(evidence, adapter)
        alone = team is None or team.mode == "sum"  # else its queues on all members would have to be split
        target = room.coolest(idle)
        requests = _split(adapter, queue, target) if alone else []
        if requests and target is not None:
            room.add(target, room.cost(queue) * (1 - _kept(adapter, queue)))
        yield Finding(
            rule="one-queue-one-processor",
            severity="bad" if cpu.load >= 0.99 else "warn",
            adapter=adapter.name,
            key=queue.key,
            where=queue.called,
            says=f"{queue.called} fills processor {cpu.known.name}; "
            f"{counted(len(idle), 'other that may serve it idles', 'others that may serve it idle')}",
            numbers={
                "load": cpu.load,
                "pps": queue.pps,
                "drops_pps": queue.rate("dropped_no_buffer"),
                "idle_processors": len(idle),
            },
            cause="A queue uses exactly one processor, however many there are."
            + (" So the balancer, which is on, has nothing to move." if evidence.is_balanced else ""),
            fix="Without VMMQ, a network adapter of the VM has one queue: spread its load over "
            "several network adapters, or VMs"
            + ("; in the model, its filters on two queues" if requests else "")
            if not several
            else "Let the VM have several queues (VMMQ); in the model, its filters on two queues"
            if requests
            else "It has one filter, which can't be split: let the VM have several queues (VMMQ) and spread "
            "its flows in the guest (vRSS)",
            requests=requests,
            commands=(powershell.multi_queue(vm, 4) if several else powershell.one_queue_each(adapter.name))
            if vm
            else [],
            measure="load of the processor",
            value=cpu.load,
            after=min(1.0, evidence.need(cpu, queue) * _kept(adapter, queue)) if requests else None,
            estimated=True,
            cpu=cpu.id,
            queue_id=queue.queue_id,
            vm=vm,
        )


def _kept(adapter: AdapterView, queue: QueueView) -> float:
    """Return the part of its frames that a queue keeps after ``_split``."""
    rates = [adapter.matched_pps(one.filter_id) or 0.0 for one in _by_rate(adapter, queue)]
    return sum(rates[0::2]) / sum(rates) if sum(rates) else 1.0


def _by_rate(adapter: AdapterView, queue: QueueView) -> list[FilterConfig]:
    """Return a queue's filters, highest match rate first."""
    return sorted(queue.filters, key=lambda one: -(adapter.matched_pps(one.filter_id) or 0))


def _split(adapter: AdapterView, queue: QueueView, target: int | None) -> list[Request]:
    """Return the requests that move about half of a queue's frames to a new queue on another processor."""
    filters, wanted = _by_rate(adapter, queue), queue.known.buffers
    if len(filters) < 2 or target is None or wanted is None or (adapter.free_queues or 0) < 1:
        return []
    moved = filters[1::2]
    buffers, before = buffers_from(adapter, wanted, without=queue.queue_id)
    if buffers < wanted // 2:
        buffers, before = wanted // 2, [resize(adapter, queue, -(-wanted // 2))]
    base = {"adapter": adapter.name, "queue_id": queue.queue_id}
    clears = [Request(op="clear_filter", params={**base, "filter_id": one.filter_id}) for one in moved]
    return give_queue(
        adapter,
        queue.vm or queue.known.name,
        [(one.mac, one.vlan) for one in moved],
        target,
        max(1, buffers),
        before=before,
        between=clears,
        name=f"{queue.known.name} 2"[:256],
    )


def odd_processors(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report queues on odd processors with hyper-threading: each shares a core with an even one."""
    if not evidence.config.hyperthreading:
        return
    for adapter in evidence.adapters:
        odd = [one for one in adapter.queues if _is_odd(one)]
        if not odd:
            continue
        plan = placement(evidence, adapter, thresholds.busy_load)
        if plan is None:
            continue
        even = plan.sets[adapter.name]
        requests = [*plan.requests, *_default_to(evidence, adapter, odd, even, plan.room)]
        cpus = [cpu for one in odd if (cpu := evidence.serving(one)) is not None]
        sharing = sum(sibling_serves(evidence, cpu) for cpu in cpus)
        loads = [cpu.load for cpu in cpus if cpu.load is not None]
        slowest = max(loads, default=None)
        yield Finding(
            rule="odd-processors",
            severity="bad" if sharing and (slowest or 0.0) >= 0.99 else "warn" if sharing else "note",
            adapter=adapter.name,
            key="odd",
            where=adapter.name,
            says=f"{counted(len(odd), 'queue')} on odd processors, {sharing:,} of which share a core with a"
            " busy sibling",
            numbers={"queues": len(odd), "sharing_a_core": sharing, "load": slowest},
            cause="Under hyper-threading processors 2k and 2k+1 are one core, so each slows the other down; "
            "Windows gives queues to even processors only, and an odd base leaves half of them unused.",
            fix=f"Give the adapter even processors: {plan.words}",
            requests=requests,
            commands=plan.commands,
            measure="queues on odd processors",
            value=float(len(odd)),
            after=0.0,
            estimated=True,
        )


def _default_to(
    evidence: Evidence, adapter: AdapterView, queues: Sequence[QueueView], cpus: Sequence[int], room: Room
) -> list[Request]:
    """Return the request that moves the default queue, if it is one of ``queues``, to one of ``cpus``.

    Windows has no line for that: its default queue follows the adapter's base processor, if anything. On
    Linux it is a ring, which has moved with the others.
    """
    if evidence.is_linux:
        return []
    target = min(cpus, key=lambda cpu: (room.loads[cpu], cpu), default=None)
    if adapter.default not in queues or adapter.default is None or target is None:
        return []
    return [room.move(adapter.default, target)]


def _is_odd(queue: QueueView) -> bool:
    cpu = queue.known.cpu
    return cpu is not None and cpu % 2 == 1


def sibling_serves(evidence: Evidence, cpu: CpuView) -> bool:
    """Return whether a processor shares its core with one that serves frames."""
    other = evidence.sibling(cpu)
    return other is not None and any(one.known_pps > 0 for one in other.queues)


def _odd_count(evidence: Evidence, finding: Finding) -> float | None:
    adapter = evidence.by_name.get(finding.adapter)
    return None if adapter is None else float(sum(map(_is_odd, adapter.queues)))


def numa_span(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report queues on processors of another NUMA node than the adapter's."""
    for adapter in evidence.adapters:
        node = adapter.known.numa_node
        far = [one for one in adapter.queues if _is_far(evidence, adapter, one)]
        near = [cpu for cpu in eligible(evidence, adapter) if cpu.known.numa_node == node]
        if not far or not near:
            continue
        plan = placement(evidence, adapter, thresholds.busy_load)
        if plan is None:
            continue
        cpus = plan.sets[adapter.name]
        requests = [*plan.requests, *_default_to(evidence, adapter, far, cpus, plan.room)]
        bytes_far = known_sum(one.rate("steered_bytes") for one in far)
        yield Finding(
            rule="numa-span",
            severity="warn" if any(one.known_pps for one in far) else "note",
            adapter=adapter.name,
            key="node",
            where=adapter.name,
            says=f"{counted(len(far), 'queue is', 'queues are')} served away from the adapter's NUMA node"
            f" {node}",
            numbers={
                "queues": len(far),
                "copied_from_afar_mbits": None if bytes_far is None else bytes_far * 8e-6,
                "numa_node": node,
            },
            cause="Receive buffers live on the adapter's node; a processor of another one copies each byte "
            "over the link between them, which takes longer and varies.",
            fix=f"Give the adapter processors of node {node}: {plan.words}",
            requests=requests,
            commands=plan.commands,
            measure="queues on another node",
            value=float(len(far)),
            after=0.0,
            estimated=True,
        )


def _far_count(evidence: Evidence, finding: Finding) -> float | None:
    adapter = evidence.by_name.get(finding.adapter)
    if adapter is None:
        return None
    return float(sum(_is_far(evidence, adapter, one) for one in adapter.queues))


def _is_far(evidence: Evidence, adapter: AdapterView, queue: QueueView) -> bool:
    """Return whether a queue is served on another node than its adapter's, as far as both are known."""
    cpu = evidence.serving(queue)
    nodes = (adapter.known.numa_node, cpu.known.numa_node if cpu else None)
    return None not in nodes and nodes[0] != nodes[1]


RULES = (
    Rule(
        "shared-with-default",
        "Queues on the default queue's processor",
        "one core at 100 %, 3 to 5 Gbit/s in all, often CPU 0",
        (1,),
        shared_with_default,
        cpu_load,
        "load",
        thresholds=("busy_load", "idle_load", "idle_pps"),
        needs=(BUSY, FRAMES, PLACE, SIBLINGS, NODES, NODE),
    ),
    Rule(
        "piled-queues",
        "Queues piled on one processor",
        "one core at 100 %, the others idle",
        (1,),
        piled_queues,
        cpu_load,
        "load",
        thresholds=("busy_load", "idle_load", "idle_pps"),
        needs=(BUSY, FRAMES, PLACE, SIBLINGS, NODES, NODE),
        on_linux=True,
    ),
    Rule(
        "one-queue-one-processor",
        "One queue fills its processor",
        "one VM capped while cores idle",
        (5,),
        one_queue,
        cpu_load,
        "load",
        thresholds=("busy_load", "idle_load"),
        needs=(BUSY, FRAMES, PLACE, SIBLINGS, NODES, NODE),
        on_linux=True,
    ),
    Rule(
        "odd-processors",
        "Queues on odd processors under hyper-threading",
        "half the processors never used",
        (4,),
        odd_processors,
        _odd_count,
        "queues",
        needs=(SIBLINGS, PLACE),
    ),
    Rule(
        "numa-span",
        "Processors of another NUMA node",
        "latency jitter",
        (6,),
        numa_span,
        _far_count,
        "queues",
        needs=(NODES, NODE, PLACE),
        on_linux=True,
    ),
)
