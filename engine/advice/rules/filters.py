"""Rules about frames that miss the filter of their VM."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Request
from engine.advice.needs import PAIRS, REASONS
from engine.advice.room import Room, buffers_from, give_queue, no_filter_left, set_filters
from engine.advice.rules.unserved import lost_of, name_for, pair_pps, place_for
from engine.advice.thresholds import AdviceThresholds
from engine.scenario.values import MAX_VLAN
from engine.telemetry.config import FilterConfig, Vlan
from engine.view.adapter import AdapterView
from engine.view.pairs import PairView
from engine.view.rows import QueueView


def _vlan(vlan: Vlan) -> str:
    return "any VLAN" if vlan is None else "untagged" if vlan == "untagged" else f"VLAN {vlan}"


def _tag(vlan: Vlan) -> str:
    return f"with VLAN {vlan}" if isinstance(vlan, int) else "without a tag"


def near_miss(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report frames that match a filter or port by MAC but not by VLAN."""
    for adapter in evidence.adapters:
        for pair in adapter.pairs:
            if pair.reason != "vlan_mismatch" or pair.least_pps < thresholds.stray_pps:
                continue
            near = [one for one in adapter.known.filters if one.mac == pair.mac and one.queue_id != 0]
            ports = [one for one in adapter.known.ports if one.mac == pair.mac]
            one = near[0] if near else None
            queue = adapter.by_id.get(one.queue_id) if one else None
            vm = (queue.vm or queue.known.name) if queue else ports[0].vm if ports else pair.mac
            wanted = list(dict.fromkeys([each.vlan for each in near] + [each.vlan for each in ports]))
            has = " and ".join(_vlan(each) for each in wanted)
            reserved = isinstance(pair.vlan, int) and not 1 <= pair.vlan <= MAX_VLAN
            requests = _let_in(adapter, pair, one.queue_id) if one is not None and not reserved else []
            yield Finding(
                rule="near-miss-vlan",
                severity="warn",
                adapter=adapter.name,
                key=f"{pair.mac} {pair.vlan}",
                where=vm,
                says=f"frames for {vm} come {_tag(pair.vlan)}, and its filter has {has}",
                numbers={
                    "pps": pair.least_pps,
                    "drops_pps": lost_of(adapter, pair),
                    "mac": pair.mac,
                    "frame_vlan": pair.vlan,
                    "filter_vlan": ", ".join(map(str, wanted)),
                },
                cause="The MAC fits and the VLAN does not: a port was moved to another VLAN on one side "
                "only, or a trunk leaves the tag in or out.",
                fix=f"802.1Q reserves VLAN {pair.vlan}, and no filter can have it: look for who tags them so"
                if reserved
                else f"Look at the switch port outside, then let its port have frames {_tag(pair.vlan)} "
                f"besides {has}"
                if requests
                else f"Let the port of {vm} have frames {_tag(pair.vlan)}, if that is where it belongs",
                requests=requests,
                commands=[] if reserved else powershell.look_at_vlans(vm, _LOOK),
                measure="its frames in the default queue",
                value=pair.least_pps,
                after=0.0 if requests else None,
                estimated=True,
                queue_id=one.queue_id if one else None,
                vm=vm,
                mac=pair.mac,
                vlan=pair.vlan,
                filter_id=one.filter_id if one else None,
            )


_LOOK = (
    "Look at the switch port outside first. Set-VMNetworkAdapterVlan replaces all VLANs of a port: those it "
    "has must be in the new list."
)
_NO_LINE = "No line sets one filter. Look at the queues, and at the weight and VLAN of the VM's adapters:"


def _let_in(adapter: AdapterView, pair: PairView, queue_id: int) -> list[Request]:
    """Return the requests that set a filter for a pair on a queue; none if all filters are in use."""
    return [] if adapter.free_filters == 0 else set_filters(adapter, queue_id, [(pair.mac, pair.vlan)])


