"""The plan: a filter for every unicast MAC and VLAN, a queue for every such MAC, most frames first."""

import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.scenario.load import loads
from engine.scenario.model import CpuSpec, Scenario
from engine.traffic import plan_count, plan_placement
from engine.traffic.capture import CaptureSource
from engine.traffic.plan import Hardware, Plan, plan
from engine.traffic.plan_count import Load
from engine.traffic.plan_text import to_toml
from tests.slow import examples, slow_but
from tests.traffic.captures import Frame, ethernet, frame, pcap

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
Vlan = int | str
Planner = Callable[[list[Frame]], Plan]
MAC_1, MAC_2, MAC_3 = "00:15:5d:00:00:01", "00:15:5d:00:00:02", "00:15:5d:00:00:03"


@pytest.fixture
def planned(tmp_path: Path) -> Planner:
    def from_frames(frames: list[Frame]) -> Plan:
        path = tmp_path / "capture.pcap"
        path.write_bytes(pcap(frames))
        source = CaptureSource(path, adapter=0, link_gbps=10.0)
        try:
            return plan(source)
        finally:
            source.close()

    return from_frames


def filters(scenario: Scenario) -> dict[str, list[Vlan | None]]:
    """The VLAN tests of each MAC, in the order of queues and filters; every queue is of one MAC."""
    out: dict[str, list[Vlan | None]] = {}
    for queue in scenario.adapter[0].queue:
        (mac,) = {one.mac for one in queue.filter}
        assert mac not in out
        out[mac] = [one.vlan for one in queue.filter]
    return out


def reference(frames: list[Frame]) -> tuple[int, dict[str, Counter[Vlan]]]:
    """Contract 1, rules 1 to 3, and contract 4, ``plan``, read slowly: max_frame_bytes and the counts."""
    limit = min(max(1518, *(one.wire for one in frames)), 65_535)
    counts: dict[str, Counter[Vlan]] = defaultdict(Counter)
    for one in frames:
        data = one.data
        tagged = data[12:14] == b"\x81\x00"
        if len(data) < 14 or (tagged and len(data) < 16) or one.wire > limit or len(data) > limit:
            continue
        vid = int.from_bytes(data[14:16], "big") & 0xFFF if tagged else 0
        if data[0] & 1 or not any(data[:6]) or vid == 4095:
            continue
        counts[data[:6].hex(":")][vid or "untagged"] += 1
    return limit, counts


def test_a_queue_for_every_mac_and_a_filter_for_every_vlan_most_frames_first(planned: Planner) -> None:
    frames = [frame(0, ethernet(MAC_2, vlan=20))] * 2 + [frame(0, ethernet(MAC_2))] * 3
    frames += [frame(0, ethernet(MAC_3, vlan=5)), frame(0, ethernet(MAC_1, vlan=7))]
    result = planned(frames)
    assert list(filters(result.scenario).items()) == [
        (MAC_2, ["untagged", 20]), (MAC_1, [7]), (MAC_3, [5]),
    ]  # fmt: skip
    assert result.queues == [Load(5, 300), Load(1, 60), Load(1, 60)]
    assert result.reasons[0].filters == [Load(3, 180), Load(2, 120)]


def test_vid_zero_no_tag_and_an_outer_tag_of_another_kind_are_one_untagged(planned: Planner) -> None:
    tags = [ethernet(MAC_1), ethernet(MAC_1, vlan=0), ethernet(MAC_1, vlan=0xE000)]
    tags += [ethernet(MAC_1, vlan=9, tpid=0x88A8), ethernet(MAC_1, vlan=9, tpid=0x9100)]
    result = planned([frame(0, data) for data in tags])
    assert filters(result.scenario) == {MAC_1: ["untagged"]}
    assert result.queues == [Load(5, 300)]


def test_a_priority_in_the_tag_is_no_part_of_the_vlan(planned: Planner) -> None:
    result = planned([frame(0, ethernet(MAC_1, vlan=0xF00A)), frame(0, ethernet(MAC_1, vlan=10))])
    assert filters(result.scenario) == {MAC_1: [10]}


def test_group_addresses_go_to_the_default_queue(planned: Planner) -> None:
    groups = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "33:33:00:00:00:01"]
    result = planned([frame(0, ethernet(mac)) for mac in groups])
    assert filters(result.scenario) == {}
    assert result.default_queue == Load(3, 180)
    assert loads(to_toml(result), "plan").adapter[0].queue == []


def test_runts_and_oversize_frames_are_not_planned_for(planned: Planner) -> None:
    frames = [frame(0, ethernet(MAC_1)[:13]), frame(0, ethernet(MAC_1, vlan=5)[:15])]
    frames += [frame(0, ethernet(MAC_2), 65_536), frame(0, ethernet(MAC_2, length=65_536), 60)]
    frames += [frame(0, ethernet(MAC_3)[:14])]
    result = planned(frames)
    assert filters(result.scenario) == {MAC_3: ["untagged"]}
    assert result.scenario.adapter[0].max_frame_bytes == 65_535
    assert result.default_queue == Load(0, 0)


