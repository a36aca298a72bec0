"""Frames from memory: bytes and scapy packets into a running engine, at a simulated time, without a file."""

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from engine.service.engine_api import EngineEndedError
from engine.service.rows import NoSuchRowError
from tests.traffic.captures import frame, pcap
from vmqtui import Engine

MAC = "00:15:5d:00:00:01"
SCENARIO = f"""
[host]
name = "receive"
cpus = 2
[[adapter]]
name = "nic0"
  [[adapter.queue]]
  vm = "web-01"
  cpu = 1
  buffers = 4
  return_delay_us = 1_000_000
    [[adapter.queue.filter]]
    mac = "{MAC}"
    vlan = 10
[cpu]
moderation_us = 0
"""
TWO = SCENARIO + '[[adapter]]\nname = "nic1"\n'
TRAFFIC = '[[traffic.mix]]\nrate_pps = 1000\n[[traffic.mix.flow]]\nkind = "broadcast"\nframe_bytes = 60\n'
TEAM = """
[host]
name = "teamed"
cpus = 1
[[adapter]]
name = "a"
[[adapter]]
name = "b"
[[team]]
members = ["a", "b"]
[[traffic.mix]]
rate_pps = 1000
[[traffic.mix.flow]]
kind = "broadcast"
"""


def tagged(payload: bytes, vlan: int = 10) -> Any:
    return Ether(dst=MAC, src="02:00:00:00:00:01") / Dot1Q(vlan=vlan) / IP() / UDP() / payload


def untagged(payload: bytes) -> bytes:
    return bytes(Ether(dst=MAC, src="02:00:00:00:00:01") / IP() / UDP() / payload)


async def test_a_vm_has_the_bytes_of_scapy_without_the_tag() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.receive([tagged(b"one"), bytes(tagged(b"two" * 100))])
        await engine.advance(0.1)
        assert await engine.memory("web-01") == [untagged(b"one"), untagged(b"two" * 100)]
        assert engine.queue("web-01").outstanding == 2
        assert engine.queue("web-01").steered_bytes == len(tagged(b"one")) + len(tagged(b"two" * 100))


@pytest.mark.slow
async def test_an_adapter_before_ndis_630_leaves_the_tag_in() -> None:
    scenario = SCENARIO.replace('name = "nic0"', 'name = "nic0"\nndis_version = "6.20"')
    async with Engine(scenario, clock="manual") as engine:
        await engine.receive(tagged(b"one"))
        await engine.advance(0.1)
        assert await engine.memory("web-01") == [bytes(tagged(b"one"))]


async def test_frames_arrive_at_their_time_to_the_ns() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.receive([tagged(b"")] * 2, at=0.5)
        await engine.advance(0.5)
        assert engine.adapter().port.offered_frames == 0
        await engine.advance(ns=1)
        assert engine.adapter().port.offered_frames == 1
        wire_ns = (len(tagged(b"")) + 20) * 8 / 10  # the second one follows at link rate
        await engine.advance(ns=int(wire_ns) - 1)
        assert engine.adapter().port.offered_frames == 1
        await engine.advance(ns=2)
        assert engine.adapter().port.offered_frames == 2
        with pytest.raises(ValueError, match=r"^at: 0\.25 s is past; the simulated time is 0\.500\d+ s$"):
            await engine.receive([b""], at=0.25)


@pytest.mark.slow
async def test_frames_without_a_time_arrive_now_and_drop_where_no_buffer_is_free() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.advance(1.0)
        await engine.receive([tagged(b"%d" % number) for number in range(6)])
        await engine.receive([tagged(b"x", vlan=20), b"\0" * 13, bytes(1519)])
        await engine.advance(0.5)
        queue, port = engine.queue("web-01"), engine.adapter().port
        assert (queue.received_frames, queue.dropped_no_buffer) == (4, 2)
        assert (port.offered_frames, port.runt, port.oversize) == (9, 1, 1)
        assert engine.adapter().default_queue.vlan_mismatch == 1


