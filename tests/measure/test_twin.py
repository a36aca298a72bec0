"""The twin of a measured host: what each value comes from, what is invented, and what does not fit."""

import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.measure.calibration import calibrate
from engine.measure.host import MeasuredHost
from engine.measure.twin import MAX_TWIN_BYTES, Twin, make_twin
from engine.measure.twin_traffic import MOST_PAIRS
from engine.telemetry.config import AdapterConfig, Config, PortConfig
from engine.telemetry.stats import Cell, Stats, TopPairs
from tests import measured
from tests.measured import SECOND_NS
from tests.slow import examples

replace = msgspec.structs.replace
Change = Callable[[AdapterConfig], AdapterConfig]


def of_adapter(host: MeasuredHost, change: Change, number: int = 0) -> MeasuredHost:
    """The host with one of its adapters changed."""
    adapters = [change(one) if n == number else one for n, one in enumerate(host.config.adapters)]
    return with_config(host, replace(host.config, adapters=adapters))


def with_config(host: MeasuredHost, config: Config) -> MeasuredHost:
    return MeasuredHost(host.origin, config, host.readings)


def line_of(twin: Twin, text: str) -> str:
    """The one line of the file that has a text."""
    (line,) = [one for one in twin.text.splitlines() if text in one]
    return line


def flows(twin: Twin) -> dict[str, list[dict[str, Any]]]:
    """The flows of each adapter or team, each with its frames per second."""
    found: dict[str, list[dict[str, Any]]] = {}
    for mix in tomllib.loads(twin.text)["traffic"].get("mix", ()):
        total = sum(one["weight"] for one in mix["flow"])
        found[mix["adapter"]] = [
            one | {"pps": mix["rate_pps"] * one["weight"] / total} for one in mix["flow"]
        ]
    return found


@pytest.mark.parametrize("make", [measured.linux, measured.windows])
def test_every_value_says_how_it_is_known(make: Callable[[], MeasuredHost]) -> None:
    twin = make_twin(make())
    values = [
        one
        for one in twin.text.splitlines()
        if " = " in one and not one.lstrip().startswith("#") and "flow = [" not in one
    ]
    assert values
    unmarked = [one for one in values if not re.search("# (measured|derived|assumed)", one)]
    assert [one for one in unmarked if not one.startswith("adapter = ")] == []


def test_rings_get_their_measured_frames_by_macs_that_are_invented_and_said_so() -> None:
    twin = make_twin(measured.linux())
    eth0 = flows(twin)["eth0"]
    assert [(one.get("kind", "unicast"), one["pps"]) for one in eth0] == [
        ("unicast", pytest.approx(500)),
        ("unknown", pytest.approx(1100)),
    ]
    adapter = twin.scenario.adapter[0]
    assert [one.name for one in adapter.queue] == ["rx-1", "vf 0", "vf 1"]
    assert adapter.queue[0].filter[0].mac == eth0[0]["mac"]
    assert "assumed: no filter of it is known; invented" in line_of(twin, f'mac = "{eth0[0]["mac"]}"  #')
    assert [one["pps"] for one in flows(twin)["eth1"]] == pytest.approx([200, 20, 2000])


def test_virtual_functions_are_queues_with_their_mac_and_vlan() -> None:
    twin = make_twin(measured.linux())
    vf0, vf1 = twin.scenario.adapter[0].queue[1:]
    assert (vf0.vm, vf0.filter[0].mac, vf0.filter[0].vlan) == ("eth0 vf 0", "02:00:00:00:00:02", 10)
    assert (vf1.vm, vf1.filter[0].mac, vf1.filter[0].vlan) == ("eth0 vf 1", "02:00:00:00:00:03", "untagged")
    assert any("frames of 2 queues are not known" in one for one in twin.unknown)


