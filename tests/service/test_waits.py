"""Waiting for an engine: it ends with what was waited for, or with an error that names what was last seen."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.service.engine_api import EVENTS_KEPT, EngineEndedError
from engine.service.machine import Machine
from engine.service.pacing import ClockName
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from tests.service.test_clocks import MAC, SCENARIO, dropped
from tests.traffic.captures import ethernet, frame, pcap
from vmqtui import Engine, WaitTimeoutError
from vmqtui.pytest_plugin import StartEngine

MS = 1_000_000


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """2,000 frames, a millisecond apart."""
    path = tmp_path / "two-seconds.pcap"
    path.write_bytes(pcap([frame(k * MS, ethernet(MAC)) for k in range(2000)], magic=0xA1B23C4D))
    return path


async def test_a_condition_advances_a_manual_clock_until_it_holds(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    await engine.request("pause_vm", vm="web-01")
    frames = await engine.until(lambda: engine.stats and dropped(engine.stats), step_s=0.001)
    assert frames == 10
    assert engine.now_s == 0.011  # 10 frames a millisecond, 100 buffers

    async def is_late() -> bool:
        return engine.now_s >= 0.5

    assert await engine.until(is_late) is True
    assert engine.now_s == pytest.approx(0.501)


async def test_a_condition_that_does_not_hold_is_an_error_with_what_was_last_seen(
    vmq_engine: StartEngine,
) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    await engine.request("pause_vm", vm="web-01")
    with pytest.raises(WaitTimeoutError) as caught:
        await engine.until(lambda: engine.now_s > 100, 0.5)
    assert str(caught.value).startswith("not within 0.5 s of simulated time: engine.now_s > 100; last seen: ")
    assert str(caught.value).endswith(
        "simulated time 0.5 s, reading 52 of revision 2,"
        " last events: vm_paused at 0 s, drops_begin at 0.02 s (queue 1)"
    )
    assert engine.now_s == 0.5


async def test_a_condition_on_the_real_clock_is_checked_as_things_change(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, interval_s=0.05)
    paused = await engine.request("pause_vm", vm="web-01")
    reading = await engine.reading(revision=paused.revision, timeout_s=60)
    assert reading.revision >= paused.revision
    assert await engine.until(lambda: engine.stats and dropped(engine.stats), 60)
    assert (await engine.reading(timeout_s=60)).seq > reading.seq
    with pytest.raises(WaitTimeoutError, match=r"^not within 0\.01 s: a reading of revision 99; last seen: "):
        await engine.reading(revision=99, timeout_s=0.01)


async def test_a_row_that_there_is_not_yet_is_waited_for(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, interval_s=0.05)
    opened = await engine.request("allocate_queue", vm="db-01", cpu=0, buffers=64, name="db", check=True)
    row = await engine.until(lambda: engine.queue("db-01"), 60)
    assert row.queue_id == opened.result["queue_id"]
    with pytest.raises(WaitTimeoutError, match="last seen: queue "):
        await engine.until(lambda: engine.queue("nobody"), 0.01)


async def test_every_event_is_found_from_the_first_on(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    for _ in range(2):
        await engine.request("pause_vm", vm="web-01")
        await engine.request("resume_vm", vm="web-01")
        await engine.advance(0.1)
    first = await engine.event("vm_paused", cause="web-01")
    second = await engine.event("vm_paused", after=first.seq)
    assert [one.event for one in engine.events] == 2 * ["vm_paused", "vm_resumed"]
    assert (first.sim_time_ns, second.sim_time_ns) == (0, 100 * MS)
    assert engine.now_s == pytest.approx(0.2)

    await engine.request("clear_filter", queue_id=1, filter_id=1)
    await engine.request("free_queue", queue_id=1)
    freed = await engine.event("queue_freed", adapter="nic0", queue_id=1, step_s=0.0005)
    assert freed.sim_time_ns <= 200 * MS + 500_000
    with pytest.raises(WaitTimeoutError, match=r"of simulated time: the event queue_freed, queue_id 2; last"):
        await engine.event("queue_freed", queue_id=2, timeout_s=0.1)


async def test_events_that_are_kept_are_bounded_and_an_error_counts_the_others() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        for seq in range(1, EVENTS_KEPT + 4):
            engine._happened(Event(seq=seq, sim_time_ns=0, time_ns=0, event="noise"))
        assert len(engine.events) == EVENTS_KEPT
        with pytest.raises(WaitTimeoutError, match="3 earlier events no longer kept"):
            await engine.event("vm_paused", timeout_s=0)


async def test_the_reading_that_has_a_change_is_taken_at_once_while_time_stands(
    vmq_engine: StartEngine,
) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    await engine.advance(0.1)
    paused = await engine.request("pause_vm", vm="web-01")
    reading = await engine.reading(revision=paused.revision)
    assert (reading.sim_time_ns, reading.revision) == (100 * MS, paused.revision)
    with pytest.raises(
        WaitTimeoutError, match="the manual clock stands still before a reading of revision 9"
    ):
        await engine.reading(revision=99)


@pytest.mark.parametrize("clock", ["fast", "manual"])
async def test_a_capture_has_ended_when_all_frames_are_in_and_returned(
    clock: ClockName, capture: Path, vmq_engine: StartEngine
) -> None:
    engine = await vmq_engine(SCENARIO, capture=capture, clock=clock)
    reading = await engine.ended()
    nic = reading.adapters["nic0"]
    assert nic.port["offered_frames"] == 2000
    assert nic.queues["returned_frames"][1] == 2000
    assert set(nic.queues["pending"]) == set(nic.queues["outstanding"]) == {0}


async def test_a_capture_that_does_not_end_says_what_holds_it(capture: Path, vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, capture=capture, clock="manual")
    with pytest.raises(WaitTimeoutError, match=r"the end of the frames; .*; frames are still to come$"):
        await engine.ended(1.0)
    await engine.request("pause_vm", vm="web-01")
    with pytest.raises(WaitTimeoutError, match='queue 1 of nic0, whose VM "web-01" is paused, holds 100 fr'):
        await engine.ended(5.0)
    await engine.request("resume_vm", vm="web-01")
    await engine.ended(5.0)


async def test_frames_without_an_end_are_not_waited_for(capture: Path, vmq_engine: StartEngine) -> None:
    cases: list[tuple[str, Any, str]] = [
        (SCENARIO, {}, "the scenario's traffic has no end"),
        (SCENARIO.partition("[[traffic")[0], {}, "the engine receives no frames"),
        (SCENARIO, {"capture": capture, "loop": True}, "a looped capture has no end"),
    ]
    for scenario, options, why in cases:
        engine = await vmq_engine(scenario, clock="manual", **options)
        with pytest.raises(ValueError, match=f"ended: {why}"):
            await engine.ended()


async def test_an_engine_that_fails_or_ends_ends_what_waits_at_once() -> None:
    async with Engine(SCENARIO) as engine:
        waiting = asyncio.create_task(engine.until(lambda: False, 600))
        await asyncio.sleep(0)
    with pytest.raises(EngineEndedError, match="the engine has ended"):
        await waiting
    with pytest.raises(EngineEndedError, match="the engine has not started"):
        await Engine(SCENARIO).event("vm_paused")

    async with Engine(SCENARIO) as engine:
        waiting = asyncio.create_task(engine.until(lambda: False, 600))
        assert engine._live is not None
        engine._live.machine.settle = _fail  # type: ignore[method-assign]
        with pytest.raises(EngineEndedError, match="the engine failed: out of luck") as caught:
            await waiting
        assert isinstance(caught.value.__cause__, RuntimeError)


async def test_a_run_to_that_raises_is_named_with_its_error() -> None:
    def wrong(reading: Stats) -> bool:
        raise KeyError("nic7")

    with pytest.raises((RuntimeError, EngineEndedError), match=r"run_to raised KeyError: 'nic7'$"):
        async with Engine(SCENARIO, clock="fast", run_to=wrong) as engine:
            await engine.until(lambda: False)


def _fail() -> None:
    raise RuntimeError("out of luck")


async def test_entering_an_engine_that_fails_before_its_first_reading_raises_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Machine, **options: object) -> None:
        _fail()

    monkeypatch.setattr(Machine, "stats", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        async with Engine(SCENARIO):
            pass
