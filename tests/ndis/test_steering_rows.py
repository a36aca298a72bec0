"""Compiled steering rows against a plain ordered scan of the filters."""

import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ndis.adapter import Adapter
from engine.ndis.steering import KEY_KNOWN_MAC, NONE, TEST_ANY, SteeringRows
from engine.scenario.model import AdapterSpec, FilterSpec, PortSpec, QueueSpec, Scenario
from tests.ndis.lab import lab, start
from tests.slow import examples

MACS = [f"02:00:00:00:00:{n:02x}" for n in range(4)]
VLANS: list[int | str | None] = [None, "untagged", 1, 2]
FRAME_VIDS: list[int | None] = [None, 0, 1, 2, 3]  # None: not tagged


@dataclass(frozen=True)
class Verdict:
    """Where a unicast frame goes, the filter credited, its port's VM, and the default queue's reason."""

    queue: int
    credit: int | None
    vm: str | None
    reason: str | None


def passes(vlan: int | str | None, vid: int | None) -> bool:
    if vlan is None:
        return True
    if vlan == "untagged":
        return vid in (None, 0)
    return vid == vlan


def scan(config: dict[str, Any], mac: str, vid: int | None) -> Verdict:
    """Contract 1 rule 4 and the reasons of contract 2, word for word, over the plain configuration."""

    def best(queue_id: int) -> int | None:
        fitting = [
            one["filter_id"]
            for one in config["filters"]
            if one["queue_id"] == queue_id and one["mac"] == mac and passes(one["vlan"], vid)
        ]
        return min(fitting, default=None)

    fitting_ports = [p for p in config["ports"] if p["mac"] == mac and passes(p["vlan"], vid)]
    exact = [p for p in fitting_ports if p["vlan"] is not None] or fitting_ports
    vm = exact[-1]["vm"] if exact else None
    for queue in config["queues"]:
        if queue["queue_id"] and queue["state"] == "running":
            credit = best(queue["queue_id"])
            if credit is not None:
                return Verdict(queue["queue_id"], credit, vm, None)
    known = {p["mac"] for p in config["ports"]} | {f["mac"] for f in config["filters"] if f["queue_id"]}
    reason = "no_queue" if fitting_ports else "vlan_mismatch" if mac in known else "unknown_unicast"
    return Verdict(0, best(0), vm, reason)


def look_up(rows: SteeringRows, vms: dict[str, int], mac: str, vid: int | None) -> Verdict:
    """What a shard makes of the rows: the frame's own test and "any" are its two candidates."""
    address = int(mac.replace(":", ""), 16) << 16
    by_key = {int(key): place for place, key in enumerate(rows.key)}
    assert len(by_key) == len(rows.key), "a key has one row"
    places = [
        place for key in (address | (vid or 0), address | TEST_ANY) if (place := by_key.get(key)) is not None
    ]
    vm_index = next((int(rows.port_vm[p]) for p in places if rows.port_vm[p] != NONE), NONE)
    vm = {index: name for name, index in vms.items()}.get(vm_index)
    taken = [(int(rows.queue[p]), int(rows.filter[p])) for p in places if rows.queue[p] != NONE]
    if taken:
        return Verdict(*min(taken), vm, None)
    defaults = [int(rows.default_filter[p]) for p in places if rows.default_filter[p] != NONE]
    known = address | KEY_KNOWN_MAC in by_key
    reason = "no_queue" if vm is not None else "vlan_mismatch" if known else "unknown_unicast"
    return Verdict(0, min(defaults, default=None), vm, reason)


def check(adapter: Adapter) -> None:
    rows, config = adapter.steering_rows(), adapter.describe()
    assert len(rows.key) <= adapter.max_steering_rows
    for mac in MACS:
        for vid in FRAME_VIDS:
            assert look_up(rows, adapter.vms, mac, vid) == scan(config, mac, vid), (mac, vid)


QUEUES = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from(["complete", "leave"])), max_size=4
)
FILTERS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(MACS), st.sampled_from(VLANS)), max_size=12)
CLEARS = st.lists(st.integers(1, 8), max_size=4)


@settings(max_examples=examples(100), deadline=None)
@given(QUEUES, FILTERS, FILTERS, CLEARS)
def test_rows_send_every_frame_where_an_ordered_scan_does(
    queues: list[tuple[str | None, str]],
    filters: list[tuple[int, str, Any]],
    ports: list[tuple[int, str, Any]],
    clears: list[int],
) -> None:
    host = lab(
        max_filters=8,
        port=[PortSpec(vm=f"port{n}", mac=mac, vlan=vlan) for n, mac, vlan in ports],
    )
    adapter = host.host.adapters[0]
    ids = [host.allocate(vm=vm, buffers=1) for vm, _ in queues]
    for queue_id, mac, vlan in filters:
        host.send("set_filter", queue_id=queue_id, mac=mac, vlan=vlan)
    completed = [q for q, (_, fate) in zip(ids, queues, strict=True) if fate == "complete"]
    host.accept("complete_allocation", queue_ids=completed)
    for filter_id in clears:
        if filter_id in adapter.filters:
            host.accept("clear_filter", queue_id=adapter.filters[filter_id].queue_id, filter_id=filter_id)
    check(adapter)


def test_only_running_queues_take_frames_but_every_filters_mac_is_known() -> None:
    host = lab()
    host.accept("set_filter", queue_id=host.allocate(vm=None), mac=MACS[0], vlan=1)
    host.accept("set_filter", queue_id=0, mac=MACS[1], vlan=1)
    adapter = host.host.adapters[0]
    rows = adapter.steering_rows()

    assert look_up(rows, adapter.vms, MACS[0], 1) == Verdict(0, None, None, "vlan_mismatch")
    assert look_up(rows, adapter.vms, MACS[1], 1) == Verdict(0, 2, None, "unknown_unicast")


def test_of_two_vms_with_the_same_port_the_one_set_last_gets_the_frames() -> None:
    host = lab()
    first = host.running(vm="a", mac=MACS[0], vlan=1)
    host.accept("clear_filter", queue_id=first, filter_id=1)
    host.running(vm="b", mac=MACS[0], vlan=1)
    adapter = host.host.adapters[0]
    assert look_up(adapter.steering_rows(), adapter.vms, MACS[0], 1).vm == "b"

    host.accept("clear_filter", queue_id=2, filter_id=1)
    host.accept("set_filter", queue_id=first, mac=MACS[0], vlan=1)
    assert look_up(adapter.steering_rows(), adapter.vms, MACS[0], 1).vm == "a"


def test_rows_of_an_adapter_without_filters_are_empty() -> None:
    assert len(lab().host.adapters[0].steering_rows().key) == 0


@pytest.mark.slow
def test_the_largest_adapter_compiles_quickly() -> None:
    filters = [
        FilterSpec(mac=f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", vlan=1 + n % 4094)
        for n in range(65_536)
    ]
    queues = [QueueSpec(vm=f"vm{n}", buffers=8, filter=filters[16 * n : 16 * n + 16]) for n in range(4096)]
    spec = AdapterSpec(max_queues=4096, max_filters=65_536, queue=queues)
    adapter = start(Scenario(adapter=[spec])).host.adapters[0]

    begin = time.process_time()
    rows = adapter.steering_rows()
    took_s = time.process_time() - begin

    assert took_s < 5  # of this process alone; 0.05 on a quiet machine, hours if it were quadratic
    assert len(rows.key) == 2 * 65_536
    assert int((rows.queue != NONE).sum()) == 65_536
    assert int((rows.port_vm != NONE).sum()) == 65_536
