"""Rules about busy VMs without a queue: one is free, or another VM has one that it needs less."""

from collections.abc import Iterator, Sequence

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding
from engine.advice.needs import FRAMES, PAIRS, QUEUES
from engine.advice.placement import placement
from engine.advice.room import Room, buffers_from, eligible, give_queue, no_filter_left, take_away
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted
from engine.scenario.model import MANAGEMENT_OS
from engine.telemetry.config import PortConfig
from engine.view.adapter import AdapterView
from engine.view.pairs import PairView
from engine.view.rows import QueueView

_BUFFERS = 512
FEWEST_BUFFERS = 16
_WORTH_SWAPPING = 1.25
"""A VM takes the place of another one only if it gets this many times its frames."""


def pair_pps(evidence: Evidence, finding: Finding) -> float | None:
    """Return a lower bound of the frames/s that the default queue gets for the finding's MAC and VLAN."""
    adapter = evidence.by_name.get(finding.adapter)
    return None if adapter is None else adapter.pair_pps(finding.mac, finding.vlan)


def unserved(adapter: AdapterView, thresholds: AdviceThresholds) -> list[PairView]:
    """Return the MAC and VLAN pairs whose busy VM has no running queue, highest rate first."""
    found = [
        pair
        for pair in adapter.pairs
        if pair.reason == "no_queue"
        and pair.port_vm is not None
        and pair.least_pps >= thresholds.busy_vm_pps
        and adapter.queue_of(pair.port_vm) is None
    ]
    return sorted(found, key=lambda pair: -pair.least_pps)


def place_for(
    evidence: Evidence, thresholds: AdviceThresholds, adapter: AdapterView, room: Room, pair: PairView
) -> int | None:
    """Return the processor for a new queue, the least loaded one of the adapter's set, and plan in ``room``
    what the frames of its pair need there."""
    plan = placement(evidence, adapter, thresholds.busy_load)
    if plan is None or adapter.name in plan.changed:  # its present set, as the fix changes no set
        own = adapter.processor_set
        cpus = [cpu for cpu in eligible(evidence, adapter) if own is None or cpu.id in own]
    else:
        cpus = [evidence.cpu[cpu] for cpu in plan.sets[adapter.name]]
    if plan is not None and not cpus:
        cpus = [evidence.cpu[cpu] for cpu in plan.sets[adapter.name]]
    target = room.coolest(cpus)
    if target is not None:
        default = adapter.default
        pps = default.known_pps if default is not None else 0.0
        part = min(1.0, pair.least_pps / pps) if pps else 0.0
        room.add(target, part * room.cost(default) if default is not None else 0.0)
    return target


def name_for(earlier: Sequence[str], vm: str) -> str:
    """Return the name of a new queue for a VM; ``earlier`` are the VMs that get one by findings before."""
    place = earlier.count(vm)
    return f"{vm} {place + 1}" if place else vm


def vnic_of(queue: QueueView) -> str | None:
    """Return the name of the host's vNIC that a queue is for; None if it is a VM's, or if it has no name."""
    config = queue.known
    unnamed = config.name in (MANAGEMENT_OS, f"queue {queue.queue_id}")
    return config.name if config.management_os and not unnamed else None


def lost_of(adapter: AdapterView, pair: PairView) -> float | None:
    """Return the pair's part of the frames that the default queue drops; None if it drops none."""
    default = adapter.default
    if default is None or not default.drops or not default.known_pps:
        return None
    return default.drops * min(1.0, pair.least_pps / default.known_pps)


def _of_vm(pair: PairView, adapter: AdapterView) -> str:
    return pair.port_vm or f"{pair.mac} on {adapter.name}"


_WHY_NONE = {
    None: "The VM's weight is 0, it was started while there was no queue left, or the driver refused one "
    '(event 113 with the reason "The OID failed").',
    False: "The weight of its network adapter is 0: Windows gives it no queue.",
    True: "Its weight is above 0, so it was started while there was no queue left, or the driver refused one "
    '(event 113 with the reason "The OID failed").',
}
"""Why a VM has no queue, by whether its weight lets it have one; None: not known."""


def _weight_of(pair: PairView, adapter: AdapterView) -> int | None:
    """Return the VmqWeight of the port that a pair is for; None if not known."""
    port = _port_of(pair, adapter)
    return None if port is None else port.vmq_weight


def _port_of(pair: PairView, adapter: AdapterView) -> PortConfig | None:
    ports = adapter.index.ports_of_mac.get(pair.mac, ()) if adapter.index is not None else ()
    return next((one for one in ports if one.vlan in (pair.vlan, None)), None)


