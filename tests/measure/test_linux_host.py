"""What readings of a Linux machine become: queues, generations, sources, events. No rate is negative."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.measure.facts import Adapter, Machine, Rule
from engine.measure.host import Measured
from engine.measure.linux_adapter import FIRST_RULE_ID, MOST_REPORTED
from engine.measure.linux_host import MOST_TROUBLES, LinuxHost
from engine.measure.linux_queues import Total
from engine.scenario.keys import MAX_CPUS
from engine.telemetry.config import Config
from engine.telemetry.stats import AdapterStats, Cell, Stats
from tests.measure.machines import SOURCES, function, igb, machine, ring
from vmqtui.columns import COLUMNS
from vmqtui.state.snapshot import Snapshot


def follow(*machines: Machine) -> list[Measured]:
    """Read machines one after another."""
    host = LinuxHost("lab")
    return [host.read(one) for one in machines]


def eth0(measured: Measured) -> AdapterStats:
    """The counters of the adapter eth0."""
    return measured.stats.adapters["eth0"]


def column(measured: Measured, name: str) -> list[Cell]:
    """A column of eth0's queues."""
    return eth0(measured).queues[name]


def kinds(measured: Measured) -> list[str]:
    """The kinds of a reading's events."""
    return [one.event for one in measured.events]


def config_of(measured: Measured) -> Config:
    """The configuration, which this reading has."""
    assert measured.config is not None
    return measured.config


def test_rings_in_use_are_queues_with_the_drivers_counters() -> None:
    (first,) = follow(machine(igb([ring(0, 1000, 3), ring(1, 500, 0)])))
    assert column(first, "id") == [0, 1]
    assert column(first, "generation") == [1, 2]
    assert column(first, "received_frames") == [1000, 500]
    assert column(first, "dropped_no_buffer") == [3, 0]
    assert column(first, "steered_frames") == [1003, 500]
    assert column(first, "total_buffers") == [256, 256]
    for name in ("indicated_frames", "returned_frames", "pending", "outstanding", "free_buffers", "dpcs"):
        assert column(first, name) == [None, None]
    assert eth0(first).port == {
        "offered_frames": 1503,
        "offered_bytes": 150_000,
        "runt": None,
        "oversize": None,
    }
    assert set(eth0(first).default_queue.values()) == {None}
    queues = config_of(first).adapters[0].queues
    assert [(one.name, one.cpu, one.vm, one.state) for one in queues] == [
        ("rx-0", 0, None, "running"),
        ("rx-1", 1, None, "running"),
    ]


def test_the_adapter_tells_its_driver_link_and_limits() -> None:
    (first,) = follow(machine(igb([ring(0)])))
    config = config_of(first)
    (adapter,) = config.adapters
    assert (config.system, config.host, config.revision) == ("Linux 6.12.9", "lab", 1)
    assert adapter.nic_driver == "igb 6.12.9, firmware 3.25"
    assert (adapter.link_gbps, adapter.link_up, adapter.max_queues) == (1.0, True, 7)
    assert (adapter.vmq, adapter.vlan_filtering, adapter.max_filters, adapter.buffers) == (None,) * 4
    assert [(one.name, one.core) for one in config.cpus] == [("0:0", 0), ("0:1", 0), ("0:2", 1), ("0:3", 1)]
    assert (config.hyperthreading, config.numa_nodes) == (True, 1)


def test_virtual_functions_are_queues_behind_the_rings_each_with_a_filter_and_a_port() -> None:
    (first,) = follow(
        machine(igb([ring(0, 10), ring(1, 20)], [function(0, 1500, vlan=10), function(2, 1500)]))
    )
    assert column(first, "id") == [0, 1, 2, 4]
    assert column(first, "received_frames") == [10, 20, 1500, 1500]
    assert eth0(first).port["offered_frames"] == 3030
    assert eth0(first).filters == {"id": [2, 4], "matched_frames": [1500, 1500]}
    (adapter,) = config_of(first).adapters
    assert [(one.name, one.vm) for one in adapter.queues][2:] == [("vf 0", "eth0v0"), ("vf 2", "eth0v2")]
    assert [(one.filter_id, one.queue_id, one.mac, one.vlan) for one in adapter.filters] == [
        (2, 2, "02:00:00:00:00:00", 10),
        (4, 4, "02:00:00:00:00:02", "untagged"),
    ]
    assert [(one.vm, one.vlan) for one in adapter.ports] == [("eth0v0", 10), ("eth0v2", "untagged")]
    assert adapter.max_queues is None


