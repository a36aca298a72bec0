"""What a rule finds, and what it leaves alone."""

from typing import Any

import msgspec
import pytest

from engine.advice.evidence import Evidence, Moved, Trace
from engine.advice.finding import Finding
from engine.advice.room import _MOST_DONORS, MARGIN, free_name
from engine.advice.rules import RULES, findings
from engine.advice.thresholds import THRESHOLDS, AdviceThresholds, read_threshold
from engine.advice.verdict import agreed
from engine.advice.window import AdviceWindow
from engine.ndis.operations import decode
from engine.telemetry.config import PortConfig
from engine.view.rates import CounterTable
from tests.advice.lab import changed, evidence
from tests.vmqtui.scripted import make_config, with_queue

VMS = (("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0), ("c", "c", 2, 0))


def rules_of(seen: Evidence, **thresholds: Any) -> list[str]:
    return [one.rule for one in findings(seen, AdviceThresholds(**thresholds))]


def only(seen: Evidence) -> Finding:
    (finding,) = findings(seen)
    return finding


def moved(finding: Finding) -> list[int]:
    """The queues that a fix moves."""
    return [one.params["queue_id"] for one in finding.requests if one.op == "set_queue_parameters"]


def test_a_quiet_host_has_no_findings() -> None:
    assert findings(evidence()) == []


def test_nothing_is_said_of_a_reading_of_another_configuration() -> None:
    seen = evidence(make_config(VMS), loads={1: 1.0}, pps={1: 100_000, 2: 100_000})
    assert rules_of(seen) == ["piled-queues"]
    other = msgspec.structs.replace(seen.config, revision=seen.config.revision + 1)
    assert findings(Evidence(other, seen.stats)) == []


@pytest.mark.parametrize(("load", "found"), [(0.79, []), (0.8, ["piled-queues"]), (1.0, ["piled-queues"])])
def test_a_processor_is_busy_from_the_threshold_on(load: float, found: list[str]) -> None:
    assert rules_of(evidence(make_config(VMS), loads={1: load}, pps={1: 1000, 2: 1000})) == found


def test_a_threshold_is_a_setting() -> None:
    seen = evidence(make_config(VMS), loads={1: 0.85}, pps={1: 1000, 2: 1000})
    assert rules_of(seen) == ["piled-queues"]
    assert rules_of(seen, busy_load=0.9) == []


def test_piled_queues_are_no_finding_where_no_processor_is_idle() -> None:
    everywhere = dict.fromkeys(range(8), 0.9)
    assert rules_of(evidence(make_config(VMS), loads=everywhere, pps={1: 1000, 2: 1000})) == []


def test_the_busiest_queue_stays_and_the_estimate_is_what_it_takes() -> None:
    finding = only(evidence(make_config(VMS), loads={1: 0.9}, pps={1: 20_000, 2: 10_000}))
    assert moved(finding) == [2]
    assert finding.after == pytest.approx(0.6)
    assert finding.estimated


def test_one_queue_with_one_filter_has_no_request_and_says_so() -> None:
    finding = only(evidence(loads={1: 0.95}, pps={1: 300_000}))
    assert (finding.rule, finding.requests) == ("one-queue-one-processor", [])
    assert "VMMQ" in finding.fix
    assert finding.after is None


def test_a_load_that_is_not_told_is_no_finding() -> None:
    seen = evidence(make_config(VMS), loads={1: 1.0}, pps={1: 1000, 2: 1000})
    silent = msgspec.structs.replace(seen.stats, cpus={"id": seen.stats.cpus["id"]})
    assert findings(Evidence(seen.config, silent)) == []


def test_a_vm_without_a_queue_gets_the_lowest_free_id() -> None:
    mac = "00:15:5d:00:10:01"  # a port of app-01
    finding = only(evidence(pairs=[(mac, 10, "no_queue", 5000)]))
    assert finding.rule == "vm-without-queue"
    allocate, set_filter, complete = finding.requests
    assert allocate.params["vm"] == "app-01"
    assert set_filter.params["queue_id"] == 3
    assert complete.params["queue_ids"] == [3]
    assert (set_filter.queue_from, complete.queue_from) == (0, 0)
    assert (finding.after, finding.estimated) == (0, True)  # its filter takes them all


def test_new_queues_of_one_output_are_on_processors_and_called_by_names_of_their_own() -> None:
    macs = ("00:15:5d:00:10:01", "00:15:5d:00:10:02", "00:15:5d:00:10:03")
    config = changed(make_config(VMS), ports=[PortConfig(vm="app-01", mac=mac, vlan=10) for mac in macs])
    seen = evidence(config, pairs=[(mac, 10, "no_queue", 5000) for mac in macs])
    allocations = [one.requests[0].params for one in findings(seen) if one.rule == "vm-without-queue"]
    assert [one["name"] for one in allocations] == ["app-01", "app-01 2", "app-01 3"]
    assert len({one["cpu"] for one in allocations}) == 3


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("new", "new"), ("a", "a 2"), ("B", "B 2"), ("15", "VM 15"), ("-x", "VM -x"), ("", "VM")],
)
def test_a_new_queue_has_a_name_that_is_free_and_no_number(wanted: str, name: str) -> None:
    assert free_name(evidence(make_config(VMS)).adapters[0], wanted) == name


