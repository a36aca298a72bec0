"""How frames for a team come in on its members, against a plain reading of the rules in Python."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.scenario.load import ScenarioError, loads
from engine.scenario.model import Scenario
from engine.service.sources import ChoiceError, capture_source, interface_source, synthetic_source
from engine.traffic.batch import FrameBatch, Source
from engine.traffic.capture import CaptureError
from tests.end_to_end.teams import member
from tests.traffic.captures import ethernet, frame, pcap

NO_LIMIT = 2**62
Got = tuple[int, int, bytes]
"""Adapter, arrival, captured bytes."""


def team(mode: str, members: int = 2, *, rest: str = "", link: float = 10.0) -> Scenario:
    text = '[host]\nname = "lab"\ncpus = 2\n'
    for k in range(members):
        text += f'[[adapter]]\nname = "nic{k}"\nlink_gbps = {link}\n'
        if k == 1:  # VM 3 has its queue, and so its port, on the second member
            text += '[[adapter.queue]]\nvm = "v3"\n[[adapter.queue.filter]]\nmac = "00:15:5d:00:00:03"\n'
    names = ", ".join(f'"nic{k}"' for k in range(members))
    return loads(f'{text}[[team]]\nname = "t"\nmode = "{mode}"\nmembers = [{names}]\n{rest}', "test")


PORTS = {"00:15:5d:00:00:03": 1}


def read(source: Source, frames: int = 64, step_ns: int | None = None, count: int = 10**9) -> list[Got]:
    """Every frame, in small batches, and in steps of time where wanted."""
    room = FrameBatch(
        np.zeros(frames * 1600, np.uint8), np.zeros(frames, np.int64), np.zeros(frames, np.uint32),
        np.zeros(frames, np.uint32), np.zeros(frames, np.int64), np.zeros(frames, np.uint16),
    )  # fmt: skip
    got: list[Got] = []
    until = NO_LIMIT if step_ns is None else step_ns
    while len(got) < count:
        filled = source.fill(room, until)
        for i in range(filled.frames):
            start = int(room.offset[i])
            data = room.data[start : start + int(room.captured[i])].tobytes()
            got.append((int(room.adapter[i]), int(room.arrival_ns[i]), data))
        if filled.next_ns is None:
            break
        if step_ns is not None and filled.next_ns >= until:
            until = max(until + step_ns, filled.next_ns + 1)
    source.close()
    return got[:count]


def flow(k: int, length: int = 100) -> bytes:
    """A frame of some flow: IPv4, IPv6 or neither, tagged or not, to one of eight MACs."""
    macs = bytes.fromhex(f"00155d0000{k % 8:02x}") + bytes.fromhex(f"02005e0000{k % 5:02x}")
    tags = [b"", struct.pack(">HH", 0x8100, 10), struct.pack(">HHHH", 0x88A8, 5, 0x8100, 7)][k % 3]
    packet = [
        b"\x08\x00" + bytes(12) + struct.pack(">II", k % 7, 99),
        b"\x86\xdd" + bytes(8) + struct.pack(">QQQQ", 1, k % 11, 3, 4),
        b"\x08\x06" + bytes(40),
    ][k % 4 % 3]
    return (macs + tags + packet).ljust(length, b"\x55")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bursts of equal timestamps, some that go back, runts, and gaps, one of them of 5 s."""
    frames, now = [], 0
    for k in range(900):
        now += (0, 0, 0, 200, 3_000)[k % 5] + (5_000_000_000 if k == 500 else 0)
        data = flow(k, 60 + k * 37 % 1400) if k % 50 else flow(k)[: 4 + k % 13]
        frames.append(frame(max(0, now - (2_500 if k % 7 == 3 else 0)), data))
    path = tmp_path_factory.mktemp("team") / "flows.pcap"
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    return path