def test_a_windows_host_keeps_its_set_its_filters_and_its_release() -> None:
    twin = make_twin(measured.windows())
    host, adapter = twin.scenario.host, twin.scenario.adapter[0]
    assert (host.windows, host.cpus, host.hyperthreading) == ("2012 R2", 8, True)
    assert (adapter.base_processor, adapter.max_processor, adapter.max_processors) == ("0:0", "0:6", 4)
    assert [(one.vm, one.cpu, one.filter[0].vlan) for one in adapter.queue] == [
        ("web-01", 2, 10),
        ("db-01", 0, "untagged"),
    ]
    assert [one["pps"] for one in flows(twin)["Ethernet 2"]] == pytest.approx([1200, 900, 900])
    assert twin.text.count("an equal share of the rest") == 2


def test_the_one_queue_of_unknown_rate_gets_what_the_others_leave_of_the_port() -> None:
    host = measured.windows()
    readings = [
        _cells(one, "Ethernet 2", received_frames=[None, 1200 * n, 700 * n])
        for n, one in enumerate(host.readings)
    ]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    assert [one["pps"] for one in flows(twin)["Ethernet 2"]] == pytest.approx([1200, 700, 1100])
    assert "what the port received and no other queue did" in twin.text


def test_nothing_is_sent_where_no_rate_is_known() -> None:
    host = measured.windows()
    unknown: list[Cell] = [None, None, None]
    readings = [
        replace(
            one,
            adapters={
                "Ethernet 2": replace(
                    _cells(one, "Ethernet 2", received_frames=unknown).adapters["Ethernet 2"], port={}
                )
            },
        )
        for one in host.readings
    ]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    assert flows(twin) == {}
    assert any("frames of 3 queues are not known" in one for one in twin.unknown)


def _cells(stats: Stats, adapter: str, **columns: Sequence[Cell]) -> Stats:
    """The reading with other cells in columns of an adapter's queues."""
    old = stats.adapters[adapter]
    queues = {**old.queues, **{name: list(cells) for name, cells in columns.items()}}
    return replace(stats, adapters={**stats.adapters, adapter: replace(old, queues=queues)})


def test_a_tag_is_not_part_of_the_size_of_a_flow() -> None:
    host = measured.linux()
    readings = [
        _cells(
            one,
            "eth0",
            received_frames=[1000 * n, 500 * n, 100 * n, 0],
            steered_bytes=[None, None, 50_000 * n, None],
        )
        for n, one in enumerate(host.readings)
    ]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    assert [one["frame_bytes"] for one in flows(twin)["eth0"] if one.get("vlan") == 10] == [496]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base_processor": "0:99"}, "base_processor is left out"),
        ({"max_processors": 0}, "max_processors is left out"),
        ({"preferred_numa_node": 7}, "preferred_numa_node is left out"),
        ({"ndis_version": "5.1"}, 'NDIS "5.1" has no VMQ here'),
        ({"ndis_version": "6.20"}, ""),
        ({"link_gbps": 0.0}, ""),
        ({"link_gbps": 1e9}, ""),
        ({"max_frame_bytes": 10**9}, ""),
        ({"max_queues": 1}, ""),
        ({"max_filters": 0}, ""),
        ({"vlan_filtering": False}, ""),
        ({"vmq": False}, "VMQ is off, and it has queues"),
        ({"numa_node": 12}, ""),
        ({"name": "\u2028 bad\n"}, "is called"),
        ({"team": "t", "team_mode": "???"}, "its mode is not known"),
        ({"ports": [PortConfig(vm="a", mac="nonsense", vlan=1)]}, "is not a MAC address"),
    ],
)
def test_what_does_not_fit_is_left_out_or_moved_into_bounds_and_said(
    change: dict[str, Any], says: str
) -> None:
    name = change.get("name", "Ethernet 2")
    host = of_adapter(measured.windows(), lambda one: replace(one, **change))
    readings = [replace(one, adapters={name: one.adapters["Ethernet 2"]}) for one in host.readings]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    assert not says or any(says in one for one in twin.remarks), twin.remarks


def test_a_number_out_of_bounds_is_moved_into_them_with_a_comment() -> None:
    twin = make_twin(of_adapter(measured.windows(), lambda one: replace(one, max_frame_bytes=10**9)))
    assert twin.scenario.adapter[0].max_frame_bytes == 65_535
    assert "# measured: 1000000000 does not fit; 60..65535 does" in line_of(twin, "max_frame_bytes")