def test_a_queue_for_a_vlan_comes_with_vlan_filtering_where_that_is_off() -> None:
    config = changed(make_config(VMS), vlan_filtering=False)
    finding = only(evidence(config, pairs=[("00:15:5d:00:10:01", 10, "no_queue", 5000)]))
    assert finding.rule == "vm-without-queue"
    ops = [one.op for one in finding.requests]
    assert ops == ["allocate_queue", "set_adapter", "set_filter", "complete_allocation"]
    assert finding.requests[1].params["vlan_filtering"] is True


@pytest.mark.parametrize(
    ("pair", "rule"),
    [
        (("00:15:5d:00:10:01", 10, "no_queue", 5000), "vm-without-queue"),
        (("00:15:5d:00:00:01", 77, "vlan_mismatch", 50), "near-miss-vlan"),
    ],
)
def test_where_all_filters_are_in_use_no_fix_sets_one_and_no_effect_is_told(
    pair: tuple[str, int, str, int], rule: str
) -> None:
    config = make_config(VMS)
    full = changed(config, max_filters=len(config.adapters[0].filters))
    finding = only(evidence(full, pairs=[pair]))
    assert (finding.rule, finding.requests, finding.after) == (rule, [], None)


def test_no_filter_is_proposed_for_the_vlan_that_is_reserved() -> None:
    finding = only(evidence(pairs=[("00:15:5d:00:00:01", 4095, "vlan_mismatch", 50)]))
    assert (finding.rule, finding.requests, finding.commands) == ("near-miss-vlan", [], [])
    assert "802.1Q reserves VLAN 4095" in finding.fix


def test_a_vlan_is_let_in_where_vlan_filtering_is_off_by_turning_it_on_first() -> None:
    config = changed(make_config(VMS), vlan_filtering=False)
    finding = only(evidence(config, pairs=[("00:15:5d:00:00:01", 77, "vlan_mismatch", 50)]))
    assert [one.op for one in finding.requests] == ["set_adapter", "set_filter"]
    for request in finding.requests:
        decode(request.op, request.params)


def test_a_vm_with_few_frames_may_do_without_a_queue() -> None:
    assert findings(evidence(pairs=[("00:15:5d:00:10:01", 10, "no_queue", 999)])) == []


SECOND_PORT = ("00:15:5d:00:10:01", 10, "no_queue", 5000)  # a port of app-01


def test_a_vm_that_has_a_queue_is_told_of_the_port_that_has_no_filter() -> None:
    config = with_queue(changed(make_config(VMS), max_queues=3), 2, vm="app-01")
    for most_queues in (3, 64):  # nobody else's queue is taken for it, and none is allocated
        finding = only(
            evidence(changed(config, max_queues=most_queues), pps={1: 9, 2: 9, 3: 9}, pairs=[SECOND_PORT])
        )
        assert (finding.rule, finding.queue_id) == ("missing-filter", 2)
        assert [one.op for one in finding.requests] == ["set_filter"]


def test_frames_that_a_pair_inherited_in_the_sketch_of_the_default_queue_are_not_its_own() -> None:
    """A rare pair takes the row of another, and its count: nothing is to be said of it for that."""
    seen = evidence(pairs=[("00:15:5d:00:00:01", 77, "vlan_mismatch", 50_000)])
    assert rules_of(seen) == ["near-miss-vlan"]
    stats = seen.stats
    top = stats.adapters["nic0"].default_queue_top
    assert top is not None
    inherited = msgspec.structs.replace(top, error=[49_995])
    adapter = msgspec.structs.replace(stats.adapters["nic0"], default_queue_top=inherited)
    rare = msgspec.structs.replace(stats, adapters={"nic0": adapter})
    assert findings(Evidence(seen.config, rare)) == []
    before = msgspec.structs.replace(stats, sim_time_ns=0)
    assert findings(Evidence(seen.config, rare, before)) == []