def expected(capture: Path, mode: str, members: int, link: float) -> list[Got]:
    """The rule in Python, from the bytes of the file."""
    octets, at = capture.read_bytes(), 24
    free = [Fraction(0)] * members
    got: list[tuple[Fraction, int, bytes]] = []
    while at < len(octets):
        seconds, ns, captured, wire = struct.unpack_from("<IIII", octets, at)
        data = octets[at + 16 : at + 16 + captured]
        at += 16 + captured
        here = member(data, mode, members, PORTS)
        arrival = max(Fraction(seconds * 10**9 + ns), free[here])
        free[here] = arrival + (wire + 20) * 8 / Fraction(str(link))
        got.append((arrival, here, data))
    got.sort(key=lambda one: (int(one[0]), one[1]))
    return [(here, int(arrival), data) for arrival, here, data in got]


@pytest.mark.parametrize(
    ("mode", "members", "link"), [("sum", 2, 10.0), ("min", 3, 0.7), ("min", 2, 40.0), ("primary", 3, 0.7)]
)
def test_a_capture_is_spread_as_the_rule_says(capture: Path, mode: str, members: int, link: float) -> None:
    scenario = team(mode, members, link=link)
    want = expected(capture, mode, members, link)
    assert {here for here, _, _ in want} == ({0} if mode == "primary" else set(range(members)))
    assert read(capture_source(capture, scenario, "t")) == want
    assert read(capture_source(capture, scenario, "t"), frames=3, step_ns=700) == want


def test_sum_brings_a_vms_frames_in_on_one_member_and_min_on_several(capture: Path) -> None:
    for mode, several in (("sum", False), ("min", True)):
        where: dict[bytes, set[int]] = {}
        for here, _, data in read(capture_source(capture, team(mode), "t")):
            where.setdefault(data[:6], set()).add(here)
        vms = {mac: found for mac, found in where.items() if mac[:3] == b"\x00\x15\x5d" and len(mac) == 6}
        assert any(len(found) > 1 for found in vms.values()) is several
        if mode == "sum":
            assert where[bytes.fromhex("00155d000003")] == {1}


def test_gaps_and_loops_are_the_same_for_every_member(capture: Path) -> None:
    source = capture_source(capture, team("min"), "t", loop=True, shorten_gaps=True)
    got = read(source, count=2000)
    assert [data for _, _, data in sorted(got[:900], key=lambda one: one[1])] != []
    assert sorted(data for _, _, data in got[:900]) == sorted(data for _, _, data in got[900:1800])
    assert got[-1][1] < 4_000_000_000


def test_a_timestamp_that_goes_back_keeps_no_other_member_waiting(tmp_path: Path) -> None:
    """Frames of nic0 at 0 and 900 us, then one of nic1 at 500 us; nic1's next one waits for nic1's wire."""
    to_nic0, to_nic1 = (k for k in range(8) if member(flow(k), "sum", 2, PORTS) == 0), 3
    first, second = next(to_nic0), next(to_nic0)
    stamps = [(0, first), (900_000, second), (500_000, to_nic1), (-7_000, to_nic1)]
    path = tmp_path / "back.pcap"
    path.write_bytes(pcap([frame(10**6 + ns, flow(k)) for ns, k in stamps], magic=0xA1B23C4D))
    got = read(capture_source(path, team("sum"), "t"))
    assert [(here, at) for here, at, _ in got] == [(0, 0), (1, 500_000), (1, 500_096), (0, 900_000)]


@pytest.mark.parametrize("loop", [False, True])
def test_a_member_without_frames_keeps_no_other_waiting(loop: bool, tmp_path: Path) -> None:
    path = tmp_path / "nic1.pcap"
    path.write_bytes(pcap([frame(ns, flow(3)) for ns in (0, 1_000, 2_000)], magic=0xA1B23C4D))
    got = read(capture_source(path, team("sum"), "t", loop=loop), count=300)
    assert len(got) == (300 if loop else 3)
    assert {here for here, _, _ in got} == {1}


MIXES = """
[[traffic.mix]]
adapter = "t"
rate_pps = 50000
pattern = "random"
flow = [
  { mac = "00:15:5d:00:00:03" },
  { mac = "00:15:5d:00:00:04", vlan = 3 },
  { kind = "unknown" },
  { kind = "broadcast" },
]
"""