def test_queues_that_do_not_run_are_left_out_and_ids_say_which_is_which() -> None:
    def stop(adapter: AdapterConfig) -> AdapterConfig:
        queues = [replace(one, state="paused") if one.queue_id == 1 else one for one in adapter.queues]
        return replace(adapter, queues=queues)

    twin = make_twin(of_adapter(measured.windows(), stop))
    assert [one.vm for one in twin.scenario.adapter[0].queue] == ["db-01"]
    assert twin.queue_ids["Ethernet 2"] == {0: 0, 2: 1}
    assert any("web-01" in one and "paused" in one for one in twin.remarks)


def test_two_filters_of_one_mac_and_vlan_become_one() -> None:
    def repeat(adapter: AdapterConfig) -> AdapterConfig:
        same = [replace(one, mac="00:15:5d:00:00:01", vlan=10) for one in adapter.filters]
        return replace(adapter, filters=same)

    twin = make_twin(of_adapter(measured.windows(), repeat))
    assert [len(one.filter) for one in twin.scenario.adapter[0].queue] == [1, 1]
    assert any("are set already" in one for one in twin.remarks)


def test_hyper_threads_that_are_not_neighbours_are_left_out() -> None:
    host = measured.linux()
    cpus = [replace(one, core=one.id % 2) for one in host.config.cpus]
    twin = make_twin(with_config(host, replace(host.config, cpus=cpus, hyperthreading=True)))
    assert not twin.scenario.host.hyperthreading
    assert any("hyper-threads are not processors 2k and 2k+1" in one for one in twin.remarks)


def test_nodes_that_do_not_split_the_processors_in_order_are_left_out() -> None:
    host = measured.linux()
    cpus = [replace(one, numa_node=one.id % 2) for one in host.config.cpus]
    twin = make_twin(with_config(host, replace(host.config, cpus=cpus, numa_nodes=2)))
    assert twin.scenario.host.numa_nodes == 1
    assert any("NUMA nodes are left out" in one for one in twin.remarks)


def test_groups_that_are_not_the_default_ones_are_kept() -> None:
    host = measured.windows()
    cpus = [replace(one, name=f"{one.id // 4}:{one.id % 4}") for one in host.config.cpus]
    twin = make_twin(with_config(host, replace(host.config, cpus=cpus)))
    assert twin.scenario.host.group_sizes == [4, 4]


def test_buffers_of_jumbo_frames_are_lowered_until_they_fit_in_memory() -> None:
    def large(adapter: AdapterConfig) -> AdapterConfig:
        queues = [replace(one, buffers=65_536) for one in adapter.queues]
        return replace(adapter, queues=queues, max_frame_bytes=65_535)

    host = of_adapter(measured.windows(), large)
    twin = make_twin(host)
    adapter = twin.scenario.adapter[0]
    assert adapter.total_buffers * adapter.max_frame_bytes <= MAX_TWIN_BYTES
    assert adapter.max_frame_bytes == 1518
    assert any("receive buffers are lowered" in one for one in twin.remarks)


def test_members_of_a_team_are_sent_their_frames_through_it() -> None:
    host = measured.linux()
    config = replace(
        host.config, adapters=[replace(one, team="bond", team_mode="sum") for one in host.config.adapters]
    )
    twin = make_twin(with_config(host, config))
    assert [one.members for one in twin.scenario.team] == [["eth0", "eth1", "eth2"]]
    assert list(flows(twin)) == ["bond"]
    assert sum(one["pps"] for one in flows(twin)["bond"]) == pytest.approx(1600 + 2220)


# --- frames that no counter tells ------------------------------------------------------------------