DROPS = {"dropped_no_buffer": {1: 500}}


def test_a_full_processor_gives_a_queue_to_one_with_less_to_do_though_none_is_idle() -> None:
    loads = {1: 1.0, **dict.fromkeys((2, 3, 4, 5, 6, 7), 0.4)}
    finding = only(evidence(make_config(VMS), loads=loads, pps={1: 250_000, 2: 120_000}, columns=DROPS))
    assert (finding.rule, finding.severity) == ("full-processor", "bad")
    assert moved(finding) == [2]


def test_where_every_processor_is_full_no_move_is_proposed_and_it_is_said() -> None:
    everywhere = dict.fromkeys(range(8), 1.0)
    finding = only(evidence(make_config(VMS), loads=everywhere, pps={1: 1000, 2: 1000}, columns=DROPS))
    assert (finding.rule, finding.requests) == ("full-processor", [])
    assert "all processors that may serve nic0 are busy: 7" in finding.says


def test_one_queue_that_fills_its_processor_can_not_be_moved_where_none_idles() -> None:
    loads = {1: 1.0, **dict.fromkeys((2, 3, 4, 5, 6, 7), 0.5)}
    config = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 2, 0)), ndis_version="6.60")
    finding = only(evidence(config, loads=loads, pps={1: 400_000}, columns=DROPS))
    assert (finding.rule, finding.requests) == ("full-processor", [])
    assert "Set-VMNetworkAdapter -VMName 'a' -VmmqEnabled $true -VmmqQueuePairs 4" in finding.commands


def test_of_a_default_queue_that_fills_its_processor_it_is_said_with_what() -> None:
    seen = evidence(
        loads={0: 1.0},
        pps={0: 400_000},
        columns={"dropped_no_buffer": {0: 9000}},
        reasons={"broadcast": 390_000, "unknown_unicast": 10_000},
    )
    finding = only(seen)
    assert (finding.rule, finding.requests) == ("full-processor", [])
    assert "most of it with broadcasts" in finding.says


def test_of_queues_beside_a_default_queue_that_fills_the_processor_both_are_said() -> None:
    vms = (("default", None, 0, 0), ("a", "a", 0, 0), ("b", "b", 0, 0))
    seen = evidence(
        make_config(vms),
        loads={0: 1.0},
        pps={0: 400_000, 1: 4000},
        columns={"dropped_no_buffer": {0: 9000, 1: 90}},
        reasons={"broadcast": 400_000},
    )
    assert rules_of(seen) == ["shared-with-default", "full-processor"]


def test_the_line_for_windows_names_the_adapter_whose_queues_move() -> None:
    config = make_config(VMS)
    one, two = config.adapters[0], msgspec.structs.replace(config.adapters[0], name="nic1", queues=[])
    mine = [msgspec.structs.replace(queue, cpu=5) for queue in one.queues if queue.queue_id == 2]
    two = msgspec.structs.replace(two, queues=[one.queues[0], *mine], filters=[])
    one = msgspec.structs.replace(one, queues=one.queues[:2])
    one.queues[1] = msgspec.structs.replace(one.queues[1], cpu=5)
    host = msgspec.structs.replace(config, adapters=[one, two])
    seen = evidence(config, loads={5: 1.0}, pps={1: 200_000, 2: 100_000})
    stats = seen.stats.adapters["nic0"]
    both = msgspec.structs.replace(seen.stats, adapters={"nic0": stats, "nic1": stats})
    (finding,) = [f for f in findings(Evidence(host, both)) if f.rule == "piled-queues"]
    assert {one.params["adapter"] for one in finding.requests} == {"nic1"}
    (line,) = (one for one in finding.commands if one.startswith("Set-"))
    assert line.startswith("Set-NetAdapterVmq -Name 'nic1'")


