"""Synthetic traffic: real frames, by scapy's account, when the contract says, from nothing but the seed."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from engine.scenario.load import default_scenario, loads
from engine.scenario.model import Scenario
from engine.traffic.batch import FrameBatch
from engine.traffic.synthetic import SyntheticSource
from tests.slow import examples

NO_LIMIT = 2**62
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Frame:
    content: bytes
    arrival_ns: int
    adapter: int

    @property
    def flow(self) -> int:
        """The flow's number over all mixes, from the source MAC."""
        return int.from_bytes(self.content[8:12], "big")

    @property
    def sequence(self) -> int:
        at = 46 if self.content[12:14] == b"\x81\x00" else 42
        return int.from_bytes(self.content[at : at + 8], "big")


def batch(frames: int, data_bytes: int) -> FrameBatch:
    return FrameBatch(
        data=np.full(data_bytes, 0xEE, np.uint8),
        offset=np.zeros(frames, np.int64),
        captured=np.zeros(frames, np.uint32),
        wire=np.zeros(frames, np.uint32),
        arrival_ns=np.zeros(frames, np.int64),
        adapter=np.zeros(frames, np.uint16),
    )


def read(source: SyntheticSource, into: FrameBatch, until_ns: int = NO_LIMIT) -> list[Frame]:
    """The frames of one fill."""
    count = source.fill(into, until_ns).frames
    assert (into.captured[:count] == into.wire[:count]).all()
    return [
        Frame(
            into.data[into.offset[n] : into.offset[n] + into.captured[n]].tobytes(),
            int(into.arrival_ns[n]),
            int(into.adapter[n]),
        )
        for n in range(count)
    ]


def first(scenario: Scenario, count: int) -> list[Frame]:
    frames = read(SyntheticSource(scenario), batch(count, count * 1600))
    assert len(frames) == count
    return frames


def scenario(*mixes: str, adapters: str = "", seed: int = 1) -> Scenario:
    return loads(
        f"{adapters}\n[traffic]\nseed = {seed}\n" + "".join(f"[[traffic.mix]]\n{mix}\n" for mix in mixes), "t"
    )


def one_flow(rate: str, flow: str = "frame_bytes = 60", adapters: str = "") -> Scenario:
    return scenario(f'{rate}\nflow = [{{ mac = "00:15:5d:00:00:01", {flow} }}]', adapters=adapters)


def reference_arrivals(
    timestamps: list[tuple[int, int]], bytes_of: list[int], link_gbps: Fraction
) -> list[int]:
    """Contract 1, "Time", for the frames of one adapter, exactly."""
    end = Fraction(0)
    arrivals = []
    for (timestamp, _), length in zip(timestamps, bytes_of, strict=True):
        arrival = max(Fraction(timestamp), end)
        end = arrival + (length + 20) * 8 / link_gbps
        arrivals.append(int(arrival))
    return arrivals


TWO_ADAPTERS = """
[[adapter]]
name = "nic0"
link_gbps = 10
[[adapter]]
name = "nic1"
link_gbps = 3
"""


@pytest.mark.slow
def test_frames_are_well_formed_by_scapy() -> None:
    seen: Counter[str] = Counter()
    for frame in first(default_scenario(), 3000):
        parsed = Ether(frame.content)
        tag = parsed.getlayer(Dot1Q)
        assert parsed.type == (0x8100 if tag else 0x0800)
        ip, udp = parsed[IP], parsed[UDP]
        assert len(frame.content) == 14 + (4 if tag else 0) + ip.len
        assert udp.len == ip.len - 20
        assert ip.src != ip.dst
        sums = ip.chksum, udp.chksum
        del ip.chksum, udp.chksum
        again = Ether(bytes(parsed))
        assert (again[IP].chksum, again[UDP].chksum) == sums
        at = len(frame.content) - len(udp.payload)
        assert bytes(udp.payload)[8:] == bytes(k & 0xFF for k in range(at + 8, len(frame.content)))
        assert int(parsed.src[:2], 16) & 3 == 2
        seen[f"{parsed.dst} {tag.vlan if tag else None}"] += 1
    assert seen["00:15:5d:00:00:01 10"] > 500
    assert seen["00:15:5d:00:00:0d None"]
    assert seen["ff:ff:ff:ff:ff:ff 10"]
    assert seen["01:00:5e:00:00:fb 50"]


@pytest.mark.parametrize("size", [60, 61, 64, 65, 127, 1514, 65_531])
@pytest.mark.parametrize("tag", ["", ", vlan = 0", ", vlan = 4094"])
def test_checksums_hold_at_every_size_and_a_tag_adds_four_bytes(size: int, tag: str) -> None:
    source = SyntheticSource(one_flow("rate_pps = 1000", f"frame_bytes = {size}{tag}"))
    for frame in read(source, batch(3, 4 * size + 64)):
        assert len(frame.content) == size + (4 if tag else 0)
        parsed = Ether(frame.content)
        sums = parsed[IP].chksum, parsed[UDP].chksum
        del parsed[IP].chksum, parsed[UDP].chksum
        again = Ether(bytes(parsed))
        assert (again[IP].chksum, again[UDP].chksum) == sums