def of_windows(received: Sequence[int | None], offered: int, loads: Sequence[float]) -> MeasuredHost:
    """The Windows host with these frames per second of its queues and port, and loads of its processors."""
    host = measured.windows()
    readings = []
    for n, one in enumerate(host.readings):
        changed = _cells(
            one, "Ethernet 2", received_frames=[None if pps is None else pps * n for pps in received]
        )
        adapter = replace(changed.adapters["Ethernet 2"], port={"offered_frames": offered * n})
        busy: list[Cell] = [round(load * SECOND_NS * n) for load in (*loads, *[0.0] * (8 - len(loads)))]
        readings.append(
            replace(changed, adapters={"Ethernet 2": adapter}, cpus={**changed.cpus, "busy_cycles": busy})
        )
    return MeasuredHost(host.origin, host.config, readings)


def test_a_queue_gets_no_more_frames_than_the_load_of_its_processor_allows() -> None:
    twin = make_twin(of_windows([None, 1000, 500], 100_000, [0.01, 0.0, 0.3]))
    rest = next(one["pps"] for one in flows(twin)["Ethernet 2"] if one.get("kind") == "unknown")
    assert 3000 < rest < 5000  # a hundredth of a processor, less the other queue's
    assert any("frames/s of Ethernet 2: no known one; the twin lacks them" in one for one in twin.unknown)


def test_frames_that_a_full_processor_must_have_dropped_are_sent_to_its_queue() -> None:
    twin = make_twin(of_windows([None, 350_000, 500], 500_000, [0.01, 0.0, 1.0]))
    of_web = next(one["pps"] for one in flows(twin)["Ethernet 2"] if one.get("vlan") == 10)
    assert of_web == pytest.approx(496_000, rel=0.01)
    assert "dropped since its processor is full" in twin.text


def test_of_many_pairs_in_the_default_queue_the_rest_is_sent_by_reason() -> None:
    host = measured.linux()
    count = MOST_PAIRS + 20
    reasons = ["vlan_mismatch"] * count

    def reading(n: int) -> Stats:
        one = host.readings[n]
        counted = one.adapters["eth0"]
        top = TopPairs(
            mac=[f"00:15:5d:00:01:{pair:02x}" for pair in range(count)],
            vlan=[10] * count,
            reason=reasons,
            frames=[10 * n] * count,
            error=[0] * count,
        )
        by_reason: dict[str, Cell] = {**dict.fromkeys(counted.default_queue, 0), "vlan_mismatch": 1100 * n}
        adapters = {"eth0": replace(counted, default_queue=by_reason, default_queue_top=top)}
        return replace(one, adapters={**one.adapters, **adapters})

    twin = make_twin(MeasuredHost(host.origin, host.config, [reading(n) for n in range(4)]))
    of_default = [one for one in flows(twin)["eth0"] if not one.get("mac", "").startswith("02:56")]
    assert len(of_default) == MOST_PAIRS + 1
    assert sum(one["pps"] for one in of_default) == pytest.approx(1100)
    assert of_default[-1]["kind"] == "unknown"
    assert of_default[-1]["pps"] == pytest.approx(1100 - 10 * MOST_PAIRS)


def test_drops_of_a_queue_whose_processor_is_not_full_are_bursts() -> None:
    host = of_adapter(measured.linux(), lambda one: replace(one, link_gbps=10.0))
    readings = [
        _cells(
            one,
            "eth0",
            received_frames=[1000 * n, 20_000 * n, None, None],
            dropped_no_buffer=[0, 5000 * n, None, None],
            steered_frames=[1000 * n, 25_000 * n, None, None],
        )
        for n, one in enumerate(host.readings)
    ]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    (burst,) = [one for one in tomllib.loads(twin.text)["traffic"]["mix"] if one["pattern"] == "bursts"]
    assert burst["rate_pps"] == pytest.approx(25_000)
    assert burst["burst_frames"] > 256  # the buffers of the queue
    assert "though its processor is not full" in twin.text


def test_the_vm_of_a_queue_that_dropped_everything_returns_no_buffer() -> None:
    host = measured.linux()
    readings = [
        _cells(
            one,
            "eth0",
            received_frames=[1000 * n, 0, None, None],
            dropped_no_buffer=[0, 5000 * n, None, None],
            steered_frames=[1000 * n, 5000 * n, None, None],
        )
        for n, one in enumerate(host.readings)
    ]
    twin = make_twin(MeasuredHost(host.origin, host.config, readings))
    assert twin.scenario.adapter[0].queue[0].return_delay_us == 60_000_000
    assert "it dropped all frames" in twin.text