def test_an_allocation_that_is_under_way_is_not_forgotten() -> None:
    config = with_queue(make_config(VMS), 2, state="allocated")
    for since_ns, found in ((0, ["never-completed"]), (400_000_000, ["never-completed"]), (900_000_000, [])):
        seen = evidence(config, trace=Trace(uncompleted_since={("nic0", 2, 3): since_ns}))
        assert rules_of(seen, uncompleted_s=0.5) == found


def test_the_rate_that_a_paused_queue_misses_is_known_without_an_earlier_reading() -> None:
    config = make_config(VMS)
    filters = [one for one in config.adapters[0].filters if one.queue_id != 2]
    config = with_queue(changed(config, filters=filters), 2, vm="app-01", state="paused")
    (finding,) = (
        one for one in findings(evidence(config, pairs=[SECOND_PORT])) if one.rule == "paused-queue"
    )
    assert finding.value == 5000


def test_with_every_queue_given_out_the_idle_one_goes_to_the_busy_vm() -> None:
    config = changed(make_config(VMS), max_queues=3)
    pair = ("00:15:5d:00:10:01", 10, "no_queue", 5000)
    finding = only(evidence(config, pps={1: 100, 3: 100}, pairs=[pair]))
    assert (finding.rule, finding.queue_id) == ("idle-queue-held", 2)
    assert (finding.after, finding.estimated) == (0, True)
    shows = next(place for place, line in enumerate(finding.commands) if line.startswith("Get-"))
    assert "stop here" in finding.commands[shows - 1]  # its weight is not known
    assert [one.op for one in finding.requests] == [
        "clear_filter",
        "free_queue",
        "allocate_queue",
        "set_filter",
        "complete_allocation",
    ]


def test_a_quiet_queue_is_taken_only_for_a_vm_that_gets_more() -> None:
    config = changed(make_config(VMS), max_queues=3)
    pair = ("00:15:5d:00:10:01", 10, "no_queue", 5000)
    assert rules_of(evidence(config, pps={1: 9000, 2: 4000, 3: 9000}, pairs=[pair])) == [
        "more-vms-than-queues"
    ]
    assert rules_of(evidence(config, pps={1: 9000, 2: 6000, 3: 9000}, pairs=[pair])) == []


def test_too_few_buffers_is_said_only_where_the_processor_has_time() -> None:
    short = {"low_free_buffers": {1: 0}, "dropped_no_buffer": {1: 50}}
    assert rules_of(evidence(loads={1: 0.3}, pps={1: 1000}, columns=short)) == ["too-few-buffers"]
    assert "too-few-buffers" not in rules_of(evidence(loads={1: 0.9}, pps={1: 1000}, columns=short))


def test_a_paused_vm_without_frames_is_nothing_to_say() -> None:
    paused = with_queue(make_config(VMS), 1, vm_paused=True)
    assert rules_of(evidence(paused, pps={1: 0})) == []
    assert rules_of(evidence(paused, pps={1: 500})) == ["vm-paused"]


def test_a_free_is_stuck_only_after_a_while() -> None:
    freeing = with_queue(make_config(VMS), 1, state="freeing")
    key = ("nic0", 1, 2)
    for since_ns, found in ((0, ["free-pending"]), (900_000_000, [])):
        seen = evidence(freeing, trace=Trace(freeing_since={key: since_ns}), columns={"outstanding": {1: 7}})
        assert rules_of(seen, free_pending_s=0.5) == found


def test_moves_count_within_the_time_that_is_looked_at() -> None:
    moves = {("nic0", 1, 2): tuple(Moved(at, 1) for at in (0, 600_000_000, 700_000_000, 800_000_000))}
    seen = evidence(make_config(VMS), trace=Trace(moves=moves))
    assert rules_of(seen, churn_moves=4, churn_s=1) == ["affinity-churn"]
    assert rules_of(seen, churn_moves=4, churn_s=1.0 - 0.5) == []


def test_worst_comes_first() -> None:
    freeing = with_queue(make_config(VMS), 3, state="freeing")
    seen = evidence(freeing, loads={1: 1.0}, pps={1: 1000, 2: 1000})
    assert [one.severity for one in findings(seen)] == ["bad", "warn"]


def test_a_message_lists_so_many_and_counts_the_others() -> None:
    vms = [("default", None, 0, 0), *((f"vm-{n}", f"vm-{n}", 1, 0) for n in range(1, 101))]
    config = make_config(vms)
    queues = [msgspec.structs.replace(one, state="set") for one in config.adapters[0].queues[1:]]
    config = changed(config, queues=[config.adapters[0].queues[0], *queues])
    window, stats = AdviceWindow(), evidence(config).stats
    window.add(config, stats)
    window.add(config, msgspec.structs.replace(stats, seq=stats.seq + 1, sim_time_ns=5 * stats.sim_time_ns))
    message = window.advice()
    assert (len(message.findings), message.more) == (64, 36)