def test_a_frame_captured_longer_than_any_on_the_wire_is_oversize(planned: Planner) -> None:
    assert filters(planned([frame(0, ethernet(MAC_1, length=1519), 60)]).scenario) == {}
    assert filters(planned([frame(0, ethernet(MAC_1, length=1518), 60)]).scenario) == {MAC_1: ["untagged"]}


def test_oversize_is_judged_by_the_longest_frame_even_if_that_comes_last(
    planned: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_count, "_BATCH_FRAMES", 1)
    long, longer = frame(0, ethernet(MAC_1, length=2000), 60), frame(0, ethernet(MAC_2, length=3000), 60)
    result = planned([long, longer, frame(0, ethernet(MAC_1)), frame(0, ethernet(MAC_3), 2500)])
    assert result.scenario.adapter[0].max_frame_bytes == 2500
    assert filters(result.scenario) == {MAC_1: ["untagged"], MAC_3: ["untagged"]}
    assert result.queues[0] == Load(2, 120)


@pytest.mark.parametrize(("wire", "limit"), [(60, 1518), (1518, 1518), (9000, 9000), (262_144, 65_535)])
def test_max_frame_bytes_is_the_largest_wire_length_within_bounds(
    planned: Planner, wire: int, limit: int
) -> None:
    assert planned([frame(), frame(0, wire=wire)]).scenario.adapter[0].max_frame_bytes == limit


def test_what_no_filter_can_have_is_said(planned: Planner) -> None:
    frames = [frame(0, ethernet(MAC_1, vlan=4095)), frame(0, ethernet("00:00:00:00:00:00", vlan=3))]
    result = planned(frames)
    assert filters(result.scenario) == {}
    assert result.default_queue == Load(2, 120)
    text = to_toml(result)
    assert "4095" in text
    assert "00:00:00:00:00:00" in text
    assert loads(text, "plan") == result.scenario


macs = st.sampled_from([MAC_1, MAC_2, MAC_3, "00:00:00:00:00:00", "01:00:5e:00:00:01", "fe:ff:ff:ff:ff:ff"])
vlans = st.none() | st.sampled_from([0, 1, 2, 0x1001, 4094, 4095])
any_frame = st.builds(
    lambda mac, vlan, tpid, length, wire: frame(0, ethernet(mac, vlan=vlan, tpid=tpid, length=length), wire),
    macs, vlans, st.sampled_from([0x8100, 0x8100, 0x88A8]),
    st.sampled_from([0, 5, 13, 14, 15, 16, 60, 1518, 1519, 3000]),
    st.sampled_from([60, 60, 1518, 1519, 2500, 3000, 70_000]),
)  # fmt: skip


@given(frames=st.lists(any_frame, min_size=1, max_size=40), batch=st.sampled_from([1, 3, 1 << 18]))
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_capture_is_planned_as_the_contract_reads(
    planned: Planner, monkeypatch: pytest.MonkeyPatch, frames: list[Frame], batch: int
) -> None:
    monkeypatch.setattr(plan_count, "_BATCH_FRAMES", batch)
    limit, counts = reference(frames)
    result = planned(frames)
    assert result.scenario.adapter[0].max_frame_bytes == limit
    ranked = sorted(counts, key=lambda mac: (-counts[mac].total(), mac))
    got = filters(result.scenario)
    assert list(got) == ranked
    assert {mac: set(got[mac]) for mac in got} == {mac: set(counts[mac]) for mac in counts}
    assert [load.frames for load in result.queues] == [counts[mac].total() for mac in ranked]
    assert loads(to_toml(result), "plan") == result.scenario


def mac_of(number: int) -> str:
    return (0x02_00_00_00_00_00 + number).to_bytes(6, "big").hex(":")


def test_beyond_4096_queues_the_least_seen_macs_are_left_out(planned: Planner) -> None:
    frames = [frame(0, ethernet(mac_of(n), length=14)) for n in range(4100)]
    frames += [frame(0, ethernet(mac_of(n), length=14)) for n in range(1, 4097)]
    result = planned(frames)
    adapter = result.scenario.adapter[0]
    assert list(filters(result.scenario)) == [mac_of(n) for n in range(1, 4097)]
    assert adapter.max_queues == 4096
    assert result.default_queue.frames == 4
    assert sum(queue.buffers for queue in adapter.queue) + adapter.default_queue_buffers <= 65_536
    text = to_toml(result)
    assert "4 of the destinations, 4 frames" in text
    assert loads(text, "plan") == result.scenario


@pytest.mark.slow
def test_beyond_65536_filters_the_least_seen_are_left_out(planned: Planner) -> None:
    once = [frame(0, ethernet(mac_of(n), vlan=vid, length=16)) for n in range(17) for vid in range(1, 4095)]
    often = [frame(0, ethernet(mac_of(16), vlan=vid, length=16)) for vid in range(4094, 3000, -1)]
    result = planned(once + often)
    scenario = result.scenario
    got = filters(scenario)
    assert sum(len(tests) for tests in got.values()) == scenario.adapter[0].max_filters == 65_536
    assert set(got[mac_of(16)]) >= set(range(3001, 4095))
    text = to_toml(result)
    assert f"{17 * 4094 - 65_536:,} of the destinations" in text
    assert loads(text, "plan") == scenario


