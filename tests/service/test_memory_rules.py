"""NDIS, "Security Issues with NDIS VM Shared Memory": what a VM may see, whatever happens and whenever.

Frames carry a mark in every eight bytes: who they are and which part. So whatever lies in a VM's memory
tells whose frame it was, and whether its lookahead is there.
"""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataplane.guests import Extent
from engine.kernels.layout import BATCHES
from engine.scenario.model import AdapterSpec, CpuSpec, HostSpec, Scenario
from engine.service.machine import Machine
from engine.telemetry.stats import known
from engine.workers.rounds import Part
from tests.service.test_engine import check_identities
from tests.slow import examples

LOOKAHEAD = 64
MARK = struct.Struct(">2sIH")
MAGIC = b"\xa5\x5a"
ADAPTERS = ("split", "whole")  # NDIS 6.20 with the lookahead split, NDIS 6.30
VMS = ("a", "b", "c")
VLANS = (10, 20)
SIZES = (60, 80, 200, 1500)
numbers = itertools.count(1)


def mac_of(vm: str) -> str:
    return f"00:15:5d:00:00:{VMS.index(vm) + 1:02x}"


@dataclass(frozen=True)
class Sent:
    """A frame that was sent: to whom, and its bytes as a VM of that adapter sees them."""

    adapter: int
    vm: str
    vlan: int
    seen_as: bytes