def test_a_function_that_a_vm_has_counts_nothing_here_and_makes_the_ports_sum_unknown() -> None:
    passed = replace(function(0, None), device=None, cpus=None)
    (first,) = follow(machine(igb([ring(0, 10)], [passed])))
    assert column(first, "received_frames") == [10, None]
    assert eth0(first).port["offered_frames"] is None
    assert eth0(first).filters["matched_frames"] == [None]
    assert config_of(first).adapters[0].queues[1].vm == "eth0 vf 0"
    assert first.stats.cpus["queues"] == [1, 0, 0, 0]


def test_a_function_without_a_mac_address_has_no_filter() -> None:
    (first,) = follow(machine(igb([ring(0)], [function(0, 0, mac="00:00:00:00:00:00")])))
    assert config_of(first).adapters[0].filters == []
    assert eth0(first).filters["id"] == []


def test_ntuple_rules_are_filters_of_their_ring() -> None:
    rule = Rule(location=5, mac="02:00:00:00:00:aa", vlan=20, ring=1)
    (first,) = follow(machine(igb([ring(0), ring(1)], rules=[rule])))
    (found,) = config_of(first).adapters[0].filters
    assert (found.filter_id, found.queue_id, found.mac, found.vlan) == (
        FIRST_RULE_ID + 5,
        1,
        "02:00:00:00:00:aa",
        20,
    )
    assert eth0(first).filters == {"id": [FIRST_RULE_ID + 5], "matched_frames": [None]}


def test_sources_are_of_known_columns_only_and_as_uncertain_as_their_worst_queue() -> None:
    (first,) = follow(machine(igb([ring(0, 10)], [function(0, 5)])))
    assert eth0(first).sources == {
        "received_frames": "exact",
        "received_bytes": "exact",
        "steered_frames": "derived",
        "steered_bytes": "derived",
        "dropped_no_buffer": "exact",
        "interrupts": "guessed",
        "cpu": "guessed",
        "total_buffers": "exact",
        "matched_frames": "derived",
        "offered_frames": "derived",
        "offered_bytes": "derived",
    }
    assert first.stats.sources is not None
    assert first.stats.sources["busy_cycles"] == "exact"
    assert "dpcs" not in first.stats.sources
    unmoved = replace(igb([ring(0, 10)]), sources={**SOURCES, "cpus": "exact", "interrupts": "exact"})
    sources = eth0(follow(machine(unmoved))[0]).sources
    assert sources is not None
    assert (sources["cpu"], sources["interrupts"]) == ("exact", "exact")
    guessed = replace(function(0, 5), counters_source="guessed")
    (other,) = follow(machine(igb([ring(0, 10, None)], [guessed])))
    sources = eth0(other).sources
    assert sources is not None
    assert sources["received_frames"] == "guessed"


def test_without_drops_of_rings_what_was_steered_is_unknown_and_the_ports_drops_are_taken() -> None:
    adapter = replace(igb([ring(0, 10, None), ring(1, 20, None)]), port_dropped=4)
    (first,) = follow(machine(adapter))
    assert column(first, "steered_frames") == [None, None]
    assert column(first, "steered_bytes") == [None, None]
    assert column(first, "received_bytes") == [1000, 2000]
    assert eth0(first).port["offered_frames"] == 34
    (unknown,) = follow(machine(replace(adapter, port_dropped=None)))
    assert eth0(unknown).port["offered_frames"] is None


def test_the_only_ring_without_a_counter_of_drops_has_those_of_the_port() -> None:
    adapter = replace(igb([ring(0, 70, None)]), port_dropped=5)
    (first,) = follow(machine(adapter))
    assert column(first, "dropped_no_buffer") == [5]
    assert column(first, "steered_frames") == [75]
    assert (eth0(first).sources or {})["dropped_no_buffer"] == "derived"
    (two,) = follow(machine(replace(adapter, rings=(ring(0, 70, None), ring(1, 0, None)))))
    assert column(two, "dropped_no_buffer") == [None, None]


def test_a_function_whose_interface_comes_or_goes_has_other_counters_and_counts_no_frame_twice() -> None:
    passed = replace(function(0, 900), device=None, cpus=None)
    readings = follow(
        machine(igb([ring(0, 10)], [function(0, 40)])),
        machine(igb([ring(0, 10)], [passed]), at_ms=500),
        machine(igb([ring(0, 10)], [replace(passed, frames=907)]), at_ms=1000),
    )
    assert [column(one, "received_frames") for one in readings] == [[10, 40], [10, 0], [10, 7]]
    assert [column(one, "generation") for one in readings] == [[1, 2], [1, 3], [1, 3]]
    assert [eth0(one).port["offered_frames"] for one in readings] == [50, 50, 57]
    assert kinds(readings[1]) == ["counters_restarted"]