def test_a_bound_on_destinations_holds_and_is_said(planned: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_count, "MAX_DESTINATIONS", 10)
    frames = [frame(0, ethernet(mac_of(n), length=14)) for n in range(30)]
    frames += [frame(0, ethernet(mac_of(29), length=14))]
    result = planned(frames)
    assert next(iter(filters(result.scenario))) == mac_of(29)
    assert len(result.queues) == 10
    assert result.default_queue.frames == 20
    assert "Too many destinations to count at a time: 20 frames" in to_toml(result)


def test_macs_beyond_those_whose_bursts_are_followed_get_their_queues_too(
    planned: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_count, "MAX_FOLLOWED", 4)
    result = planned([frame(n, ethernet(mac_of(n % 30), length=14)) for n in range(300)])
    assert len(result.queues) == 30
    assert all(queue.buffers >= 1 for queue in result.scenario.adapter[0].queue)


def test_buffers_of_long_frames_stay_within_their_memory(planned: Planner) -> None:
    frames = [frame(0, ethernet(mac_of(n % 8), length=14), 65_535) for n in range(8000)]
    adapter = planned(frames).scenario.adapter[0]
    assert adapter.total_buffers * adapter.max_frame_bytes <= plan_placement.MAX_BUFFER_BYTES
    assert min(queue.buffers for queue in adapter.queue) >= 16


def test_queues_are_spread_by_what_their_frames_cost(planned: Planner) -> None:
    frames = [frame(0, ethernet("ff:ff:ff:ff:ff:ff"))] * 500
    frames += [frame(0, ethernet(mac_of(n), length=14), 60) for n in range(40) for _ in range(10 + 7 * n)]
    result = planned(frames)
    model = CpuSpec()
    cycles = [load.frames * (model.cycles_per_frame + 60 * model.cycles_per_byte) for load in result.queues]
    busy = [0.0] * 8
    busy[0] = 500 * (model.cycles_per_frame + 60 * model.cycles_per_byte)
    for queue, cost in zip(result.scenario.adapter[0].queue, cycles, strict=True):
        assert busy[queue.cpu or 0] == min(busy), "queues come costliest first, each to the least loaded"
        busy[queue.cpu or 0] += cost
    assert max(busy) - min(busy) < max(cycles)


def test_a_plan_is_the_same_every_time(planned: Planner) -> None:
    frames = [frame(0, ethernet(mac_of(n * 7 % 50), vlan=n % 3)) for n in range(500)]
    assert to_toml(planned(frames)) == to_toml(planned(frames))


def test_a_host_name_and_processors_given_are_written(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap([frame()]))
    source = CaptureSource(path, adapter=0, link_gbps=10.0)
    text = to_toml(plan(source, Hardware(cpus=3, host_name="hv01", link_gbps=25.0)), "from\n[bad]\ttitle")
    scenario = loads(text, "plan")
    assert (scenario.host.name, scenario.host.cpus) == ("hv01", 3)
    assert scenario.adapter[0].link_gbps == 25.0
    assert text.startswith("# from\\n[bad]\\ttitle\n")


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not here")
@pytest.mark.parametrize(
    "name",
    slow_but(
        ["vlan-packets.pcap", "qinq-8021ad.pcapng"],
        ["many-protocols.pcap", "vlan-packets.pcap", "various-gre.pcap", "pim-assortment.pcap", "nhrp.pcapng",
         "qinq-8021ad.pcapng", "trunk-native-vlan5.pcap"],
    ),
)  # fmt: skip
def test_real_captures_are_planned_as_tshark_counts_them(name: str) -> None:
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    fields = [word for key in ("eth.dst", "vlan.id", "eth.type", "frame.len") for word in ("-e", key)]
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=f", *fields]
    counts: dict[str, Counter[Vlan]] = defaultdict(Counter)
    for row in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        mac, vid, kind, length = row.split("\t")
        if (
            mac
            and not int(mac[:2], 16) & 1
            and any(mac.replace(":", "").strip("0"))
            and int(length) <= 65_535
        ):
            tagged = kind == "0x8100" and int(vid) != 0
            counts[mac][int(vid) if tagged else "untagged"] += 1
    result = plan(CaptureSource(path, adapter=0, link_gbps=10.0))
    got: dict[str, Counter[Vlan]] = defaultdict(Counter)
    for queue, reason in zip(result.scenario.adapter[0].queue, result.reasons, strict=True):
        for one, load in zip(queue.filter, reason.filters, strict=True):
            assert one.vlan is not None
            got[one.mac][one.vlan] += load.frames
    assert got == counts
    assert loads(to_toml(result), "plan") == result.scenario