@dataclass
class Lab:
    """A machine whose frames are all known."""

    machine: Machine
    sent: dict[int, Sent] = field(default_factory=dict)
    batch: int = 0

    @property
    def first(self) -> Sent:
        return self.sent[min(self.sent)]

    def send(self, frames: list[tuple[int, str, int, int]], gap_ns: int, rest_ns: int) -> None:
        """Send frames (adapter, VM, VLAN, size) and let time pass."""
        plane = self.machine.plane
        batch = plane.batches[self.batch]
        offset, now = 0, plane.now_ns
        for i, (adapter, vm, vlan, size) in enumerate(frames):
            number = next(numbers)
            head = bytes.fromhex(mac_of(vm).replace(":", "")) + b"\2" * 6
            tag = b"\x81\0" + vlan.to_bytes(2, "big")
            marks = b"".join(MARK.pack(MAGIC, number, part) for part in range(size // MARK.size))
            frame = (head + tag + b"\x08\0" + marks)[:size]
            batch.data[offset : offset + size] = np.frombuffer(frame, np.uint8)
            batch.offset[i], batch.captured[i], batch.wire[i] = offset, size, size
            batch.arrival_ns[i], batch.adapter[i] = now, adapter
            seen_as = frame if adapter == 0 else frame[:12] + frame[16:]
            self.sent[number] = Sent(adapter, vm, vlan, seen_as)
            offset += size
            now += gap_ns
        self.machine.rounds.begin(Part(self.batch, len(frames)), now + rest_ns)
        self.machine.rounds.end()
        self.machine.settle()
        self.batch = (self.batch + 1) % BATCHES

    def ask(self, op: str, **params: Any) -> dict[str, Any]:
        """A request, whether it is refused or not; what it found."""
        return self.machine.request(op, params).result

    def memory(self, adapter: int, vm: str) -> bytes:
        index = self.machine.host.adapters[adapter].vms.get(vm)
        if index is None:
            return b""
        return b"\0".join(self.machine.plane.guest_memory(adapter, index).values())

    def marks(self, adapter: int, vm: str) -> set[tuple[int, int]]:
        """(frame, part) of every mark in a VM's memory."""
        memory = self.memory(adapter, vm)
        found = set()
        at = memory.find(MAGIC)
        while at >= 0:
            if at + MARK.size <= len(memory):
                found.add(MARK.unpack_from(memory, at)[1:])
            at = memory.find(MAGIC, at + 1)
        return {(number, part) for number, part in found if number in self.sent}

    def check(self) -> None:
        """The rules that always hold."""
        check_identities(self.machine.stats())
        for adapter in range(len(ADAPTERS)):
            ports = {
                (port["vm"], port["mac"], port["vlan"])
                for port in self.machine.host.adapters[adapter].describe()["ports"]
            }
            for vm in VMS:
                for number, _ in self.marks(adapter, vm):
                    frame = self.sent[number]
                    assert (frame.adapter, frame.vm) == (adapter, vm)
                    assert (vm, mac_of(vm), frame.vlan) in ports


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    adapters = [
        AdapterSpec(
            name=name,
            ndis_version=version,
            max_lookahead_bytes=most,
            buffers=256,
            default_queue_buffers=16,
        )
        for name, version, most in (("split", "6.20", 128), ("whole", "6.30", 0))
    ]
    scenario = Scenario(host=HostSpec(name="lab", cpus=2), adapter=adapters, cpu=CpuSpec(moderation_us=20))
    machine = Machine(scenario, "by hand")
    yield machine
    machine.close()


adapters = st.sampled_from([0, 1])
vms = st.sampled_from(VMS)
bursts = st.tuples(
    st.just("send"),
    st.lists(st.tuples(adapters, vms, st.sampled_from(VLANS), st.sampled_from(SIZES)), max_size=30),
    st.sampled_from([0, 700, 5_000]),
    st.sampled_from([1, 10_000, 30_000, 5_000_000]),
)
changes = st.one_of(
    st.tuples(st.just("up"), adapters, vms, st.sampled_from(VLANS)),
    st.tuples(st.just("down"), adapters, vms),
    st.tuples(st.just("move"), adapters, vms, st.integers(0, 1)),
    st.tuples(st.just("resize"), adapters, vms, st.sampled_from([2, 8, 30])),
    st.tuples(st.sampled_from(["pause_vm", "resume_vm", "remove_vm", "migrate_vm"]), adapters, vms),
)


def queue_of(machine: Machine, adapter: int, vm: str) -> int | None:
    found = [q.queue_id for q in machine.host.adapters[adapter].queues.values() if q.vm == vm]
    return found[0] if found else None


def change(lab: Lab, kind: str, adapter: int, vm: str, *rest: Any) -> None:
    machine, name = lab.machine, ADAPTERS[adapter]
    queue_id = queue_of(machine, adapter, vm)
    if kind == "up":
        if queue_id is None:
            lookahead = LOOKAHEAD if adapter == 0 else 0
            queue_id = lab.ask(
                "allocate_queue", adapter=name, name=vm, vm=vm, cpu=0, buffers=8, lookahead_bytes=lookahead
            )["queue_id"]
        lab.ask("set_filter", adapter=name, queue_id=queue_id, mac=mac_of(vm), vlan=rest[0])
        lab.ask("complete_allocation", adapter=name, queue_ids=[queue_id])
    elif kind.endswith("_vm"):
        lab.ask(kind, adapter=name, vm=vm)
    elif queue_id is not None and kind == "down":
        for filter_id in list(machine.host.adapters[adapter].queues[queue_id].filters):
            lab.ask("clear_filter", adapter=name, queue_id=queue_id, filter_id=filter_id)
        lab.ask("free_queue", adapter=name, queue_id=queue_id)
    elif queue_id is not None and kind == "move":
        lab.ask("set_queue_parameters", adapter=name, queue_id=queue_id, cpu=rest[0])
    elif queue_id is not None:
        lab.ask("set_queue_parameters", adapter=name, queue_id=queue_id, buffers=rest[0])


def clean(lab: Lab) -> None:
    """Tear every VM down; nothing of any of them is left."""
    for adapter, name in enumerate(ADAPTERS):
        for vm in VMS:
            lab.ask("remove_vm", adapter=name, vm=vm)
            assert lab.memory(adapter, vm) == b""
        state = lab.machine.host.adapters[adapter]
        assert list(state.queues) == [0]
        assert state.budget.left(lambda queue_id: 0) == 240
    belongs = lab.machine.plane.views.belongs
    lab.send([], 0, 10_000_000)
    assert np.count_nonzero(belongs >= 0) == 16 * len(ADAPTERS)
    assert lab.machine.plane._guests._extents._free == [Extent(0, lab.machine.plane.views.guest_bytes.size)]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.one_of(bursts, changes), min_size=4, max_size=25))