def test_sequence_numbers_count_each_flow_from_zero() -> None:
    following: Counter[int] = Counter()
    for frame in first(default_scenario(), 5000):
        assert frame.sequence == following[frame.flow]
        following[frame.flow] += 1
    assert len(following) > 15


@pytest.mark.parametrize("pps", ["1", "3", "333333.3333", "1000000", "7777777", "0.001", "0.7"])
def test_steady_frames_never_drift(pps: str) -> None:
    count = 20_000
    frames = first(one_flow(f"rate_pps = {pps}", adapters="[[adapter]]\nlink_gbps = 1000"), count)
    rate = Fraction(pps)
    assert [frame.arrival_ns for frame in frames] == [int(i * SECOND / rate) for i in range(count)]


@pytest.mark.parametrize("gbps", ["10", "2.5", "3", "0.001", "25", "9.95328"])
def test_frames_above_line_rate_follow_each_other_without_rounding(gbps: str) -> None:
    count = 20_000
    frames = first(one_flow("rate_pps = 1_000_000_000", adapters=f"[[adapter]]\nlink_gbps = {gbps}"), count)
    step = 80 * 8 / Fraction(gbps)
    assert [frame.arrival_ns for frame in frames] == [int(i * step) for i in range(count)]


def test_random_frames_stay_in_their_slots_and_fill_them() -> None:
    count, slot = 20_000, 100_000
    frames = first(one_flow('rate_pps = 10_000\npattern = "random"'), count)
    places = np.array([frame.arrival_ns for frame in frames]) - slot * np.arange(count)
    assert places.min() >= 0
    assert places.max() < slot
    shares = np.histogram(places, bins=10, range=(0, slot))[0] / count
    assert np.abs(shares - 0.1).max() < 5 * np.sqrt(0.09 / count)


def test_bursts_are_back_to_back_and_keep_the_rate() -> None:
    frames = first(one_flow('rate_pps = 1000\npattern = "bursts"\nburst_frames = 50'), 500)
    assert [frame.arrival_ns for frame in frames] == [
        burst * 50_000_000 + n * 64 for burst in range(10) for n in range(50)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_adapters_and_mixes_merge_in_order_of_arrival(seed: int) -> None:
    """Held against the contract's rule in exact fractions, sizes taken from the frames."""
    flows = 'flow = [{ mac = "00:15:5d:00:00:01", vlan = 9 }, { kind = "broadcast", frame_bytes = 100 }]'
    rates = [("nic1", Fraction(900_001), 1), ("nic0", Fraction(700_000), 64), ("nic0", Fraction(300_000), 1)]
    made = scenario(
        *(
            f'adapter = "{name}"\nrate_pps = {rate}\npattern = "{"bursts" if burst > 1 else "steady"}"\n'
            f"burst_frames = {burst}\n{flows}"
            for name, rate, burst in rates
        ),
        adapters=TWO_ADAPTERS,
        seed=seed,
    )
    frames = first(made, 30_000)
    # The flows of mix 1 and 2 (nic0) are numbered before those of mix 0 (nic1).
    mix_of_flow = [1, 1, 2, 2, 0, 0]
    sent = [0, 0, 0]
    of_adapter: dict[int, list[tuple[tuple[int, int], int]]] = {0: [], 1: []}
    for frame in frames:
        mix = mix_of_flow[frame.flow]
        name, rate, burst = rates[mix]
        assert frame.adapter == int(name == "nic1")
        timestamp = int((sent[mix] - sent[mix] % burst) * SECOND / rate)
        of_adapter[frame.adapter].append(((timestamp, mix), len(frame.content)))
        sent[mix] += 1
    assert min(sent) > 1000
    expected = []
    for adapter, link in ((0, Fraction(10)), (1, Fraction(3))):
        keys = [key for key, _ in of_adapter[adapter]]
        assert keys == sorted(keys)
        arrivals = reference_arrivals(keys, [length for _, length in of_adapter[adapter]], link)
        expected += [(arrival, adapter) for arrival in arrivals]
    assert [(frame.arrival_ns, frame.adapter) for frame in frames] == sorted(expected)


PARTS = [
    'adapter = "nic0"\nrate_pps = 800_000\npattern = "random"\n'
    'flow = [{ kind = "unknown", weight = 2 }, { mac = "00:15:5d:00:00:01", vlan = 5 }]',
    'adapter = "nic1"\nrate_gbps = 2\npattern = "bursts"\n'
    'flow = [{ mac = "00:15:5d:00:00:02", frame_bytes = 1514 }]',
]
CUTS = st.tuples(st.integers(1, 400), st.integers(1534, 200_000), st.none() | st.integers(0, 400_000))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(CUTS, max_size=6))
def test_how_batches_are_cut_changes_no_frame(cuts: list[tuple[int, int, int | None]]) -> None:
    whole = first(scenario(*PARTS, adapters=TWO_ADAPTERS), 1000)
    source = SyntheticSource(scenario(*PARTS, adapters=TWO_ADAPTERS))
    frames: list[Frame] = []
    now = 0
    for capacity, data_bytes, ahead in cycle([*cuts, (7, 1534, None)]):
        if len(frames) >= len(whole):
            break
        into = batch(capacity, data_bytes)
        until = NO_LIMIT if ahead is None else now + ahead
        filled = source.fill(into, until)
        n = filled.frames
        assert filled.next_ns is not None
        assert (into.arrival_ns[:n] < until).all()
        stored = int(into.captured[:n].sum())
        if n < capacity and stored + 1518 <= data_bytes:
            assert filled.next_ns >= until
        assert (into.data[stored + 64 :] == 0xEE).all()
        for k in range(n):
            content = into.data[into.offset[k] : into.offset[k] + into.captured[k]].tobytes()
            frames.append(Frame(content, int(into.arrival_ns[k]), int(into.adapter[k])))
        now = filled.next_ns
        if len(frames) < len(whole):
            assert whole[len(frames)].arrival_ns == now
    assert frames[: len(whole)] == whole