def test_a_fix_moves_so_many_queues_at_once() -> None:
    vms = [("default", None, 0, 0), *((f"vm-{n}", f"vm-{n}", 1, 0) for n in range(1, 301))]
    finding = only(evidence(make_config(vms), loads={1: 1.0}, pps=dict.fromkeys(range(1, 301), 1000)))
    assert len(finding.requests) == 256


def test_requests_of_every_fix_are_ones_that_the_control_plane_reads() -> None:
    short = {"low_free_buffers": {1: 0}}
    config = with_queue(with_queue(make_config(VMS), 2, state="set"), 3, vm_paused=True)
    pairs = [("00:15:5d:00:10:01", 10, "no_queue", 5000), ("00:15:5d:00:00:03", 77, "vlan_mismatch", 50)]
    found = findings(evidence(config, pps={1: 10, 3: 10}, pairs=pairs, columns=short))
    assert {"never-completed", "vm-paused", "vm-without-queue", "near-miss-vlan"} <= {
        one.rule for one in found
    }
    for one in found:
        for request in one.requests:
            decode(request.op, request.params)


def test_rules_are_described_and_name_thresholds_that_exist() -> None:
    known = {one.name for one in THRESHOLDS}
    assert known == {field.name for field in msgspec.structs.fields(AdviceThresholds)}
    for rule in RULES.values():
        assert rule.title
        assert rule.symptom
        assert set(rule.thresholds) <= known
    of_rules = {name for rule in RULES.values() for name in rule.thresholds}
    assert of_rules == known - {"window_s"}  # which is how long any rule's findings are listed


@pytest.mark.parametrize(("name", "value"), [("busy_load", 1.1), ("busy_load", True), ("churn_moves", 2.5)])
def test_a_threshold_that_does_not_fit_says_what_would(name: str, value: float) -> None:
    threshold = next(one for one in THRESHOLDS if one.name == name)
    with pytest.raises(ValueError, match="fits"):
        read_threshold(threshold, value)


def _short(count: int, **columns: dict[int, int]) -> Evidence:
    """So many queues that dropped for want of buffers, on processors that have time."""
    vms = [("default", None, 0, 0), *((f"vm-{n}", f"vm-{n}", n, 0) for n in range(1, count))]
    config = make_config(vms)
    every = dict.fromkeys(range(1, count), 1)
    short = {"low_free_buffers": dict.fromkeys(range(1, count), 0), "dropped_no_buffer": every}
    return evidence(
        changed(config, buffers=1024 + 512 * (count - 1)),
        loads=dict.fromkeys(range(8), 0.1),
        columns={**short, **columns},
    )


def test_the_work_grows_with_the_queues_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the engine's event loop that does it, and each queue looks for buffers that others can spare."""
    reads = 0
    count = CounterTable.count

    def counting(self: CounterTable, name: str, row: int) -> int | None:
        nonlocal reads
        reads += 1
        return count(self, name, row)

    monkeypatch.setattr(CounterTable, "count", counting)
    work = []
    for queues in (100, 400):
        reads = 0
        assert len(findings(_short(queues))) == queues - 1
        work.append(reads)
    assert work[1] < 5 * work[0]


def test_buffers_are_taken_from_so_many_queues_at_once() -> None:
    each = 512 // 20  # more than what counts as short
    with_few = {"low_free_buffers": {1: 0, **dict.fromkeys(range(2, 400), MARGIN + each)}}
    with_few["dropped_no_buffer"] = {1: 5}
    found = [one for one in findings(_short(400, **with_few)) if one.queue_id == 1]
    assert [len(one.requests) for one in found] == [_MOST_DONORS + 1]
    default_spares = 400 - MARGIN
    spared = default_spares + (_MOST_DONORS - 1) * each
    assert found[0].requests[-1].params["buffers"] == 512 + spared


