"""Rows for programs: every counter of the registry as an attribute, at one reading; and a VM's memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import pytest
import pytest_asyncio

from engine.bus.messages import RequestError, Response
from engine.bus.watcher import Watcher
from engine.ndis import counters
from engine.ndis.outcome import NdisStatus
from engine.service import machine
from engine.service.engine_api import EngineEndedError
from engine.service.rows import (
    CpuRow,
    NoSuchRowError,
    NotReadYetError,
    PortRow,
    QueueCounters,
    QueueRow,
    ReasonsRow,
    Rows,
)
from vmqtui import Engine

SCENARIO = """
[host]
name = "rows"
cpus = 2
[[adapter]]
  [[adapter.queue]]
  vm = "web-01"
  name = "front"
  cpu = 1
  buffers = 64
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:01"
    vlan = 10
  [[adapter.queue]]
  vm = "db-01"
    [[adapter.queue.filter]]
    mac = "00:15:5d:00:00:02"
[[traffic.mix]]
rate_pps = 10_000
  [[traffic.mix.flow]]
  mac = "00:15:5d:00:00:01"
  vlan = 10
  frame_bytes = 100
  [[traffic.mix.flow]]
  kind = "broadcast"
"""
TWO_ADAPTERS = """
[host]
name = "two"
cpus = 1
[[adapter]]
name = "left"
  [[adapter.queue]]
  vm = "web-01"
  [[adapter.queue]]
  vm = "web-01"
[[adapter]]
name = "right"
  [[adapter.queue]]
  vm = "web-02"
  name = "web-01"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine() -> AsyncIterator[Engine]:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.advance(1.0)
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two() -> AsyncIterator[Engine]:
    async with Engine(TWO_ADAPTERS, clock="manual") as engine:
        yield engine


@pytest.mark.parametrize(
    ("row", "registry"),
    [
        (QueueRow, counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY),
        (QueueCounters, counters.QUEUE),
        (CpuRow, counters.CPU + counters.CPU_GAUGES),
        (PortRow, counters.PORT),
        (ReasonsRow, counters.DEFAULT_QUEUE_REASONS),
    ],
)
def test_every_counter_of_the_registry_is_a_typed_attribute(row: type, registry: Any) -> None:
    known = get_type_hints(row)
    for name in counters.names(registry):
        assert known[name] is (bool if name == "down" else int)


async def test_queue_is_found_by_id_vm_and_name(engine: Engine) -> None:
    queue = engine.queue(1)
    assert engine.queue("web-01") == engine.queue("front") == engine.queue(1, "nic0") == queue
    assert (queue.vm, queue.name, queue.cpu, queue.state, queue.generation) == (
        "web-01",
        "front",
        1,
        "running",
        2,
    )
    assert [(one.mac, one.vlan) for one in queue.filters] == [("00:15:5d:00:00:01", 10)]
    assert engine.queue(0).name == "default"


async def test_rows_have_the_counters_of_the_reading(engine: Engine) -> None:
    stats = engine.stats
    assert stats is not None
    columns = stats.adapters["nic0"].queues
    for queue in engine.adapter().queues:
        at = columns["id"].index(queue.queue_id)
        for name in set(columns) - {"id"}:
            assert getattr(queue, name) == columns[name][at]
    adapter = engine.adapter("nic0")
    assert adapter.port.offered_frames == stats.adapters["nic0"].port["offered_frames"]
    assert adapter.port.offered_frames > 9_000
    assert adapter.default_queue.broadcast == engine.queue(0).steered_frames > 0
    assert adapter.freed.steered_frames == 0
    assert engine.queue(1).filters[0].matched_frames == engine.queue(1).steered_frames
    assert adapter.settings.link_gbps == 10.0


@pytest.mark.slow
async def test_busy_is_the_share_of_the_last_interval() -> None:
    async with Engine(SCENARIO, clock="manual", interval_s=0.5) as engine:
        assert engine.cpu(1).busy is None
        await engine.advance(0.5)
        first = engine.cpu(1)
        assert first.busy == pytest.approx(first.busy_cycles / first.budget_cycles)
        await engine.advance(0.5)
        second = engine.cpu(1)
        grown = second.busy_cycles - first.busy_cycles
        assert second.busy == pytest.approx(grown / (second.budget_cycles - first.budget_cycles))
        await engine.advance(0)
        assert engine.cpu(1).busy == second.busy
        assert second.busy is not None
        assert 0 < second.busy < 1
        assert second.queues == 1
        assert not second.down