def test_no_vm_ever_sees_a_frame_that_is_not_its_own(machine: Machine, steps: list[Any]) -> None:
    lab = Lab(machine)
    try:
        for adapter, vm in itertools.product(range(len(ADAPTERS)), VMS):
            change(lab, "up", adapter, vm, VLANS[0])
        for kind, *details in steps:
            if kind == "send":
                lab.send(*details)
            else:
                change(lab, kind, *details)
            lab.check()
    finally:
        clean(lab)


def test_a_split_frame_is_whole_in_its_vms_memory_only_after_its_dpc(machine: Machine) -> None:
    lab = Lab(machine)
    change(lab, "up", 0, "a", 10)
    lab.send([(0, "a", 10, 1500)], 0, 19_999)
    parts = {part for _, part in lab.marks(0, "a")}
    assert parts
    assert min(parts) * MARK.size >= LOOKAHEAD - 18
    lab.send([], 0, 5_000_000)
    assert lab.first.seen_as in lab.memory(0, "a")
    clean(lab)


def test_a_whole_frame_is_in_its_vms_memory_without_its_tag_after_its_dpc(machine: Machine) -> None:
    lab = Lab(machine)
    change(lab, "up", 1, "a", 10)
    lab.send([(1, "a", 10, 200)], 0, 19_999)
    assert not lab.marks(1, "a")
    lab.send([], 0, 5_000_000)
    assert lab.first.seen_as in lab.memory(1, "a")
    clean(lab)


def test_the_switch_brings_a_default_queue_frame_to_the_vm_whose_port_it_fits(machine: Machine) -> None:
    lab = Lab(machine)
    change(lab, "up", 1, "a", 10)
    change(lab, "down", 1, "a")
    lab.send([(1, "a", 10, 200), (1, "a", 20, 80)], 0, 5_000_000)
    assert lab.first.seen_as in lab.memory(1, "a")
    assert {number for number, _ in lab.marks(1, "a")} == {min(lab.sent)}
    clean(lab)


def test_what_queue_0_holds_for_a_vm_that_is_removed_reaches_nobody(machine: Machine) -> None:
    lab = Lab(machine)
    change(lab, "up", 1, "c", 10)
    change(lab, "up", 1, "a", 10)
    change(lab, "down", 1, "a")
    lab.send([(1, "a", 10, 200)] * 8, 0, 1)
    [before, *_] = known(machine.stats().adapters["whole"].queues["switch_dropped_frames"])
    lab.ask("remove_vm", adapter="whole", vm="a")
    change(lab, "up", 1, "b", 10)  # it has the index that was a's
    change(lab, "down", 1, "b")
    lab.send([], 0, 5_000_000)
    assert not lab.marks(1, "b")
    assert not lab.marks(1, "c")
    assert not any(machine.plane.views.guest_bytes[:64])
    assert machine.stats().adapters["whole"].queues["switch_dropped_frames"][0] == before + 8
    clean(lab)


def test_a_vm_sees_nothing_of_the_vm_that_had_the_memory_before(machine: Machine) -> None:
    lab = Lab(machine)
    change(lab, "up", 0, "a", 10)
    lab.send([(0, "a", 10, 1500)] * 8, 0, 5_000_000)
    assert lab.marks(0, "a")
    lab.ask("remove_vm", adapter="split", vm="a")
    change(lab, "up", 0, "b", 10)
    assert not any(lab.memory(0, "b").replace(b"\0", b""))
    clean(lab)


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([100, 3_000, 12_000, 60_000]), st.integers(0, 1)),
        min_size=1,
        max_size=8,
    ),
    adapters,
)
def test_frames_of_a_queue_are_indicated_in_wire_order_wherever_it_moves(
    machine: Machine, steps: list[tuple[int, int, int]], adapter: int
) -> None:
    lab = Lab(machine)
    try:
        change(lab, "up", adapter, "a", 10)
        change(lab, "resize", adapter, "a", 64)
        change(lab, "pause_vm", adapter, "a")
        for count, rest_ns, cpu in steps:
            lab.send([(adapter, "a", 10, 80)] * count, 200, rest_ns)
            change(lab, "move", adapter, "a", cpu)
        lab.send([], 0, 5_000_000)
        queue_id = queue_of(machine, adapter, "a")
        assert queue_id is not None
        held = machine.plane.held(adapter, queue_id)
        assert held == [frame.seen_as for frame in lab.sent.values()]
    finally:
        clean(lab)