@pytest.mark.slow
async def test_frames_come_beside_the_traffic_and_a_capture(tmp_path: Path) -> None:
    async with Engine(SCENARIO + TRAFFIC, clock="manual") as engine:
        await engine.receive([tagged(b"")] * 3, at=0.01)
        await engine.advance(1.0)
        assert engine.queue("web-01").steered_frames == 3
        assert engine.adapter().default_queue.broadcast == 1000
    capture = tmp_path / "two.pcap"
    capture.write_bytes(pcap([frame(0, b"\xff" * 60), frame(200_000_000, b"\xff" * 60)]))
    async with Engine(SCENARIO, capture=capture, clock="manual") as engine:
        await engine.receive([tagged(b"")] * 3, at=0.1)
        await engine.receive([tagged(b"")], at=0.6)
        await engine.advance(0.5)
        assert (engine.queue("web-01").steered_frames, engine.queue(0).steered_frames) == (3, 2)
        await engine.advance(0.5)  # the capture has ended
        assert engine.queue("web-01").steered_frames == 4


@pytest.mark.slow
async def test_two_runs_of_one_test_read_the_same() -> None:
    async def run() -> list[Any]:
        async with Engine(SCENARIO + TRAFFIC, clock="manual") as engine:
            for step in range(5):
                await engine.receive([tagged(b"a" * step)] * 100, at=0.1 * step + 0.05)
                await engine.advance(0.1)
            return [engine.adapter(), await engine.memory("web-01")]

    assert await run() == await run()


@pytest.mark.slow
async def test_frames_reach_an_engine_whose_clock_runs() -> None:
    async with Engine(SCENARIO, interval_s=0.02) as engine:
        await engine.receive([tagged(b"one")])
        while not engine.queue("web-01").received_frames:
            await engine.request("ping")
        assert await engine.memory("web-01") == [untagged(b"one")]


async def test_where_frames_cannot_go_is_a_sentence() -> None:
    async with Engine(TWO, clock="manual") as engine:
        with pytest.raises(NoSuchRowError, match=r'^adapter: the host has 2 adapters \("nic0" or "nic1"'):
            await engine.receive([b""])
        with pytest.raises(NoSuchRowError, match=r'^adapter "nic": there is none \("nic'):
            await engine.receive([b""], adapter="nic")
        await engine.receive([bytes(60)], adapter="nic1")
        await engine.advance(0.1)
        assert engine.adapter("nic1").port.offered_frames == 1
        at: Any
        for at in (-1, float("nan"), float("inf"), "1", 10**20):
            with pytest.raises(ValueError, match=r"^at: .* is not a number in 0\.\.315360000$"):
                await engine.receive([b""], at=at)
        frames: Any = 7
        with pytest.raises(ValueError, match=r"^frames: int is no list of frames"):
            await engine.receive(frames)
    async with Engine(TEAM, clock="manual") as engine:
        with pytest.raises(ValueError, match=r"^receive: the traffic of a team feeds the host"):
            await engine.receive([b""], adapter="a")


async def test_an_engine_that_does_not_run_receives_nothing() -> None:
    engine = Engine(SCENARIO)
    with pytest.raises(EngineEndedError, match=r"^the engine has not started"):
        await engine.receive([b""])


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["manual", "fast", "real"])
async def test_the_end_of_frames_from_memory_can_be_awaited(clock: Any) -> None:
    scenario = SCENARIO.replace("return_delay_us = 1_000_000", "return_delay_us = 5000")
    async with Engine(scenario, clock=clock, interval_s=0.02) as engine:
        with pytest.raises(ValueError, match=r"^ended: the engine receives no frames"):
            await engine.ended()
        await engine.receive([tagged(b"")] * 3, at=0.1 if clock == "manual" else None)
        await engine.ended()
        assert engine.queue("web-01").returned_frames == 3


@pytest.mark.slow
async def test_the_end_of_a_capture_comes_after_the_last_frame_from_memory(tmp_path: Path) -> None:
    capture = tmp_path / "one.pcap"
    capture.write_bytes(pcap([frame(0, b"\xff" * 60)]))
    async with Engine(SCENARIO, capture=capture, clock="manual") as engine:
        await engine.receive([tagged(b"")], at=0.5)
        await engine.ended()
        assert engine.queue("web-01").returned_frames == 1
        assert [event.event for event in engine.events].count("capture_ended") == 1