def test_a_function_whose_interface_goes_before_it_does_is_freed_with_what_was_known() -> None:
    going = replace(function(0, None), device=None, cpus=None)
    readings = follow(
        machine(igb([ring(0)], [function(0, 40)])),
        machine(igb([ring(0)], [going]), at_ms=500),
        machine(igb([ring(0)]), at_ms=1000),
    )
    assert [column(one, "received_frames") for one in readings] == [[0, 40], [0, None], [0]]
    assert [column(one, "generation") for one in readings] == [[1, 2], [1, 2], [1]]
    assert eth0(readings[2]).freed["received_frames"] == 40
    assert [kinds(one) for one in readings] == [[], [], ["functions_changed"]]


def test_a_function_whose_interface_appears_before_it_was_counted_goes_on() -> None:
    made = replace(function(0, None), device=None, cpus=None)
    readings = follow(
        machine(igb([ring(0)], [made])),
        machine(igb([ring(0)], [function(0, 3)]), at_ms=500),
        machine(igb([ring(0)]), at_ms=1000),
    )
    assert readings[1].events == []
    assert [column(one, "generation") for one in readings] == [[1, 2], [1, 2], [1]]
    assert eth0(readings[2]).freed["received_frames"] == 3


def test_counters_that_go_back_begin_a_new_generation_and_the_old_ones_are_freed() -> None:
    _, second = follow(
        machine(igb([ring(0, 100, 7), ring(1, 50)])),
        machine(igb([ring(0, 9, 1), ring(1, 60)]), at_ms=500),
    )
    assert column(second, "generation") == [3, 2]
    assert column(second, "received_frames") == [9, 60]
    assert eth0(second).freed["received_frames"] == 100
    assert eth0(second).freed["dropped_no_buffer"] == 7
    assert eth0(second).freed["indicated_frames"] is None
    assert eth0(second).port["offered_frames"] == 177
    assert kinds(second) == ["counters_restarted"]


def test_another_number_of_channels_begins_new_generations_of_all_queues() -> None:
    readings = follow(
        machine(igb([ring(0, 100), ring(1, 100)])),
        machine(igb([ring(0, 4)]), at_ms=500),
        machine(igb([ring(0, 1), ring(1, 2)]), at_ms=1000),
    )
    assert [column(one, "generation") for one in readings] == [[1, 2], [3], [4, 5]]
    assert [kinds(one) for one in readings] == [[], ["channels_changed"], ["channels_changed"]]
    assert eth0(readings[2]).freed["received_frames"] == 204
    assert eth0(readings[2]).port["offered_frames"] == 207


def test_a_driver_that_keeps_its_counters_over_a_change_of_channels_counts_no_frame_twice() -> None:
    readings = follow(
        machine(igb([ring(0, 100), ring(1, 100)])),
        machine(igb([ring(0, 110)]), at_ms=500),
        machine(igb([ring(0, 120), ring(1, 105)]), at_ms=1000),
    )
    assert [eth0(one).port["offered_frames"] for one in readings] == [200, 210, 225]
    assert column(readings[2], "received_frames") == [10, 5]


def test_a_new_interface_of_the_same_name_starts_again() -> None:
    _, second = follow(machine(igb([ring(0, 100)])), machine(igb([ring(0, 300)], index=9), at_ms=500))
    assert column(second, "generation") == [2]
    assert column(second, "received_frames") == [300]
    assert eth0(second).port["offered_frames"] == 400
    assert kinds(second) == ["adapter_restarted"]


def test_adapters_come_and_go_and_a_generation_is_never_used_again() -> None:
    readings = follow(
        machine(igb([ring(0), ring(1)])),
        machine(at_ms=500),
        machine(igb([ring(0)]), igb([ring(0)], name="eth1", index=3), at_ms=1000),
    )
    assert [kinds(one) for one in readings] == [[], ["adapter_gone"], ["adapter_came", "adapter_came"]]
    assert column(readings[2], "generation") == [3]
    assert [config_of(one).revision for one in readings] == [1, 2, 3]