@pytest.mark.parametrize(
    ("which", "adapter", "sentence"),
    [
        ("web-1", None, 'queue "web-1": there is none ("web-01" fits)'),
        ("mail", None, 'queue "mail": there is none ("default", "web-01" or "db-01" fits)'),
        (7, None, "queue 7: there is none (0, 1 or 2 fits)"),
        (7, "nic0", "queue 7: there is none of nic0 (0, 1 or 2 fits)"),
        (1, "nic1", 'adapter: "nic1" is not an adapter of the host ("nic0" fits)'),
        (True, None, "queue: true is not a queue's id or name, or a VM"),
        (None, None, "queue: nothing is not a queue's id or name, or a VM"),
    ],
)
async def test_unknown_queue_is_a_sentence_with_what_fits(
    engine: Engine, which: Any, adapter: str | None, sentence: str
) -> None:
    with pytest.raises(NoSuchRowError) as caught:
        engine.queue(which, adapter)
    assert str(caught.value) == sentence


async def test_ambiguous_queue_is_a_sentence_with_what_fits(two: Engine) -> None:
    with pytest.raises(NoSuchRowError, match=r'^queue 1: "left" and "right" have one \(adapter= one of them'):
        two.queue(1)
    with pytest.raises(NoSuchRowError, match=r'^queue "web-01": left has several \(the id fits: 1 or 2\)$'):
        two.queue("web-01")
    with pytest.raises(
        NoSuchRowError, match=r'^adapter: the host has 2 adapters \("left" or "right" fits\)$'
    ):
        two.adapter()
    assert two.queue("web-01", "right").vm == "web-02"
    assert two.queue(1, adapter="right").queue_id == 1


async def test_unknown_processor_is_a_sentence(engine: Engine) -> None:
    with pytest.raises(NoSuchRowError, match=r"^CPU 2: the host has none \(0\.\.1 fits\)$"):
        engine.cpu(2)


async def test_a_queue_without_a_reading_is_not_shown_as_zero(engine: Engine) -> None:
    assert engine.config is not None
    rows = Rows(engine.config, None)
    with pytest.raises(NotReadYetError, match=r"^queue 1 \(web-01\) of nic0 came after the newest reading"):
        rows.queue_row(1)


@pytest.mark.slow
async def test_new_queue_is_there_after_its_request() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        answer = await engine.request("allocate_queue", vm="new", cpu=0, buffers=8, name="new", check=True)
        assert engine.queue("new").queue_id == answer.result["queue_id"]
        assert engine.queue("new").steered_frames == 0


async def test_representations_name_the_thing_and_its_state(engine: Engine) -> None:
    assert repr(engine.queue(1)).startswith(
        "<queue 1 'front' of nic0 at 1.000000 s: running, CPU 1, received_"
    )
    assert repr(engine.cpu(1)).startswith("<CPU 1 (0:1) at 1.000000 s: busy ")
    assert repr(engine.adapter()).startswith("<adapter nic0 at 1.000000 s: 3 queues, offered_frames=")
    assert repr(engine).startswith("<Engine 'rows' at 1.000000 s (manual clock): 2 processors, nic0, mqtt://")
    password = engine.url.password
    assert password
    assert password not in repr(engine)


# --- requests ----------------------------------------------------------------------------------------------


async def test_refused_request_raises_with_the_sentence_and_the_status(engine: Engine) -> None:
    response = await engine.request("pause_vm", vm="nobody")
    assert response.code is NdisStatus.INVALID_PARAMETER
    with pytest.raises(
        RequestError, match=r'^pause_vm: vm: "nobody" is not a VM .*INVALID_PARAMETER\)$'
    ) as caught:
        await engine.request("pause_vm", vm="nobody", check=True)
    assert caught.value.code is NdisStatus.INVALID_PARAMETER
    assert caught.value.response.message == response.message
    async with Watcher(engine.url) as watcher:
        with pytest.raises(RequestError) as remote:
            await watcher.request("rows", "pause_vm", {"vm": "nobody"}, check=True)
        assert str(remote.value) == str(caught.value)
        assert (await watcher.request("rows", "ping", check=True)).code is NdisStatus.SUCCESS