@pytest.mark.parametrize("mode", ["sum", "min", "primary"])
def test_a_mix_is_spread_as_the_rule_says_and_no_frame_is_lost_or_made(mode: str) -> None:
    spread = synthetic_source(team(mode, rest=MIXES))
    alone = synthetic_source(loads('[host]\nname = "lab"\n[[adapter]]\nname = "t"' + MIXES, "test"))
    assert spread is not None
    assert alone is not None
    got = read(spread, count=3000)
    assert all(here == member(data, mode, 2, PORTS) for here, _, data in got)
    whole = read(alone, count=2900)
    assert {data for _, _, data in whole} <= {data for _, _, data in got}
    assert [at for _, at, _ in got] == sorted(at for _, at, _ in got)


def test_what_is_for_no_team_comes_as_ever() -> None:
    other = '[[adapter]]\nname = "own"\n'
    mixes = (
        MIXES + '[[traffic.mix]]\nadapter = "own"\nrate_pps = 9000\nflow = [{ mac = "00:15:5d:00:00:09" }]\n'
    )
    text = (
        other
        + '[[adapter]]\nname = "a"\n[[adapter]]\nname = "b"\n[[team]]\nname = "t"\nmembers = ["a", "b"]\n'
    )
    source = synthetic_source(loads(text + mixes, "test"))
    assert source is not None
    got = read(source, count=2000)
    own = [at for here, at, _ in got if here == 0]
    assert own == [k * 10**9 // 9000 for k in range(len(own))]
    assert {here for here, _, _ in got} == {0, 1, 2}


def test_a_team_can_be_named(tmp_path: Path) -> None:
    one = tmp_path / "one.pcap"
    one.write_bytes(pcap([frame(0, ethernet())]))
    with pytest.raises(ChoiceError, match=r"one of nic0, nic1, t fits"):
        capture_source(one, team("sum"), None)
    with pytest.raises(CaptureError, match="No such file"):
        capture_source(tmp_path / "none", team("sum"), "t")


def test_a_live_interface_is_the_wire_of_one_member() -> None:
    with pytest.raises(ChoiceError, match=r"t is a team, and .* the wire of one adapter \(nic0, nic1 fits\)"):
        interface_source("eth0", team("sum"), "t")


@pytest.mark.parametrize(
    ("teams", "sentence"),
    [
        (
            '[[team]]\nname = "nic0"\nmembers = ["nic0"]',
            'team[0].name: "nic0" is the name of adapter[0] already',
        ),
        ('[[team]]\nmembers = ["nic7"]', 'team[0].members[0]: "nic7" is not an adapter of this scenario'),
        ('[[team]]\nmembers = ["nic0", "nic0"]', 'team[0].members[1]: "nic0" is in this team already'),
        (
            '[[team]]\nmembers = ["nic0"]\n[[team]]\nname = "u"\nmembers = ["nic0"]',
            'team[1].members[0]: "nic0" is in team[0] already',
        ),
        ("[[team]]\nmembers = []", "team[0].members: an array of 0 is not an array of 1..32 adapters' names"),
        ('[[team]]\nname = "t"', "team[0].members: missing"),
        (
            '[[team]]\nmembers = ["nic0"]\nmode = "max"',
            'team[0].mode: "max" is not one of "sum", "min", "primary"',
        ),
        (
            '[[team]]\nmembers = ["nic0"]\n[[traffic.mix]]\nadapter = "nic0"\nrate_pps = 1\n'
            'flow = [{ kind = "broadcast" }]',
            'traffic.mix[0].adapter: "nic0" is a member of a team ("team0" fits)',
        ),
    ],
)
def test_a_team_that_cannot_be_is_refused_in_a_sentence(teams: str, sentence: str) -> None:
    with pytest.raises(ScenarioError) as error:
        loads(f'[[adapter]]\nname = "nic0"\n{teams}', "lab.toml")
    assert sentence in str(error.value)
