"""Control of queues while frames arrive, a million a second: nothing is lost, mixed up or answered twice."""

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from engine.bus.messages import Response
from engine.bus.urls import BrokerUrl
from engine.kernels import layout
from engine.ndis import counters
from engine.scenario.load import loads
from engine.scenario.model import Scenario
from engine.telemetry.stats import known
from tests.faults.brokers import MosquittoProcess
from tests.ndis.table_model import STEPS, WRITTEN
from tests.service.live_clients import (
    CPUS,
    FLOWS,
    PATIENCE_S,
    SHARED,
    VLAN,
    Client,
    Tap,
    mac_of,
)
from tests.service.live_history import HOST, History, LiveModel, Recorder
from tests.service.test_engine import check_identities
from vmqtui import Engine
from vmqtui.pytest_plugin import StartEngine

FRAMES_PER_SECOND: Final = int(os.environ.get("VMQTUI_TEST_LOAD_PPS", "1000000"))
FRAME_BYTES: Final = 60
SEQUENCE: Final = slice(42, 50)  # of a frame without its tag: the first bytes of the UDP payload

T = TypeVar("T")


def under_load(adapter: str, shares: list[float], clock_ghz: float) -> Scenario:
    """A host whose one adapter receives every flow, at 60 bytes and a tag."""
    flows = "\n".join(
        f'[[traffic.mix.flow]]\nmac = "{mac_of(flow)}"\nvlan = {VLAN}\n'
        f"weight = {share}\nframe_bytes = {FRAME_BYTES}"
        for flow, share in enumerate(shares)
    )
    return loads(
        f'[host]\nname = "{HOST}"\ncpus = {CPUS}\n[cpu]\nclock_ghz = {clock_ghz}\n'
        f'[[adapter]]\nname = "nic0"\nmax_frame_bytes = 64\n{adapter}\n'
        f"[traffic]\nseed = 3\n[[traffic.mix]]\nrate_pps = {FRAMES_PER_SECOND}\n{flows}\n",
        "under load",
    )


async def inside(engine: Engine, call: Callable[[], T]) -> T:
    """Do something between two rounds of a running engine."""
    assert engine._live is not None
    return await asyncio.wrap_future(engine._live.submit(call))