@pytest.mark.parametrize(("status", "code"), [("ok", NdisStatus.SUCCESS), ("error", NdisStatus.FAILURE)])
def test_status_of_a_newer_engine_counts_as_success_or_failure(status: Any, code: NdisStatus) -> None:
    assert Response(id="1", status=status, ndis_status="NDIS_STATUS_NEW").code is code


# --- memory ------------------------------------------------------------------------------------------------


async def test_memory_has_the_frames_that_a_paused_vm_holds() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.advance(0.01)
        assert await engine.memory("web-01") == []
        await engine.request("pause_vm", vm="web-01", check=True)
        await engine.advance(0.01)
        held = await engine.memory("web-01")
        assert len(held) == engine.queue("web-01").outstanding > 10
        assert {len(frame) for frame in held} == {100}  # a tag of 4 bytes has been taken out
        assert {frame[:6].hex(":") for frame in held} == {"00:15:5d:00:00:01"}
        assert {frame[12:14] for frame in held} == {b"\x08\x00"}
        sequences = [int.from_bytes(frame[42:50]) for frame in held]
        assert sequences == list(range(sequences[0], sequences[0] + len(held)))
        assert await engine.memory("web-01", "nic0") == held
        with pytest.raises(NoSuchRowError, match=r'^vm "web-1": there is none \("web-01" fits\)$'):
            await engine.memory("web-1")
        with pytest.raises(NoSuchRowError, match=r'^adapter "x": there is none \("nic0" fits\)$'):
            await engine.memory("web-01", "x")


@pytest.mark.slow
async def test_memory_that_is_read_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.request("pause_vm", vm="web-01", check=True)
        await engine.advance(0.01)
        monkeypatch.setattr(machine, "HELD_LIMIT_BYTES", 1518)
        with pytest.raises(
            ValueError, match=r"^memory: web-01 holds buffers of [\d,]+ bytes \(1,518 fit; name"
        ):
            await engine.memory("web-01")


# --- before and after --------------------------------------------------------------------------------------

USES: dict[str, Any] = {
    "queue": lambda engine: engine.queue(1),
    "cpu": lambda engine: engine.cpu(0),
    "adapter": lambda engine: engine.adapter(),
    "url": lambda engine: engine.url,
    "worker_pids": lambda engine: engine.worker_pids,
    "now_s": lambda engine: engine.now_s,
    "request": lambda engine: engine.request("ping"),
    "memory": lambda engine: engine.memory("web-01"),
    "advance": lambda engine: engine.advance(1.0),
}


async def _use(engine: Engine, use: str) -> None:
    used = USES[use](engine)
    if asyncio.iscoroutine(used):
        await used


@pytest.mark.parametrize("use", USES)
async def test_use_before_entry_is_a_sentence(use: str) -> None:
    with pytest.raises(EngineEndedError, match=r"^the engine has not started: enter it first"):
        await _use(Engine(SCENARIO, clock="manual"), use)


@pytest.mark.slow
async def test_use_after_the_end_is_a_sentence() -> None:
    engine = Engine(SCENARIO, clock="manual")
    assert repr(engine) == "<Engine 'rows': has not started>"
    async with engine:
        pass
    assert repr(engine) == "<Engine 'rows': has ended>"
    for use in USES:
        with pytest.raises(EngineEndedError, match=r"^the engine has ended"):
            await _use(engine, use)


@pytest.mark.slow
async def test_an_engine_is_entered_once() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        with pytest.raises(
            EngineEndedError, match=r"^an engine starts once, and this one runs: make another"
        ):
            await engine.__aenter__()
        await engine.advance(0.1)
        assert engine.queue(1).steered_frames > 0
    with pytest.raises(
        EngineEndedError, match=r"^an engine starts once, and this one has ended: make another"
    ):
        await engine.__aenter__()