def test_a_mix_depends_on_its_seed_and_its_place_alone() -> None:
    flows = 'flow = [{ mac = "00:15:5d:00:00:01" }, { mac = "00:15:5d:00:00:02" }]'
    one = f'adapter = "nic0"\nrate_pps = 100_000\npattern = "random"\n{flows}'
    other = f'adapter = "nic1"\nrate_pps = 50_000\n{flows}'
    alone = first(scenario(one, adapters=TWO_ADAPTERS), 500)
    both = [f for f in first(scenario(one, other, adapters=TWO_ADAPTERS), 1000) if f.adapter == 0][:500]
    assert both == alone
    assert first(scenario(one, adapters=TWO_ADAPTERS), 500) == alone
    assert first(scenario(one, adapters=TWO_ADAPTERS, seed=2), 500) != alone
    second = f'adapter = "nic0"\nrate_pps = 100_000\npattern = "random"\n{flows}'
    twins = first(scenario(one, second, adapters=TWO_ADAPTERS), 1000)
    assert [f.flow for f in twins if f.flow < 2][:300] != [f.flow - 2 for f in twins if f.flow >= 2][:300]


def test_flows_and_imix_sizes_come_by_their_weights() -> None:
    made = scenario(
        'rate_pps = 1e6\nflow = [{ mac = "00:15:5d:00:00:01", weight = 5.5 },'
        ' { mac = "00:15:5d:00:00:02", weight = 0.5, frame_bytes = 80 }, { kind = "broadcast", weight = 4 }]'
    )
    into, count = batch(200_000, 200_000 * 400), 200_000
    assert SyntheticSource(made).fill(into, NO_LIMIT).frames == count
    kinds = Counter(zip(into.data[into.offset + 11].tolist(), into.captured.tolist(), strict=True))
    expected = {(1, 80): 0.05}
    for flow, share in ((0, 0.55), (2, 0.4)):
        expected |= {(flow, 60): share * 7 / 12, (flow, 590): share * 4 / 12, (flow, 1514): share / 12}
    assert set(kinds) == set(expected)
    for kind, share in expected.items():
        assert abs(kinds[kind] / count - share) < 5 * np.sqrt(share * (1 - share) / count)


@pytest.mark.slow
def test_bit_rate_is_of_frames_without_overhead() -> None:
    made = scenario('rate_gbps = 2\nflow = [{ mac = "00:15:5d:00:00:01", vlan = 7 }]')
    into = batch(800_000, 800_000 * 400)
    filled = SyntheticSource(made).fill(into, SECOND)
    assert filled.next_ns is not None
    assert filled.next_ns >= SECOND
    assert int(into.wire[: filled.frames].sum()) * 8 == pytest.approx(2e9, rel=0.005)


def test_unknown_addresses_are_many_and_nobody_has_them() -> None:
    taken = "0a:76:00:00:00:33"
    made = loads(
        f'[[adapter]]\n[[adapter.queue]]\n[[adapter.queue.filter]]\nmac = "{taken}"\n'
        '[[traffic.mix]]\nrate_pps = 1e6\nflow = [{ kind = "unknown" }]',
        "t",
    )
    addresses = {frame.content[:6] for frame in first(made, 5000)}
    assert len(addresses) == 256
    assert bytes.fromhex(taken.replace(":", "")) not in addresses
    assert {address[0] & 3 for address in addresses} == {2}


def test_without_a_mix_the_source_has_ended() -> None:
    source = SyntheticSource(loads("[traffic]", "t"))
    filled = source.fill(batch(4, 4096), NO_LIMIT)
    assert (filled.frames, filled.next_ns) == (0, None)
    assert source.skipped_ns == 0


def test_a_batch_too_small_for_any_frame_is_an_error() -> None:
    source = SyntheticSource(one_flow("rate_pps = 1000", "frame_bytes = 200"))
    with pytest.raises(ValueError, match="a batch of 199 bytes has no room for the next frame"):
        source.fill(batch(4, 199), NO_LIMIT)
    assert source.fill(batch(4, 200), NO_LIMIT).frames == 1
