"""Frames made to meet each rule of CONTRACT 1, in captures of every form, against the ordered scan."""

from pathlib import Path

import pytest

from tests.end_to_end.capture_forms import (
    Packet,
    block,
    enhanced,
    frame,
    interface,
    obsolete,
    packet,
    pcap,
    pcapng,
    section,
    simple,
    write,
)
from tests.end_to_end.checks import planned_as_the_contract_says, replay_document, without
from tests.end_to_end.conftest import Here
from tests.end_to_end.oracle import adapters_of, read

A, B, C, D, E, F = (f"02:00:5e:10:00:0{letter}" for letter in "abcdef")
TAG, SERVICE_TAG = 0x8100, 0x88A8

QUEUES = f"""
[[adapter.port]]
vm = "port only"
mac = "{F.upper().replace(":", "-")}"
vlan = 30
[[adapter.port]]
vm = "lent"
mac = "{C}"
vlan = 5

[[adapter.queue]]     # 1: one VLAN of A
vm = "a10"
cpu = 1
[[adapter.queue.filter]]
mac = "{A}"
vlan = 10

[[adapter.queue]]     # 2: whatever else A gets
vm = "a"
cpu = 1
[[adapter.queue.filter]]
mac = "{A}"

[[adapter.queue]]     # 3: its first filter is shadowed by queue 2
vm = "b"
[[adapter.queue.filter]]
mac = "{A}"
vlan = "untagged"
[[adapter.queue.filter]]
mac = "{B}"
vlan = "untagged"
[[adapter.queue.filter]]
mac = "{B}"
vlan = 20

[[adapter.queue]]     # 4: of no VM
[[adapter.queue.filter]]
mac = "{C}"

[[adapter.queue]]     # 5: the narrow filter is the lower one
vm = "d"
cpu = 1
[[adapter.queue.filter]]
mac = "{D}"
vlan = "untagged"
[[adapter.queue.filter]]
mac = "{D}"

[[adapter.queue]]     # 6: the wide filter is the lower one
vm = "e"
[[adapter.queue.filter]]
mac = "{E}"
[[adapter.queue.filter]]
mac = "{E}"
vlan = "untagged"

[[adapter.queue]]     # 7: without a filter
vm = "none"
"""

SCENARIO = f"""
[host]
cpus = 2
[[adapter]]
name = "nic0"
{QUEUES}
"""