# --- costs ------------------------------------------------------------------------------------------


def loaded(frame_ns: float, interrupt_ns: float, idle: float, rates: Sequence[int]) -> MeasuredHost:
    """The Linux host with loads made by these costs; a level of frames per second in each interval."""
    host = measured.linux()
    readings, frames, busy, interrupts = [], [0, 0], [0.0] * 4, [0, 0]
    for n, rate in enumerate((0, *rates)):
        for cpu, share in ((0, 1.0), (1, 0.5)):
            came, taken = round(rate * share), round(4000 * (1 + cpu))
            frames[cpu] += came
            interrupts[cpu] += taken if n else 0
            busy[cpu] += came * frame_ns + (taken * interrupt_ns + idle * SECOND_NS if n else 0.0)
        stats = replace(_linux(n), sim_time_ns=n * SECOND_NS)
        stats = _cells(
            stats,
            "eth0",
            received_frames=[*frames, None, None],
            steered_frames=[*frames, None, None],
            dropped_no_buffer=[0, 0, None, None],
            interrupts=[*interrupts, None, None],
        )
        cpus = {**stats.cpus, "busy_cycles": [round(one) for one in busy], "interrupts": [*interrupts, 0, 0]}
        cpus["budget_cycles"] = [n * SECOND_NS] * 4
        readings.append(replace(stats, cpus=cpus))
    config = replace(host.config, adapters=host.config.adapters[:1])
    kept = [replace(one, adapters={"eth0": one.adapters["eth0"]}) for one in readings]
    return MeasuredHost(host.origin, config, kept)


def _linux(second: int) -> Stats:
    return measured.linux(second + 1).readings[-1]


def test_costs_come_from_loads_at_several_levels() -> None:
    host = loaded(1500.0, 2000.0, 0.02, [20_000, 100_000, 200_000, 400_000, 300_000])
    found = calibrate(host, hyperthreading=False)
    assert found.done
    clock = 2.6
    cycles = found.values["cycles_per_frame"].value
    per_byte = found.values["cycles_per_byte"].value
    assert isinstance(cycles, int)
    assert isinstance(per_byte, float)
    size = 1000 if per_byte else 0
    assert cycles + per_byte * size == pytest.approx(1500 * clock, rel=0.02)
    both = sum(int(str(found.values[key].value)) for key in ("cycles_per_interrupt", "cycles_per_dpc"))
    assert both == pytest.approx(2000 * clock, rel=0.5)
    assert any("without frames" in one for one in found.sentences)


def test_costs_beside_a_busy_hyper_thread_are_those_of_a_whole_core() -> None:
    host = loaded(1500.0, 0.0, 0.0, [20_000, 100_000, 200_000, 400_000, 300_000])
    cpus = [replace(one, core=one.id // 2) for one in host.config.cpus]
    siblings = with_config(host, replace(host.config, cpus=cpus, hyperthreading=True))
    alone, beside = (
        calibrate(one, hyperthreading=one is siblings).values["cycles_per_frame"].why
        for one in (host, siblings)
    )
    assert (alone, beside) == ("1,500 ns a frame in all", "900 ns a frame in all")


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (loaded(1500.0, 0.0, 0.0, [1000, 1000]), "level"),
        (loaded(1500.0, 0.0, 0.0, [100_000, 100_000]), "2 levels of load measured"),
        (measured.windows(), "1 level of load measured"),
        (loaded(1.0, 0.0, 0.3, [10_000, 200_000, 400_000]), ""),
    ],
)
def test_without_enough_of_both_costs_are_defaults_and_say_why(host: MeasuredHost, why: str) -> None:
    found = calibrate(host, hyperthreading=False)
    assert not found.done
    assert why in found.sentences[0]
    assert found.values["cycles_per_frame"].value == 6000
    assert found.values["cycles_per_frame"].known == "assumed"