async def heard_to_the_end(engine: Engine, recorder: Recorder) -> None:
    """Wait until a reader has every event there was, and a reading after that."""
    assert engine._live is not None
    machine = engine._live.machine
    last, revision, reading = await inside(
        engine, lambda: (machine._event_seq, machine.host.revision, machine._stats_seq)
    )
    wait_for = recorder.watcher.wait_for
    assert await wait_for(lambda: recorder.events != [] and recorder.events[-1].seq >= last, PATIENCE_S)
    assert await wait_for(lambda: recorder.stats[-1].seq > reading, PATIENCE_S)
    assert await wait_for(lambda: revision in recorder.configs, PATIENCE_S)
    seqs = [event.seq for event in recorder.events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def check_readings(recorder: Recorder) -> None:
    """Contract 2 at every reading, and that the load was there all the time."""
    assert len(recorder.stats) > 10
    for stats in recorder.stats:
        check_identities(stats)
        offered = stats.adapters["nic0"].port["offered_frames"]
        assert offered == pytest.approx(stats.sim_time_ns * FRAMES_PER_SECOND / 1e9, rel=0.01, abs=2)


# --- the state machine, several clients at once -----------------------------------------------------

CLIENTS: Final = 4
LIMITS: Final[dict[str, Any]] = {"max_queues": 14, "max_filters": 24, "buffers": 2048}
LOOKAHEAD: Final = (32, 48)
ANSWERS: Final = ("SUCCESS", "PENDING", "INVALID_PARAMETER", "INVALID_LENGTH", "NOT_SUPPORTED", "RESOURCES")


@pytest_asyncio.fixture
async def open_broker(tmp_path: Path) -> AsyncIterator[BrokerUrl]:
    """A broker where one client may hear the answers to another, and ask in its name."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    broker = MosquittoProcess(tmp_path)
    await broker.start()
    yield broker.url
    await broker.kill()


@pytest.mark.slow
async def test_many_clients_at_once_are_each_answered_as_the_tables_have_it(
    vmq_engine: StartEngine, open_broker: BrokerUrl
) -> None:
    adapter = (
        f'ndis_version = "6.20"\nmin_lookahead_bytes = {LOOKAHEAD[0]}\nmax_lookahead_bytes = {LOOKAHEAD[1]}\n'
        f"default_queue_buffers = 256\n" + "\n".join(f"{key} = {value}" for key, value in LIMITS.items())
    )
    scenario = under_load(adapter, [1.0] * FLOWS, clock_ghz=2.6)
    engine = await vmq_engine(scenario, broker=open_broker, interval_s=0.05)
    tap = Tap(engine.url)
    recorders = [Recorder(engine.url) for _ in range(CLIENTS)]
    tap.connection.start()
    try:
        clients = []
        for number, recorder in enumerate(recorders):
            await recorder.watcher.__aenter__()
            assert await recorder.watcher.wait_for(recorder.has_begun, PATIENCE_S)
            clients.append(Client(number, recorder, tap))
        await asyncio.wait_for(tap.connected.wait(), PATIENCE_S)
        await asyncio.gather(*(client.set_up() for client in clients))
        await asyncio.gather(*(client.go_wild() for client in clients))
        for vm in [SHARED, *(f"vm-{flow}" for flow in range(FLOWS))]:
            await clients[0].ask("remove_vm", {"vm": vm})
        for client in clients:
            await client.ask("set_queue_parameters", {"queue_id": 0, "buffers": 65536})
            await client.ask("enum_queues", {})
        await tap.wait_until_heard([(client.name, f"{client.number}-{client.asked}") for client in clients])
        for recorder in recorders:
            await heard_to_the_end(engine, recorder)
    finally:
        await asyncio.gather(*(recorder.watcher.__aexit__(None, None, None) for recorder in recorders))
        await tap.connection.stop()

    tap.check()
    exchanges = [exchange for client in clients for exchange in client.exchanges]
    model = LiveModel(
        cpus=CPUS,
        **LIMITS,
        default_buffers=256,
        old=True,
        vlan_filtering=True,
        min_lookahead=LOOKAHEAD[0],
        max_lookahead=LOOKAHEAD[1],
    )
    history = History(model, recorders[0], exchanges)
    history.check()
    told = Counter(exchange.status for exchange in exchanges)
    assert min(told[each] for each in ANSWERS) > 0, told
    check_readings(recorders[0])
    check_states(history, recorders[0])


def check_states(history: History, recorder: Recorder) -> None:
    """Events tell of every step a queue took, and where it is now."""
    states = {0: "running"}
    for event in recorder.events:
        if event.event in ("queue_state", "queue_freed"):
            assert event.queue_id is not None
            assert event.state is not None
            assert (states.pop(event.queue_id, "undefined"), event.state) in STEPS
            if event.state != "undefined":
                states[event.queue_id] = event.state
    assert states == {queue_id: WRITTEN[queue.state] for queue_id, queue in history.model.queues.items()}


# --- frames in order, whatever is done to their queues ----------------------------------------------

ROUNDS: Final = 40
HOLD_ROUNDS: Final = 10
HELD: Final = (1, 2)  # queues whose VMs are paused, again and again
STEADY: Final = (3, 4, 5, 6, 7, 8)  # never without a filter; they have nearly all of the load
TORN: Final = (9, 10, 11, 12)  # torn down and built again
BUFFERS: Final = {**dict.fromkeys(HELD, 32768), **dict.fromkeys(STEADY, 8192), **dict.fromkeys(TORN, 16384)}
COUNTED: Final = counters.names(counters.QUEUE)


@dataclass(frozen=True)
class Look:
    """A queue between two rounds: its counters and gauges, and the sequence numbers its VM holds."""

    row: dict[str, int]
    held: NDArray[np.int64]

    @property
    def when_freed(self) -> Counter[str]:
        """Its counters when it is gone: what is pending discarded, what is outstanding returned."""
        final = Counter({name: self.row[name] for name in COUNTED})
        final["discarded_frames"] += self.row["pending"]
        final["returned_frames"] += self.row["outstanding"]
        return final


def named(row: NDArray[np.int64]) -> dict[str, int]:
    """A queue's row by the names of its columns."""
    return dict(zip(layout.QUEUE_COLUMNS, row.tolist(), strict=False))


class Order:
    """An engine whose queues are moved, changed and torn down by one client."""

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        assert engine._live is not None
        self.engine = engine
        self.machine = engine._live.machine
        self.recorder = recorder
        self.random = random.Random(7)
        self.freed: Counter[str] = Counter()
        self.seen: dict[int, int] = {}
        self.frames_held = self.moves = self.requests = self.torn_down = self.pending_frees = 0

    async def ok(self, op: str, **params: Any) -> Response:
        self.requests += 1
        answer = await self.recorder.watcher.request(HOST, op, params, timeout=PATIENCE_S)
        assert answer.status == "ok", answer
        return answer

    def look(self, queue_id: int) -> Look:
        """In the loop's thread."""
        plane = self.machine.plane
        frames = np.frombuffer(b"".join(plane.held(0, queue_id)), np.uint8).reshape(-1, FRAME_BYTES)
        sequence = np.ascontiguousarray(frames[:, SEQUENCE]).view(">u8")[:, 0].astype(np.int64)
        return Look(named(plane.read().queues[plane.slot(0, queue_id)]), sequence)

    async def check_order(self, queue_id: int) -> None:
        """What a VM holds follows one another on the wire; it is all that was indicated and not returned."""
        look = await inside(self.engine, lambda: self.look(queue_id))
        held, row = look.held, look.row
        first = row["returned_frames"] if queue_id not in TORN else int(held[0])
        assert len(held) == row["outstanding"] > 0
        assert np.array_equal(held, np.arange(first, first + len(held)))
        assert row["dropped_no_buffer"] == row["discarded_frames"] == row["lost_frames"] == 0
        assert first >= self.seen.get(queue_id, 0)
        self.seen[queue_id] = first + (len(held) if queue_id in TORN else 0)
        self.frames_held += len(held)

    async def move(self, *queue_ids: int) -> None:
        """Move queues to other processors, all at once, and let frames arrive there."""
        self.moves += len(queue_ids)
        cpus = [self.random.randrange(CPUS) for _ in queue_ids]
        await asyncio.gather(
            *(
                self.ok("set_queue_parameters", queue_id=queue_id, cpu=cpu)
                for queue_id, cpu in zip(queue_ids, cpus, strict=True)
            )
        )

        moved_ns = await inside(self.engine, lambda: self.machine.plane.now_ns)
        stats = self.recorder.stats
        assert await self.recorder.watcher.wait_for(lambda: stats[-1].sim_time_ns > moved_ns, PATIENCE_S)

    async def exchange_filters(self, queue_id: int) -> None:
        """Put another filter in place of a queue's one, that takes the same frames."""
        (old,) = (await self.ok("enum_filters", queue_id=queue_id)).result["filters"]
        vlan = None if old["vlan"] == VLAN else VLAN
        await self.ok("set_filter", queue_id=queue_id, mac=old["mac"], vlan=vlan)
        await self.ok("clear_filter", queue_id=queue_id, filter_id=old["filter_id"])

    async def tear_down(self, queue_id: int, how: str) -> None:
        """Pause a queue's VM while it moves about, end the queue, and see what is left of it."""
        vm, flow = f"vm-{queue_id}", queue_id - 1
        self.torn_down += 1
        await self.ok("pause_vm", vm=vm)
        for _ in range(3):
            await self.move(queue_id)
        await self.check_order(queue_id)
        if how == "free_queue":
            (one,) = (await self.ok("enum_filters", queue_id=queue_id)).result["filters"]
            await inside(self.engine, lambda: self.clear(queue_id, one["filter_id"]))
            assert (await self.ok(how, queue_id=queue_id)).ndis_status == "NDIS_STATUS_PENDING"
            await self.ok("resume_vm", vm=vm)
            await self.wait_until_freed(queue_id)
        else:
            await inside(self.engine, lambda: self.end_vm(queue_id, how))
        assert await inside(self.engine, self.read_freed) == self.freed
        queue = {"name": vm, "vm": vm, "cpu": flow % CPUS, "buffers": BUFFERS[queue_id]}
        assert (await self.ok("allocate_queue", **queue)).result == {"queue_id": queue_id}
        await self.ok("set_filter", queue_id=queue_id, mac=mac_of(flow), vlan=VLAN)
        await self.ok("complete_allocation", queue_ids=[queue_id])

    async def wait_until_freed(self, queue_id: int) -> None:
        """Wait for the event that completes the last free."""
        self.pending_frees += 1
        events = self.recorder.events
        assert await self.recorder.watcher.wait_for(
            lambda: len([one for one in events if one.event == "queue_freed"]) == self.torn_down, PATIENCE_S
        )
        assert [one.queue_id for one in events if one.event == "queue_freed"][-1] == queue_id

    def read_freed(self) -> dict[str, int]:
        freed = named(self.machine.plane.read().freed[0])
        return {name: freed[name] for name in COUNTED}

    def clear(self, queue_id: int, filter_id: int) -> None:
        """Clear a queue's last filter: what was pending is discarded, what its VM holds stays its."""
        before = self.look(queue_id)
        self.machine.request("clear_filter", {"queue_id": queue_id, "filter_id": filter_id})
        after = self.look(queue_id)
        assert after.row["discarded_frames"] == before.row["discarded_frames"] + before.row["pending"]
        assert (after.row["pending"], after.row["outstanding"]) == (0, before.row["outstanding"])
        assert np.array_equal(after.held, before.held)
        self.freed.update(before.when_freed)

    def end_vm(self, queue_id: int, how: str) -> None:
        """Remove or migrate a VM: what it holds is returned, its queue's counters are the adapter's."""
        self.freed.update(self.look(queue_id).when_freed)
        self.machine.request(how, {"vm": f"vm-{queue_id}"})


@pytest.mark.slow
async def test_frames_stay_in_order_and_are_all_accounted_for(vmq_engine: StartEngine) -> None:
    queues = [
        f'[[adapter.queue]]\nvm = "vm-{flow + 1}"\ncpu = {flow % CPUS}\nreturn_delay_us = 30_000\n'
        f"buffers = {BUFFERS[flow + 1]}\n"
        f'[[adapter.queue.filter]]\nmac = "{mac_of(flow)}"\nvlan = {VLAN}\n'
        for flow in range(FLOWS)
    ]
    # A paused VM's buffers last for 40 s: a busy machine may take a while until it is resumed.
    shares = [1.0 if flow + 1 in STEADY else 0.005 if flow + 1 in HELD else 0.05 for flow in range(FLOWS)]
    engine = await vmq_engine(under_load("\n".join(queues), shares, clock_ghz=26), interval_s=0.02)
    recorder = Recorder(engine.url)
    async with recorder.watcher:
        assert await recorder.watcher.wait_for(recorder.has_begun, PATIENCE_S)
        order = Order(engine, recorder)
        endings = ["migrate_vm", "free_queue", "remove_vm"]
        for number in range(ROUNDS):
            if number % HOLD_ROUNDS == 0:
                for queue_id in HELD:
                    await order.ok("pause_vm", vm=f"vm-{queue_id}")
            await order.move(*HELD, *order.random.sample([*STEADY, *TORN], 4))
            await order.exchange_filters(order.random.choice(STEADY))
            await order.check_order(order.random.choice(STEADY))
            if number % 4 == 3:
                await order.tear_down(TORN[number // 4 % len(TORN)], endings[number // 4 % len(endings)])
            if number % HOLD_ROUNDS == HOLD_ROUNDS - 1:
                for queue_id in HELD:
                    await order.check_order(queue_id)
                    await order.ok("resume_vm", vm=f"vm-{queue_id}")
        await heard_to_the_end(engine, recorder)
    check_readings(recorder)
    for stats in recorder.stats:
        adapter = stats.adapters["nic0"]
        rows = adapter.queues
        assert not any([*rows["dropped_no_buffer"], adapter.freed["dropped_no_buffer"]])
        assert not any([*rows["lost_frames"], adapter.freed["lost_frames"]])
        cut_off = {q for q, frames in zip(rows["id"], rows["discarded_frames"], strict=True) if frames}
        assert cut_off <= set(TORN)
    assert recorder.stats[-1].adapters["nic0"].freed == order.freed
    check_generations(recorder)


def check_generations(recorder: Recorder) -> None:
    """A queue that is new has a generation higher than any before."""
    seen: dict[int, int] = {}
    for stats in recorder.stats:
        rows = stats.adapters["nic0"].queues
        highest = max(seen, default=0)
        ids, generations = known(rows["id"]), known(rows["generation"])
        for queue_id, generation in zip(ids, generations, strict=True):
            assert seen.get(generation, queue_id) == queue_id
            assert generation in seen or generation > highest
        seen.update(zip(generations, ids, strict=True))