def test_virtual_functions_that_are_made_and_removed_are_told_and_freed() -> None:
    readings = follow(
        machine(igb([ring(0, 10)])),
        machine(igb([ring(0, 10)], [function(0, 5)]), at_ms=500),
        machine(igb([ring(0, 10)]), at_ms=1000),
    )
    assert [kinds(one) for one in readings[1:]] == [["functions_changed"], ["functions_changed"]]
    assert [column(one, "generation") for one in readings] == [[1], [1, 2], [1]]
    assert [eth0(one).port["offered_frames"] for one in readings] == [10, 15, 15]


def test_another_mac_or_vlan_of_a_function_is_an_event_and_its_filter_counts_from_there() -> None:
    _, second = follow(
        machine(igb([ring(0)], [function(0, 50, vlan=10)])),
        machine(igb([ring(0)], [function(0, 60, vlan=11)]), at_ms=500),
    )
    (event,) = second.events
    assert (event.event, event.adapter, event.queue_id) == ("filter_changed", "eth0", 1)
    assert event.cause == "vf 0: 02:00:00:00:00:00, VLAN 11 instead of 02:00:00:00:00:00, VLAN 10"
    assert column(second, "generation") == [1, 2]
    assert eth0(second).filters["matched_frames"] == [0]
    assert config_of(second).revision == 2


def test_an_affinity_that_moved_is_an_event() -> None:
    _, second, third = follow(
        machine(igb([ring(0), ring(1)])),
        machine(igb([ring(0), ring(1, cpu=3)]), at_ms=500),
        machine(igb([ring(0), ring(1, cpu=3)]), at_ms=1000),
    )
    (event,) = second.events
    assert (event.event, event.queue_id) == ("queue_moved", 1)
    assert event.cause == "rx-1 moved from processor 1 to 3: another interrupt affinity"
    assert second.stats.cpus["queues"] == [1, 0, 0, 1]
    assert config_of(second).adapters[0].queues[1].cpu == 3
    assert (third.config, third.events) == (None, [])


def test_many_moves_at_once_are_one_event() -> None:
    count = MOST_REPORTED + 1
    _, second = follow(
        machine(igb([ring(number) for number in range(count)]), cpus=32),
        machine(igb([ring(number, cpu=number + 1) for number in range(count)]), cpus=32, at_ms=500),
    )
    assert [one.cause for one in second.events] == ["eth0: 9 queues moved to other processors"]


def test_an_interrupt_that_several_processors_may_take_has_no_processor() -> None:
    (first,) = follow(machine(igb([replace(ring(0), cpus=(0, 1))])))
    assert config_of(first).adapters[0].queues[0].cpu is None
    assert first.stats.cpus["queues"] == [None] * 4


def test_a_real_processor_has_no_worker() -> None:
    (first,) = follow(machine(igb([ring(0)])))
    assert first.stats.cpus["down"] == [None] * 4
    snapshot = Snapshot("hv01", None, config_of(first), first.stats)
    worker = next(one for one in COLUMNS["cpus"] if one.key == "worker")
    assert [worker.value(row) for row in snapshot.cpus] == [None] * 4


def test_the_link_going_down_and_up_is_told() -> None:
    readings = follow(
        *(machine(igb([ring(0)], link_up=up), at_ms=n) for n, up in enumerate((True, False, True)))
    )
    assert [kinds(one) for one in readings] == [[], ["link_down"], ["link_up"]]


def test_a_trouble_is_told_once_as_long_as_it_lasts() -> None:
    readings = follow(
        *(machine(at_ms=n, troubles=["no /proc/irq"] * there) for n, there in enumerate((1, 1, 0, 1)))
    )
    assert [kinds(one) for one in readings] == [["reading_trouble"], [], [], ["reading_trouble"]]


def test_many_troubles_at_once_are_few_events() -> None:
    (first,) = follow(machine(troubles=[f"number {number}" for number in range(MOST_TROUBLES + 3)]))
    assert len(first.events) == MOST_TROUBLES + 1
    assert first.events[-1].cause == "3 troubles more"


def test_processors_beyond_what_readers_accept_are_left_out_and_said() -> None:
    (first,) = follow(machine(cpus=MAX_CPUS + 2))
    assert first.stats.cpus["id"] == list(range(MAX_CPUS))
    assert [one.cause for one in first.events] == [
        "256 of 258 processors are shown: there is no room for more"
    ]