def test_costs_of_a_model_that_do_not_fit_a_scenario_are_left_out() -> None:
    host = measured.windows()
    costs = {"clock_ghz": 0.0, "cycles_per_frame": float("inf"), "quota": 2}
    twin = make_twin(with_config(host, replace(host.config, cpu_model=costs)))
    assert (twin.scenario.cpu.clock_ghz, twin.scenario.cpu.quota) == (2.6, 2)


def test_a_recording_of_a_model_keeps_its_costs() -> None:
    host = measured.windows()
    config = replace(host.config, cpu_model={"clock_ghz": 3.1, "cycles_per_frame": 7000, "quota": "x"})
    twin = make_twin(with_config(host, config))
    assert (twin.scenario.cpu.clock_ghz, twin.scenario.cpu.cycles_per_frame) == (3.1, 7000)
    assert twin.calibrated


# --- anything ---------------------------------------------------------------------------------------

_NUMBERS = st.one_of(st.none(), st.integers(0, 1 << 40))
_TEXTS = st.one_of(
    st.none(), st.text(max_size=20), st.sampled_from(["0:1", "9:9", "6.20", "6.85", "sum", "min"])
)
_KEYS = {
    "max_queues": _NUMBERS,
    "max_filters": _NUMBERS,
    "max_frame_bytes": _NUMBERS,
    "buffers": _NUMBERS,
    "numa_node": _NUMBERS,
    "max_processors": _NUMBERS,
    "preferred_numa_node": _NUMBERS,
    "min_lookahead_bytes": _NUMBERS,
    "max_lookahead_bytes": _NUMBERS,
    "link_gbps": st.one_of(st.none(), st.floats(0, 1e12)),
    "base_processor": _TEXTS,
    "max_processor": _TEXTS,
    "ndis_version": _TEXTS,
    "team": _TEXTS,
    "team_mode": _TEXTS,
    "vlan_filtering": st.one_of(st.none(), st.booleans()),
    "vmq": st.one_of(st.none(), st.booleans()),
}
_QUEUE_KEYS = {
    "cpu": st.one_of(st.none(), st.integers(0, 300)),
    "buffers": _NUMBERS,
    "lookahead_bytes": _NUMBERS,
    "return_delay_us": _NUMBERS,
    "vm": st.one_of(st.none(), st.text(max_size=8)),
    "name": st.text(max_size=8),
}
_FILTER_KEYS = {
    "mac": st.sampled_from(["00:15:5d:00:00:01", "00-15-5D-00-00-02", "01:00:00:00:00:00", "x", ""]),
    "vlan": st.one_of(st.none(), st.just("untagged"), st.integers(0, 5000)),
}


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from([measured.linux, measured.windows]),
    st.fixed_dictionaries({}, optional=_KEYS),
    st.fixed_dictionaries({}, optional=_QUEUE_KEYS),
    st.fixed_dictionaries({}, optional=_FILTER_KEYS),
    st.fixed_dictionaries(
        {},
        optional={
            "hyperthreading": st.one_of(st.none(), st.booleans()),
            "numa_nodes": st.one_of(st.none(), st.integers(0, 300)),
            "host": st.text(max_size=80),
            "windows": _TEXTS,
            "balancer": st.dictionaries(
                st.sampled_from(["mode", "interval_ms", "scale_in", "scale_out", "max_moves"]),
                st.one_of(st.just("dynamic"), st.integers(-1, 10**9), st.floats(allow_nan=True), st.none()),
            ),
        },
    ),
)
def test_any_host_has_a_twin_that_loads(
    make: Callable[[], MeasuredHost],
    adapter: dict[str, Any],
    queue: dict[str, Any],
    filters: dict[str, Any],
    config: dict[str, Any],
) -> None:
    host = make()
    adapters = [
        replace(
            one,
            **adapter,
            queues=[replace(each, **queue) for each in one.queues],
            filters=[replace(each, **filters) for each in one.filters],
        )
        for one in host.config.adapters
    ]
    twin = make_twin(with_config(host, replace(host.config, adapters=adapters, **config)))
    assert len(twin.scenario.adapter) == len(adapters)