@pytest.mark.parametrize(
    ("delay_us", "cause"),
    [
        (None, "larger than the queue, or the VM keeps their buffers long; "),
        (0, "larger than the queue: its VM returns a buffer at once; "),
        (
            2000,
            "2,000 µs after it got it: 20,000 frames/s keep 40 buffers there, and the queue has 64; bursts",
        ),
        (9000, "keep 180 buffers there, and the queue has 64; the processor"),
    ],
)
def test_the_cause_of_a_shortage_is_what_the_vm_does_with_buffers(delay_us: int | None, cause: str) -> None:
    config = with_queue(make_config(VMS[:2]), 1, buffers=64, return_delay_us=delay_us)
    short = {"low_free_buffers": {1: 0}, "dropped_no_buffer": {1: 50}}
    assert cause in only(evidence(config, loads={1: 0.3}, pps={1: 20_000}, columns=short)).cause


def _buffers_set(finding: Finding) -> list[str]:
    return [one.rpartition(" ")[2] for one in finding.commands if one.startswith("Set-NetAdapterAdvanced")]


def _with_buffers(total: int, **counts: dict[int, int]) -> Evidence:
    """Three queues on an adapter with ``total`` buffers; 1 and 2 have 64 and 128 and dropped frames."""
    config = make_config(VMS[:3])
    for queue_id, buffers in ((0, 512), (1, 64), (2, 128)):
        config = with_queue(config, queue_id, buffers=buffers)
    short = {"low_free_buffers": {1: 0, 2: 0}, "dropped_no_buffer": {1: 50, 2: 90}}
    return evidence(changed(config, buffers=total), loads={1: 0.3, 2: 0.3}, columns={**short, **counts})


def test_two_queues_short_of_buffers_have_each_a_request_and_one_line_with_the_most() -> None:
    first, second = agreed(findings(_with_buffers(9000)))
    assert [one.params for one in (*first.requests, *second.requests)] == [
        {"adapter": "nic0", "queue_id": 2, "buffers": 1024},
        {"adapter": "nic0", "queue_id": 1, "buffers": 512},
    ]
    assert _buffers_set(first) == ["1024"]
    (set_line,) = [one for one in first.commands if one.startswith("Set-")]
    assert second.commands == [
        "# One line is enough for this and another finding (too-few-buffers, queue 2), which has it:",
        f"# {set_line}",
    ]


def test_a_line_never_lowers_the_buffers_that_another_queue_has() -> None:
    seen = _with_buffers(9000, total_buffers={0: 512, 2: 2048}, low_free_buffers={1: 0, 2: 1500})
    (found,) = agreed(findings(seen))
    assert (found.queue_id, found.fix, _buffers_set(found)) == (1, "Give it 512 buffers", ["2048"])


def test_queues_short_of_buffers_share_what_is_left_and_take_from_different_queues() -> None:
    left = 672
    found = agreed(findings(_with_buffers(512 + 64 + 128 + left)))
    assert [[one.params["buffers"] for one in fix.requests] for fix in found] == [
        [512 - (400 - MARGIN), 128 + left * 896 // 1344 + (400 - MARGIN)],
        [64 + left * 448 // 1344],
    ]


def test_for_a_slow_link_with_room_vmq_is_turned_off_and_never_on() -> None:
    (found,) = findings(evidence(changed(make_config(), link_gbps=1.0), pps={1: 100}))
    assert (found.rule, found.severity) == ("vmq-on-slow-link", "note")
    assert "Set-NetAdapterVmq -Name 'nic0' -Enabled $false" in found.commands
    assert not any("$true" in line for line in found.commands if not line.startswith("#"))
    assert found.requests[0].params == {"adapter": "nic0", "vmq": False}


@pytest.mark.parametrize(
    ("windows", "ndis_version", "team_mode", "several"),
    [
        ("2012 R2", "6.60", None, False),
        ("2016", "6.50", None, False),
        ("2016", "6.60", None, True),
        ("2019", "6.80", "sum", True),
        ("2019", "6.80", "min", False),
        (None, "6.30", None, False),
        (None, "6.80", None, True),
    ],
)
def test_a_vm_has_several_queues_from_2016_on_with_such_a_driver_and_without_lbfo(
    windows: str | None, ndis_version: str, team_mode: str | None, several: bool
) -> None:
    team = "Team 1" if team_mode else None
    config = changed(make_config(), ndis_version=ndis_version, team=team, team_mode=team_mode)
    seen = evidence(msgspec.structs.replace(config, windows=windows))
    assert seen.has_multi_queue(seen.adapters[0]) is several