def test_loads_of_processors_are_nanoseconds_of_interrupts_over_all_time() -> None:
    first, second = follow(machine(), machine(at_ms=1000))
    assert second.stats.sim_time_ns == 1_000_000_000
    grown = [
        (now - before)
        for name in ("busy_cycles", "budget_cycles")
        for before, now in [(first.stats.cpus[name][0] or 0, second.stats.cpus[name][0] or 0)]
    ]
    assert grown == [100_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("slack", "values", "totals"),
    [
        (0, [5, 9, 2, 4], [5, 9, 9, 11]),
        (5, [10, 8, 11], [10, 10, 11]),
        (5, [10, 2, 3], [10, 10, 11]),
        (0, [3, None, 4], [3, None, 4]),
    ],
)
def test_a_total_stands_still_where_its_source_goes_back(
    slack: int, values: Sequence[Cell], totals: Sequence[Cell]
) -> None:
    total = Total(slack)
    assert [total.take(value) for value in values] == totals


counter = st.none() | st.integers(0, 1000)
_rings = st.lists(
    st.builds(ring, st.just(0), counter, counter, st.integers(0, 3)), min_size=0, max_size=3
).map(lambda rings: [replace(one, ring=at) for at, one in enumerate(rings)])
_functions = st.lists(
    st.builds(
        lambda frames, vlan, device: replace(function(0, frames, vlan), device=device),
        counter,
        st.integers(0, 2),
        st.sampled_from((None, "eth0v0")),
    ),
    min_size=0,
    max_size=2,
).map(lambda functions: [replace(one, vf=at) for at, one in enumerate(functions)])


def _adapter(name: str) -> st.SearchStrategy[Adapter]:
    return st.builds(
        lambda rings, functions, index, frames, dropped: replace(
            igb(rings, functions, name=name, index=index), port_frames=frames, port_dropped=dropped
        ),
        _rings,
        _functions,
        st.integers(1, 2),
        counter,
        counter,
    )


_adapters = st.tuples(st.none() | _adapter("eth0"), st.none() | _adapter("eth1"))


@settings(deadline=None)
@given(st.lists(_adapters, min_size=2, max_size=8))
def test_of_any_readings_generations_grow_and_no_counter_of_one_goes_back(
    sequence: list[tuple[Adapter | None, Adapter | None]],
) -> None:
    readings = follow(
        *(
            machine(*(one for one in adapters if one is not None), at_ms=500 * at)
            for at, adapters in enumerate(sequence)
        )
    )
    for one in readings:
        msgspec.msgpack.decode(msgspec.msgpack.encode(one.stats), type=Stats)
        for adapter in one.stats.adapters.values():
            _check_identities(adapter)
    used: dict[str, dict[tuple[Cell, Cell], int]] = {}
    for at, one in enumerate(readings):
        for name, adapter in one.stats.adapters.items():
            lives = used.setdefault(name, {})
            highest = max((generation or 0 for _, generation in lives), default=0)
            for key in zip(adapter.queues["id"], adapter.queues["generation"], strict=True):
                if key not in lives:
                    assert (key[1] or 0) > highest
                else:
                    assert lives[key] == at - 1
                lives[key] = at
    for before, now in pairwise(readings):
        _check_growth(before.stats, now.stats)


def _check_identities(adapter: AdapterStats) -> None:
    queues = adapter.queues
    for steered, received, dropped in zip(
        queues["steered_frames"], queues["received_frames"], queues["dropped_no_buffer"], strict=True
    ):
        if steered is not None:
            assert received is not None
            assert dropped is not None
            assert steered == received + dropped
    steered_all = [*queues["steered_frames"], adapter.freed["steered_frames"]]
    offered = adapter.port["offered_frames"]
    if offered is not None and None not in steered_all:
        assert offered == sum(one for one in steered_all if one is not None)
    assert all(cell is None or cell >= 0 for column in queues.values() for cell in column)


def _check_growth(before: Stats, now: Stats) -> None:
    for name, adapter in now.adapters.items():
        if name not in before.adapters:
            continue
        old = before.adapters[name].queues
        rows = {key: at for at, key in enumerate(zip(old["id"], old["generation"], strict=True))}
        for at, key in enumerate(zip(adapter.queues["id"], adapter.queues["generation"], strict=True)):
            if key in rows:
                for counter_name in ("received_frames", "dropped_no_buffer", "interrupts"):
                    was, cell = old[counter_name][rows[key]], adapter.queues[counter_name][at]
                    assert was is None or cell is None or cell >= was
    for name in ("busy_cycles", "budget_cycles", "interrupts"):
        for was, cell in zip(before.cpus[name], now.cpus[name], strict=True):
            assert was is not None
            assert cell is not None
            assert cell >= was