def frames() -> list[bytes]:
    """One or more frames for each rule; all pass the port checks."""
    made = [
        frame(mac, *tags)
        for mac in (A, B, C, D, E, F, "02:00:5e:99:99:99", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
        for tags in (
            (),
            ((TAG, 0),),
            ((TAG, 0xE000),),
            ((TAG, 10),),
            ((TAG, 0xF014),),
            ((TAG, 5),),
            ((TAG, 30),),
            ((TAG, 4095),),
            ((TAG, 20), (TAG, 10)),
            ((SERVICE_TAG, 10),),
            ((SERVICE_TAG, 10), (TAG, 10)),
        )
    ]
    made += [frame("01:00:5e:00:00:fb"), frame("33:33:00:00:00:01", (TAG, 10)), frame("ff:ff:ff:ff:ff:fe")]
    return [*made, frame(A)[:14], frame(A, (TAG, 10))[:16], frame(B, size=1518), frame(B, (TAG, 20), size=64)]


def packets() -> list[Packet]:
    """Frames 5 ms apart, runts and oversize ones, captures that cut or add."""
    made = [packet(k * 5_000_000, each) for k, each in enumerate(frames())]
    end = made[-1].time_ns
    odd = [
        packet(end, b"", 0),
        packet(end, b"", 60),
        packet(end, frame(A)[:13], 13),
        packet(end, frame(A)[:13], 2000),
        packet(end, frame(A, (TAG, 10))[:15], 64),
        packet(end, frame(A)[:14], 1518),
        packet(end, frame(A)[:60], 1519),
        packet(end, frame(A)[:60], 70_000),
        packet(end, frame(A, size=1519), 60),
        packet(end, frame(A, size=1519)),
        packet(end, frame(A), 10),
        packet(end, frame(A), 0),
        packet(end, frame(A, (TAG, 10)), 15),
    ]
    return made + odd


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "rules.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


FORMS = {
    "us-little.pcap": pcap(packets()),
    "us-big.pcap": pcap(packets(), ">"),
    "ns-little.pcap": pcap(packets(), nanoseconds=True),
    "ns-big.pcap": pcap(packets(), ">", nanoseconds=True),
    "little.pcapng": pcapng(packets()),
    "big.pcapng": pcapng(packets(), ">"),
    "with-fcs-length.pcap": pcap(packets(), link_type=0x44000001),
}


def test_each_rule_is_kept_in_each_form_and_the_forms_print_the_same(
    scenario: Path, tmp_path: Path, here: Here
) -> None:
    printed = []
    for name, content in FORMS.items():
        done = here("replay", write(tmp_path / name, content), "--json", "--scenario", scenario)
        assert (done.status, done.err) == (0, ""), name
        replay_document(done.document, adapters_of(SCENARIO), "nic0", read(content))
        printed.append(without(done.document, "wall_seconds", "capture"))
    assert all(each == printed[0] for each in printed)
    [row] = printed[0]["adapters"]
    assert row["queues"][7]["state"] == "paused"
    assert {queue["state"] for queue in row["queues"][:7]} == {"running"}
    assert [queue["name"] for queue in row["queues"]][:4] == ["default", "a10", "a", "b"]


def test_frames_of_a_queue_that_no_port_accepts_are_dropped_by_the_switch_and_returned(
    scenario: Path, tmp_path: Path, here: Here
) -> None:
    content = pcap([packet(k * 10**6, each) for k, each in enumerate(frames())])
    done = here("replay", write(tmp_path / "a.pcap", content), "--json", "--scenario", scenario)
    [row] = done.document["adapters"]
    adapter = adapters_of(SCENARIO)["nic0"]
    unclaimed: dict[int, int] = dict.fromkeys(range(8), 0)
    for each in read(content):
        if not any(port.passes(each) for port in adapter.ports):
            unclaimed[adapter.steer(each)[0]] += 1
    assert {queue["id"]: queue["switch_dropped_frames"] for queue in row["queues"]} == unclaimed
    assert unclaimed[4] > 0
    assert all(queue["returned_frames"] == queue["received_frames"] for queue in row["queues"])


def mixed_pcapng() -> bytes:
    """Three sections of both byte orders; interfaces with their own clocks; blocks to step over."""
    made = iter(frames())
    out = section() + interface(snap=96) + interface(resolution=9, offset_seconds=-100)
    out += block(5, b"\0" * 12) + block(0x0BAD, b"a custom block") + block(4, b"\0\0\0\0")
    out += enhanced(2_000_000, next(made)) + enhanced(102_500_000_001, next(made), of=1)
    out += simple(next(made)) + simple(next(made).ljust(96, b"\0"), 200) + obsolete(3_000_000, next(made))
    out += section(">") + interface(">", resolution=0x80 | 10, offset_seconds=3)
    out += interface(">", resolution=12) + interface(">", resolution=3)
    for tick in (1, 513, 1024, 777):
        out += enhanced(tick, next(made), order=">")
    out += enhanced(5 * 10**12 + 123_456_789_999, next(made), of=1, order=">")
    out += enhanced(5_200, next(made), of=2, order=">")
    out += section() + interface(resolution=0) + enhanced(2**31, next(made)) + interface(resolution=9)
    return out + b"".join(enhanced(2**31 * 10**9 + k, each, of=1) for k, each in enumerate(made))


def test_sections_and_interfaces_each_count_time_their_own_way(
    scenario: Path, tmp_path: Path, here: Here
) -> None:
    content = mixed_pcapng()
    done = here("replay", write(tmp_path / "mixed.pcapng", content), "--json", "--scenario", scenario)
    assert (done.status, done.err) == (0, "")
    replay_document(done.document, adapters_of(SCENARIO), "nic0", read(content))


TIMES_NS = {
    "equal": [7, 7, 7, 7],
    "backward": [5 * 10**9, 4 * 10**9, 10**9, 5 * 10**9 + 100],
    "zero after the first": [10**18, 0, 0, 0],
    "from 1970 to 2076": [0, 0, 106 * 365 * 86_400 * 10**9 + 999_999_999],
    "at the end of unsigned seconds": [(2**32 - 1) * 10**9] * 3,
    "a frame a year": [k * 365 * 86_400 * 10**9 + k for k in range(8)],
}


@pytest.mark.parametrize(
    ("link_gbps", "times"), list(zip(["3.0", "0.01"] * 3, TIMES_NS.values(), strict=True)), ids=list(TIMES_NS)
)
def test_sim_seconds_are_exact_whatever_the_timestamps(
    link_gbps: str, times: list[int], tmp_path: Path, here: Here
) -> None:
    content = pcap([packet(time, frame(A, size=61)) for time in times], nanoseconds=True)
    text = f'[host]\ncpus = 1\n[[adapter]]\nname = "nic0"\nlink_gbps = {link_gbps}\n'
    path = tmp_path / "one.toml"
    path.write_text(text, encoding="utf-8")
    done = here("replay", write(tmp_path / "t.pcap", content), "--json", "--scenario", path)
    assert (done.status, done.err) == (0, "")
    replay_document(done.document, adapters_of(text), "nic0", read(content))


@pytest.mark.slow
def test_many_frames_at_one_instant_queue_at_line_rate_without_rounding_away(
    tmp_path: Path, here: Here
) -> None:
    content = pcap([packet(0, frame(A, size=61))] * 30_000)
    text = '[host]\ncpus = 1\n[[adapter]]\nname = "nic0"\nlink_gbps = 7\n'
    path = tmp_path / "one.toml"
    path.write_text(text, encoding="utf-8")
    done = here("replay", write(tmp_path / "t.pcap", content), "--json", "--scenario", path)
    assert done.status == 0
    replay_document(done.document, adapters_of(text), "nic0", read(content))


def test_a_planned_capture_of_odd_frames_meets_the_contract_and_loads(tmp_path: Path, here: Here) -> None:
    content = pcap(packets())
    capture = write(tmp_path / "odd.pcap", content)
    plan = here("plan", capture)
    assert (plan.status, plan.err) == (0, "")
    planned_as_the_contract_says(plan.out, read(content))
    path = tmp_path / "plan.toml"
    path.write_text(plan.out, encoding="utf-8")
    replayed, planning = (
        here("replay", capture, "--json", "--scenario", path),
        here("replay", capture, "--json"),
    )
    assert replayed.status == planning.status == 0
    replay_document(replayed.document, adapters_of(plan.out), "nic0", read(content))
    assert without(replayed.document, "wall_seconds") == without(planning.document, "wall_seconds")
    assert replayed.document["adapters"][0]["port"]["oversize"] == 1  # 70,000 bytes


@pytest.mark.slow
def test_a_plan_has_at_most_4096_queues_and_the_busiest_macs_get_them(tmp_path: Path, here: Here) -> None:
    macs = [f"02:00:00:00:{k >> 8:02x}:{k & 255:02x}" for k in range(4100)]
    content = pcap([packet(k * 10**6, frame(mac)) for k, mac in enumerate(macs + macs[50:])])
    plan = here("plan", write(tmp_path / "many.pcap", content))
    assert plan.status == 0
    adapter = adapters_of(plan.out)["nic0"]
    assert len(adapter.queue_vms) == 4096
    assert {test.mac for _, test in adapter.filters.values()} >= set(macs[50:])