def _let_it_have_one(pair: PairView, adapter: AdapterView) -> list[str]:
    """Return the lines that let a VM, or a vNIC of the host, have a queue; what to look at if its weight does
    so already, as no documented line gives it one then."""
    vm, vnic = _owner_of(pair, adapter)
    if _weight_of(pair, adapter):
        return [
            powershell.note(_MAY_HAVE_ONE),
            powershell.queues_of(adapter.name),
            powershell.show_vm(vm, vnic),
        ]
    return powershell.vmq_weight(vm, 100, vnic)


def _owner_of(pair: PairView, adapter: AdapterView) -> tuple[str, str | None]:
    """Return the VM that a pair is for, or the host itself and its vNIC, if that has a name."""
    port = _port_of(pair, adapter)
    if port is None or not port.management_os:
        return _of_vm(pair, adapter), None
    return MANAGEMENT_OS, None if port.vm == MANAGEMENT_OS else port.vm


_MAY_HAVE_ONE = (
    "Its VmqWeight is above 0, and no documented line gives it a queue now. Look at queues, weight and usage:"
)
_LOOK_FIRST = (
    "First, the weight of the one without a queue. Above 0: stop here, as no documented line gives it one."
)


def _give_place(pair: PairView, adapter: AdapterView, queue: QueueView) -> list[str]:
    """Return the lines that take a queue from its VM, and let another VM have one; what to look at if that
    one's weight does so already, as it would get none."""
    lets = _let_it_have_one(pair, adapter)
    if _weight_of(pair, adapter):
        return lets
    takes = powershell.vmq_weight(queue.vm or queue.known.name, 0, vnic_of(queue))
    return [powershell.note(_LOOK_FIRST), powershell.show_vm(*_owner_of(pair, adapter)), *takes, *lets]