def missing_filter(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report frames for a port of a VM whose queue has no filter for that port."""
    for adapter in evidence.adapters:
        for pair in adapter.pairs:
            queue = adapter.queue_of(pair.port_vm)
            if pair.reason != "no_queue" or queue is None or pair.least_pps < thresholds.stray_pps:
                continue
            vm, requests = pair.port_vm or queue.known.name, _let_in(adapter, pair, queue.queue_id)
            yield Finding(
                rule="missing-filter",
                severity="warn",
                adapter=adapter.name,
                key=f"{pair.mac} {pair.vlan}",
                where=vm,
                says=f"{vm} has {queue.called.partition(' (')[0]}, with no filter for its port {pair.mac}, "
                f"{_vlan(pair.vlan)}: those frames go through the default queue",
                numbers={
                    "pps": pair.least_pps,
                    "drops_pps": lost_of(adapter, pair),
                    "mac": pair.mac,
                    "vlan": pair.vlan,
                    "filters": len(queue.filters),
                },
                cause="A VM with several network adapters, or VLANs, has a port for each, and a frame finds "
                "the queue only by a filter for its own.",
                fix="Set a filter for it on the VM's queue" + no_filter_left(adapter),
                requests=requests,
                commands=[
                    powershell.note(_NO_LINE),
                    powershell.queues_of(adapter.name),
                    powershell.show_vm(vm),
                ],
                measure="its frames in the default queue",
                value=pair.least_pps,
                after=0.0 if requests else None,
                estimated=True,
                queue_id=queue.queue_id,
                vm=vm,
                mac=pair.mac,
                vlan=pair.vlan,
            )


def shadowed(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a filter that never matches, because one of a lower queue takes all of its frames first."""
    for adapter in evidence.adapters:
        by_mac: defaultdict[str, list[FilterConfig]] = defaultdict(list)
        for one in adapter.known.filters:
            by_mac[one.mac].append(one)
        for one in adapter.known.filters:
            wide = _shadow_of(adapter, one, by_mac[one.mac])
            if wide is None:
                continue
            here, there = adapter.by_id[one.queue_id], adapter.by_id[wide.queue_id]
            matched = adapter.matched_pps(one.filter_id)
            takes = adapter.matched_pps(wide.filter_id)
            base = {"adapter": adapter.name, "queue_id": wide.queue_id}
            narrow = Request(op="set_filter", params={**base, "mac": wide.mac, "vlan": "untagged"})
            clear = Request(op="clear_filter", params={**base, "filter_id": wide.filter_id})
            taken = any((each.mac, each.vlan) == (wide.mac, "untagged") for each in adapter.known.filters)
            yield Finding(
                rule="shadowed-filter",
                severity="warn" if takes else "note",
                adapter=adapter.name,
                key=f"filter {one.filter_id} {one.mac} {one.vlan}",
                where=f"filter {one.filter_id} of {here.vm or here.known.name}",
                says=f"filter {one.filter_id} ({_vlan(one.vlan)}) of {here.called} never matches: filter "
                f"{wide.filter_id} ({_vlan(wide.vlan)}) of {there.called} takes its frames",
                numbers={"matched_pps": matched, "shadow_pps": takes, "mac": one.mac},
                cause="Queues are tried by ascending id, and a filter without a VLAN passes any: the lower "
                "queue takes what the other one was meant for.",
                fix="Let the wider filter pass untagged frames only, as a port without a VLAN should"
                + ("" if taken else no_filter_left(adapter)),
                requests=[clear] if taken else [] if adapter.free_filters == 0 else [narrow, clear],
                commands=powershell.untagged(there.vm or there.known.name)
                if _is_without_vlan(evidence, there)
                else powershell.look_at_vlans(there.vm or there.known.name, _LOOK),
                measure="frames it matches",
                value=matched,
                queue_id=one.queue_id,
                vm=here.vm,
                mac=one.mac,
                vlan=one.vlan,
                filter_id=one.filter_id,
            )


def _is_without_vlan(evidence: Evidence, queue: QueueView) -> bool:
    """Return whether no network adapter of a queue's VM has a VLAN, so that none is lost without a tag."""
    ports = (port for one in evidence.adapters for port in one.known.ports if port.vm == queue.vm)
    return len(queue.filters) == 1 and all(port.vlan in (None, "untagged") for port in ports)


def _shadow_of(
    adapter: AdapterView, one: FilterConfig, same_mac: Sequence[FilterConfig]
) -> FilterConfig | None:
    """Return the filter of a lower running queue that passes every frame this one passes, if any."""
    for other in same_mac:
        if 0 < other.queue_id < one.queue_id and other.vlan in (None, one.vlan):
            queue = adapter.by_id.get(other.queue_id)
            if queue is not None and queue.state == "running":
                return other
    return None


def _matched(evidence: Evidence, finding: Finding) -> float | None:
    adapter = evidence.by_name.get(finding.adapter)
    if adapter is None or finding.filter_id is None:
        return None
    return adapter.matched_pps(finding.filter_id)


def vm_left(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report frames in the default queue for a VM that was migrated away or removed."""
    room = Room(evidence)
    for adapter in evidence.adapters:
        given: list[str] = []
        for (name, mac, vlan), vm in evidence.trace.gone.items():
            if name != adapter.name:
                continue
            pairs = [one for one in adapter.pairs if one.mac == mac and vlan in (None, one.vlan)]
            pair = max(pairs, key=lambda one: one.least_pps, default=None)
            if pair is None or pair.least_pps < thresholds.stray_pps or pair.port_vm is not None:
                continue
            buffers, before = buffers_from(adapter, 512)
            possible = buffers >= 16 and (adapter.free_queues or 0) > 0 and adapter.free_filters != 0
            cpu = place_for(evidence, thresholds, adapter, room, pair) if possible else None
            queue_name = name_for(given, vm)
            given.append(vm)
            yield Finding(
                rule="vm-left",
                severity="note",
                adapter=adapter.name,
                key=f"{mac} {vlan}",
                where=vm,
                says=f"{vm} left this host, and frames for it still come: the default queue has them",
                numbers={"pps": pair.least_pps, "mac": mac, "vlan": pair.vlan, "reason": pair.reason},
                cause="Its queue was cleared and freed when it left; until the network has learned where it "
                "is now, its frames come here, find no filter and no port, and are dropped by the switch.",
                fix="Nothing to mend here while it is elsewhere; if it is back, give it a queue again",
                requests=give_queue(adapter, vm, [(mac, vlan)], cpu, buffers, before=before, name=queue_name)
                if cpu is not None
                else [],
                commands=[
                    powershell.note("In a cluster: where the VM runs now. Nothing is changed here."),
                    f"Get-ClusterGroup -Name {powershell.quoted(vm)}",
                ],
                measure="its frames in the default queue",
                value=pair.least_pps,
                vm=vm,
                mac=mac,
                vlan=pair.vlan,
            )


RULES = (
    Rule(
        "near-miss-vlan",
        "The MAC fits, the VLAN does not",
        "frames for a VM reach the default queue",
        (7,),
        near_miss,
        pair_pps,
        "frames/s",
        thresholds=("stray_pps",),
        needs=(PAIRS, REASONS),
        on_linux=True,
    ),
    Rule(
        "missing-filter",
        "A port of a VM without a filter",
        "frames for a VM reach the default queue",
        (7,),
        missing_filter,
        pair_pps,
        "frames/s",
        thresholds=("stray_pps",),
        needs=(PAIRS,),
    ),
    Rule(
        "shadowed-filter",
        "A filter that another one shadows",
        "frames for a VM reach another queue",
        (7,),
        shadowed,
        _matched,
        "frames/s",
        "higher",
    ),
    Rule(
        "vm-left",
        "Frames for a VM that left",
        "frames for a queue removed by a migration",
        (10,),
        vm_left,
        pair_pps,
        "frames/s",
        thresholds=("stray_pps",),
        needs=(PAIRS, REASONS),
    ),
)