def vm_without_queue(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a busy VM without a queue although the adapter has a free one."""
    room = Room(evidence)
    for adapter in evidence.adapters:
        free, gbps = adapter.free_queues, adapter.known.link_gbps
        if free is None or free < 1 or adapter.known.vmq is False:
            continue
        if not adapter.of_vms and (gbps is None or gbps < thresholds.slow_link_gbps):
            continue  # Windows gives VMs no queue there, whatever their weight
        waiting = unserved(adapter, thresholds)
        given: list[str] = []
        for pair in waiting:
            if any(one.vm == pair.port_vm and one.state != "running" for one in adapter.of_vms):
                continue  # it has a stopped queue; another rule covers that
            buffers, before = buffers_from(adapter, _BUFFERS)
            vm, weight = _of_vm(pair, adapter), _weight_of(pair, adapter)
            possible = buffers >= FEWEST_BUFFERS and adapter.free_filters != 0
            cpu = place_for(evidence, thresholds, adapter, room, pair) if possible else None
            possible = cpu is not None
            requests = (
                give_queue(
                    adapter,
                    vm,
                    [(pair.mac, pair.vlan)],
                    cpu,
                    buffers,
                    before=before,
                    name=name_for(given, vm),
                )
                if cpu is not None
                else []
            )
            given.append(vm)
            yield Finding(
                rule="vm-without-queue",
                severity="warn",
                adapter=adapter.name,
                key=f"{pair.mac} {pair.vlan}",
                where=vm,
                says=f"{vm} has no queue: its frames go through the default queue"
                if weight != 0
                else f"{vm} has VMQ turned off (VmqWeight 0): its frames go through the default queue",
                numbers={
                    "pps": pair.least_pps,
                    "drops_pps": lost_of(adapter, pair),
                    "queues_left": free,
                    "mac": pair.mac,
                    "vlan": pair.vlan,
                    **({} if weight is None else {"vmq_weight": weight}),
                },
                cause=_WHY_NONE[None if weight is None else weight > 0]
                + " Frames in the default queue are sorted by software, on one processor, with those of "
                "everybody else."
                + (" What VMs of this host sent it is counted, too." if evidence.is_measured else ""),
                fix="Let it have a queue: a VmqWeight above 0"
                if weight == 0
                else "Look for event 113 and its reason; the weight lets it have a queue"
                if weight
                else "Allocate a queue for it on an idle processor" + no_filter_left(adapter),
                requests=requests,
                commands=_let_it_have_one(pair, adapter),
                measure="its frames in the default queue",
                value=pair.least_pps,
                after=0.0 if possible and not evidence.is_measured else None,
                estimated=True,
                vm=pair.port_vm,
                mac=pair.mac,
                vlan=pair.vlan,
            )


def idle_queue(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a busy VM without a queue while an idle VM holds one and no queue is free."""
    yield from _swap(evidence, thresholds, idle=True)


def more_vms(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a busy VM that has no queue but gets more frames than a VM that has one and is not idle."""
    yield from _swap(evidence, thresholds, idle=False)


def _swap(evidence: Evidence, thresholds: AdviceThresholds, idle: bool) -> Iterator[Finding]:
    """Pair the busiest VMs without a queue with the quietest queues, and report each pair.

    A VM whose weight is 0 waits for none: an administrator turned its VMQ off.
    """
    for adapter in evidence.adapters:
        waiting = [one for one in unserved(adapter, thresholds) if _weight_of(one, adapter) != 0]
        if adapter.free_queues is None or adapter.free_queues > 0 or not waiting:
            continue
        quiet = sorted(
            (
                one
                for one in adapter.of_vms
                if one.state == "running" and one.vm is not None and one.pps is not None
            ),
            key=lambda one: (one.known_pps, one.queue_id),
        )
        for pair, queue in zip(waiting, quiet, strict=False):
            if (
                queue.known_pps * _WORTH_SWAPPING > pair.least_pps
                or (queue.known_pps < thresholds.idle_pps) is not idle
            ):
                continue
            earlier = [_of_vm(one, adapter) for one in waiting[: waiting.index(pair)]]
            yield _swapped(evidence, adapter, pair, queue, idle, name_for(earlier, _of_vm(pair, adapter)))


def _swapped(
    evidence: Evidence, adapter: AdapterView, pair: PairView, queue: QueueView, idle: bool, name: str
) -> Finding:
    """Return the finding that ``queue`` would do more for the VM of ``pair``. In the model its filter takes
    every frame of the pair; whether Windows gives a VM the place is its own choice."""
    vm, holder = _of_vm(pair, adapter), queue.vm or queue.known.name
    vms, weight = len({port.vm for port in adapter.known.ports}), _weight_of(pair, adapter)
    cpu, buffers = queue.known.cpu, queue.known.buffers
    requests = []
    if cpu is not None and buffers is not None and not weight:
        requests = give_queue(
            adapter,
            vm,
            [(pair.mac, pair.vlan)],
            cpu,
            buffers,
            before=take_away(adapter, queue),
            queue_id=min(queue.queue_id, adapter.next_queue_id),
            name=name,
        )
    return Finding(
        rule="idle-queue-held" if idle else "more-vms-than-queues",
        severity="warn",
        adapter=adapter.name,
        key=f"{pair.mac} {pair.vlan}",
        where=vm,
        says=f"{holder} holds {queue.called} and gets no frames; {vm} is busy and has none"
        if idle
        else f"{counted(vms, 'VM')}, {counted(adapter.known.max_queues, 'queue')}: {vm} has none and is"
        f" busier than {holder}",
        numbers={
            "pps": pair.least_pps,
            "drops_pps": lost_of(adapter, pair),
            "holder_pps": queue.known_pps,
            "queues": adapter.known.max_queues,
            "vms": vms,
            **({} if weight is None else {"vmq_weight": weight}),
        },
        cause="Queues go to VMs in the order in which they start, and stay with them, whatever they do."
        if idle
        else 'The adapter has fewer queues than there are VMs (event 113 with the reason "Maximum number of '
        'VMQs supported on the Protocol NIC is exceeded"); who comes late shares the default queue, however '
        "busy it is."
        + (
            " A network adapter of a VM has up to 16 queue pairs by default: fewer (VmmqQueuePairs) for quiet"
            " VMs leaves more for others."
            if evidence.config.windows in powershell.DYNAMIC_MULTI_QUEUE
            else ""
        ),
        fix=f"Look at weights and usage: no documented line gives {vm} the place of {queue.called}"
        if weight
        else f"Free {queue.called}, and give its place to {vm}",
        requests=requests,
        commands=_give_place(pair, adapter, queue),
        measure="its frames in the default queue",
        value=pair.least_pps,
        after=0.0 if requests and not evidence.is_measured else None,
        estimated=True,
        queue_id=queue.queue_id,
        vm=pair.port_vm,
        mac=pair.mac,
        vlan=pair.vlan,
    )


RULES = (
    Rule(
        "vm-without-queue",
        "A busy VM without a queue",
        "some VMs slow, the default queue busy",
        (1, 2),
        vm_without_queue,
        pair_pps,
        "frames/s",
        thresholds=("busy_vm_pps", "slow_link_gbps"),
        needs=(PAIRS, QUEUES),
    ),
    Rule(
        "more-vms-than-queues",
        "More VMs than queues",
        "event 113, some VMs slow",
        (2,),
        more_vms,
        pair_pps,
        "frames/s",
        thresholds=("busy_vm_pps", "idle_pps"),
        needs=(PAIRS, QUEUES, FRAMES),
    ),
    Rule(
        "idle-queue-held",
        "An idle VM holds a queue, a busy one has none",
        "event 113, some VMs slow",
        (2,),
        idle_queue,
        pair_pps,
        "frames/s",
        thresholds=("busy_vm_pps", "idle_pps"),
        needs=(PAIRS, QUEUES, FRAMES),
    ),
)
