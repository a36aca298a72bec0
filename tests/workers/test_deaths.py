"""What becomes of workers that die or hang, one moment after the other (contract 2, its last paragraph)."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import psutil
import pytest

from engine.dataplane.plane import AdapterNeeds, Plane
from engine.kernels import layout
from engine.kernels.layout import BUFFER, CPU, NEVER_NS, PORT, Q
from engine.ndis import counters
from engine.ndis.effects import MoveQueue, OpenQueue, SetBuffers
from engine.ndis.steering import SteeringRows
from engine.scenario.model import AdapterSpec, CpuSpec, HostSpec, Scenario
from engine.traffic.batch import Filled, FrameBatch
from engine.workers.conductor import Conductor
from engine.workers.pool import WorkerDiedError, WorkerPool
from engine.workers.rounds import Part, Rounds
from tests.workers.killer import Killer, When

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are stopped by signals")

FILTERS = 30_000
"""Of queue 1: enough that what a worker says of them does not fit into a pipe."""
OTHER = FILTERS + 1  # the filter of queue 2
BUFFERS = 64
DELAY_NS = 20_000


@contextmanager
def two_queues(deadline_s: float | None = None) -> Iterator[Rounds]:
    """Queue 1 of processor 1, of a VM that returns late, and queue 2 of processor 0; queue 0 is there too."""
    adapter = AdapterSpec(max_queues=2, max_filters=OTHER, buffers=3 * BUFFERS)
    scenario = Scenario(host=HostSpec(cpus=2), adapter=[adapter], cpu=CpuSpec(clock_ghz=10, moderation_us=1))
    plane = Plane(scenario, [AdapterNeeds(2 * OTHER, 1)])
    try:
        rounds = Rounds(plane, deadline_s)
    except BaseException:
        plane.close()
        raise
    try:
        for queue_id, cpu, vm in ((0, 0, None), (1, 1, 0), (2, 0, None)):
            plane.carry_out(OpenQueue(0, queue_id, 1, cpu, DELAY_NS if queue_id == 1 else 0, vm, 1518))
            plane.carry_out(SetBuffers(0, queue_id, BUFFERS))
        ids = np.arange(1, OTHER + 1, dtype=np.int32)
        none = np.full(OTHER, layout.NONE, np.int32)
        key = (np.uint64(0x0200_0000_0000) + ids.astype(np.uint64)) << np.uint64(16)
        queue = np.where(ids == OTHER, 2, 1).astype(np.int32)
        plane.write_steering(0, SteeringRows(key, queue, ids, none, none + 1))
        yield rounds
    finally:
        rounds.close()
        plane.close()


def write(batch: FrameBatch, filters: list[int], start_ns: int, gap_ns: int) -> None:
    """Frames of 60 bytes, one to each of these filters; to filter 0: a runt."""
    count = len(filters)
    octets = batch.data[: 64 * count].reshape(count, 64)
    octets[:] = 0
    octets[:, 0] = 2
    octets[:, 2:6] = np.array(filters, ">u4").view(np.uint8).reshape(count, 4)
    batch.offset[:count] = np.arange(count) * 64
    batch.captured[:count] = np.where(np.array(filters) > 0, 60, 6)
    batch.wire[:count] = 60
    batch.arrival_ns[:count] = start_ns + np.arange(count) * gap_ns
    batch.adapter[:count] = 0


class Pieces:
    """A source of given batches, a frame every 100 ns."""

    skipped_ns = 0

    def __init__(self, pieces: list[list[int]]) -> None:
        self._left = pieces
        self._now_ns = 0

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        piece = self._left.pop(0) if self._left else []
        write(batch, piece, self._now_ns, 100)
        self._now_ns += 100 * len(piece)
        return Filled(len(piece), self._now_ns if self._left else None)

    def close(self) -> None:
        pass


def queue(rounds: Rounds, queue_id: int) -> dict[str, int]:
    """The counters and gauges of a queue, which hold the identities."""
    row = rounds.plane.read().queues[queue_id].tolist()
    names = counters.names(counters.QUEUE + counters.QUEUE_GAUGES)
    of = {name: row[layout.QUEUE_COLUMNS.index(name)] for name in names}
    assert of["steered_frames"] == of["received_frames"] + of["dropped_no_buffer"]
    ended = of["indicated_frames"] + of["discarded_frames"] + of["lost_frames"]
    assert of["received_frames"] == ended + of["pending"]
    assert of["indicated_frames"] == of["returned_frames"] + of["outstanding"]
    assert of["total_buffers"] == of["free_buffers"] + of["pending"] + of["outstanding"] == BUFFERS
    return of


def lost(rounds: Rounds) -> list[tuple[int, int]]:
    """(processor, frames) of each death."""
    return [(one.cpu, one.lost_frames) for one in rounds.incidents if one.kind == "worker_died"]


def test_all_that_a_worker_did_in_a_round_is_undone_when_it_dies_before_it_has_said_so() -> None:
    with two_queues() as rounds:
        plane = rounds.plane
        write(plane.batches[0], [1] * 10 + [OTHER] * 10, 0, 10)
        rounds.begin(Part(0, 20), 10_000)
        rounds.end()
        assert (queue(rounds, 1)["outstanding"], queue(rounds, 2)["returned_frames"]) == (10, 10)
        write(plane.batches[1], [*range(1, FILTERS + 1), *[OTHER] * 10], 10_000, 10)
        rounds.begin(Part(1, FILTERS + 10), 325_000)  # its VM holds some that it indicated
        assert rounds._pool._pipes[1].poll(30)  # it has served, and says so, but that does not fit
        process = rounds._pool._processes[1]
        process.kill()
        wait([process.sentinel])  # else it may send the rest while this reads the beginning
        rounds.end()
        assert lost(rounds) == [(1, FILTERS)]
        one, two = queue(rounds, 1), queue(rounds, 2)
        assert (one["steered_frames"], one["lost_frames"]) == (FILTERS + 10, FILTERS)
        assert (one["outstanding"], one["returned_frames"], one["free_buffers"]) == (10, 0, BUFFERS - 10)
        assert (two["returned_frames"], two["lost_frames"]) == (20, 0)
        assert plane.matched[1:].tolist() == [11, *[1] * (FILTERS - 1), 20]
        held = [int(plane.views.buffer_rows[buffer, BUFFER.due_ns]) for buffer in outstanding(plane, 1)]
        assert held == sorted(held)
        assert len(held) == 10
        write(plane.batches[2], [5] * 3, 1_000_000, 10)
        rounds.begin(Part(2, 3), NEVER_NS)
        rounds.end()
        assert queue(rounds, 1)["returned_frames"] == 13
        assert plane.next_event_ns == NEVER_NS


def outstanding(plane: Plane, slot: int) -> list[int]:
    """The buffers a queue's VM holds, in order."""
    found = []
    buffer = int(plane.row(slot)[Q.outstanding_head])
    while buffer != layout.NONE:
        found.append(buffer)
        buffer = int(plane.views.buffer_rows[buffer, BUFFER.next])
    return found


def test_what_was_steered_ahead_with_the_help_of_a_worker_that_dies_is_steered_again() -> None:
    ahead = [0, 1, OTHER] * layout.BLOCK_FRAMES  # enough for blocks each
    with two_queues() as rounds:
        plane, killer = rounds.plane, Killer(rounds, {1})
        write(plane.batches[0], [OTHER] * 10, 0, 10)
        write(plane.batches[1], ahead, 10_000, 100)
        with killer.lurking():
            rounds.begin(Part(0, 10), 10_000, Part(1, len(ahead)))
            rounds.end()
        assert (killer.hit, killer.served) == ({1}, set())
        # The others are not served yet.
        assert plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [10, 0]
        rounds.begin(Part(1, len(ahead)), NEVER_NS)
        rounds.end()
        assert lost(rounds) == [(1, 0)]
        assert plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [10 + len(ahead), len(ahead) // 3]
        assert queue(rounds, 1)["steered_frames"] == len(ahead) // 3
        assert queue(rounds, 2)["steered_frames"] == 10 + len(ahead) // 3


def test_what_a_worker_steered_that_dies_while_it_serves_is_steered_again() -> None:
    ahead = [0, 1, OTHER] * layout.BLOCK_FRAMES
    with two_queues() as rounds:
        plane, killer = rounds.plane, Killer(rounds)
        write(plane.batches[0], [1] * 10 + [OTHER] * 10, 0, 10)
        write(plane.batches[1], ahead, 10_000, 100)
        rounds.begin(Part(2, 0), 0)
        rounds.end()
        killer.victims = {0, 1}  # processor 0 steers batch 0 first, and dies in that; 1 dies serving
        with killer.lurking():
            rounds.begin(Part(0, 20), 10_000, Part(1, len(ahead)))
            rounds.end()
        assert (killer.hit, killer.served) == ({0, 1}, {1})
        rounds.begin(Part(1, len(ahead)), NEVER_NS)
        rounds.end()
        assert lost(rounds) == [(0, 0), (1, 10)]
        assert plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [20 + len(ahead), len(ahead) // 3]
        assert (
            queue(rounds, 1)["steered_frames"] == queue(rounds, 2)["steered_frames"] == 10 + len(ahead) // 3
        )
        assert (queue(rounds, 1)["lost_frames"], queue(rounds, 2)["lost_frames"]) == (10, 0)


@contextmanager
def two_under_way(rounds: Rounds, between: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Ten frames for each queue in either round; called before and after the second order."""
    parts = [Part(number, 20) for number in range(2)]
    for part in parts:
        write(rounds.plane.batches[part.batch], [1] * 10 + [OTHER] * 10, 10_000 * part.batch, 10)
        rounds.steer(part)
        rounds.end()
    rounds.begin(parts[0], 10_000)
    between()
    rounds.begin(parts[1], NEVER_NS)
    after()
    yield
    rounds.end()
    rounds.end()
    while rounds.plane.next_event_ns < NEVER_NS:
        rounds.begin(Part(2, 0), NEVER_NS)
        rounds.end()
    assert queue(rounds, 1)["steered_frames"] == queue(rounds, 2)["returned_frames"] == 20
    assert rounds.plane.matched[[1, OTHER]].tolist() == [20, 20]


def test_a_worker_that_dies_with_two_orders_leaves_the_second_to_its_successor() -> None:
    with two_queues() as rounds:
        killer = Killer(rounds)
        killer.stop(1)
        with two_under_way(rounds, lambda: None, lambda: killer.kill(1)):
            assert rounds.under_way == 2
        assert lost(rounds) == [(1, 10)]
        assert queue(rounds, 1)["returned_frames"] == 10


@pytest.mark.parametrize("when", ["before the second order", "with it"])
def test_what_a_worker_did_in_the_first_of_two_rounds_stands_when_it_dies_in_the_second(when: str) -> None:
    with two_queues() as rounds:
        killer = Killer(rounds)

        def wait_for_reply() -> None:
            assert rounds._pool._pipes[1].poll(30)
            killer.stop(1)
            if when == "before the second order":
                killer.kill(1)

        with two_under_way(rounds, wait_for_reply, lambda: killer.kill(1)):
            pass
        of = queue(rounds, 1)
        assert of["outstanding"] == 0
        # Its VM gives back in the end what it held when the worker died.
        assert lost(rounds) == [(1, 10 if when == "with it" else 0)]
        assert of["returned_frames"] == 20 - of["lost_frames"]


def overlapping(dies: bool) -> tuple[dict[str, int], dict[str, int], int]:
    """What two queues count over rounds that overlap; and the frames that the deaths of a worker took."""
    with two_queues() as rounds:
        killer, found, overlaps = Killer(rounds), 0, []

        def after_round() -> None:
            nonlocal found
            overlaps.append(rounds.under_way)
            rounds.restarts.forgive()
            while rounds.incidents:
                found += rounds.incidents.popleft().lost_frames
            if dies and len(overlaps) % 5 == 3:
                killer.victims = {1}

        with killer.lurking():
            Conductor(rounds, Pieces([[1, OTHER] * 10 for _ in range(40)])).run_to_end(after_round)
        assert sum(overlaps) > 10
        assert killer.hit == ({1} if dies else set())
        assert rounds.plane.port[0, PORT.offered_frames] == 800
        return queue(rounds, 1), queue(rounds, 2), found


def test_deaths_while_rounds_overlap_cost_what_is_counted_and_nothing_of_other_processors() -> None:
    one, two, found = overlapping(dies=True)
    _, undisturbed, _ = overlapping(dies=False)
    assert two == undisturbed
    assert one["steered_frames"] == 400
    assert found == one["lost_frames"] > 0
    assert one["returned_frames"] == one["received_frames"] - found


def test_a_batch_filled_again_is_steered_again_however_alike_it_is() -> None:
    with two_queues() as rounds:
        for start_ns, filters in ((0, [1, 1, 0]), (1_000_000, [OTHER, 0, 0])):
            write(rounds.plane.batches[0], filters, start_ns, 10)
            rounds.begin(Part(0, 3), start_ns + 500_000)
            rounds.end()
        assert rounds.plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [6, 3]
        assert [queue(rounds, number)["steered_frames"] for number in (1, 2)] == [2, 1]


@pytest.mark.parametrize("second", ["lives", "dies too"])
@pytest.mark.parametrize("horizon_ns", [1_600, 50_000], ids=["goes on", "ends"])
@pytest.mark.parametrize("when", ["found dead", "handed an order", "idle"])
def test_a_dpc_indicates_nothing_once_its_queue_moved_to_a_worker_that_dies(
    when: When, horizon_ns: int, second: str
) -> None:
    with two_queues() as rounds:
        plane, killer = rounds.plane, Killer(rounds)
        write(plane.batches[0], [1] * 10, 0, 10)
        rounds.begin(Part(0, 10), 1_500)
        rounds.end()
        assert plane.row(1)[[Q.dpc_cpu, Q.dpc_frames]].tolist() == [1, 10]
        plane.carry_out(MoveQueue(0, 1, 0))
        write(plane.batches[1], [1, OTHER], 1_500, 10)
        rounds.begin(Part(2, 0), 1_500, Part(1, 2))
        rounds.end()
        if when == "handed an order":
            killer.victims = {0}
        else:
            killer.kill(0)
        if when == "idle":
            rounds.replace_dead()
        if second == "dies too":
            killer.victims |= {1}
        with killer.lurking():
            rounds.begin(Part(1, 2), horizon_ns)
            rounds.end()
        handed_out = when == "handed an order"
        assert queue(rounds, 1)["lost_frames"] == 10 + handed_out
        assert queue(rounds, 1)["steered_frames"] == 11
        with killer.lurking():
            while plane.next_event_ns < NEVER_NS:
                rounds.begin(Part(2, 0), NEVER_NS)
                rounds.end()
        assert killer.victims == set()
        assert queue(rounds, 1)["returned_frames"] == 1 - handed_out
        by_cpu = plane.read().cpus
        assert by_cpu[:, CPU.indicated_frames].tolist() == [0 if handed_out else 2, 0]
        assert by_cpu[1, CPU.busy_cycles] > 0  # it was spent all the same


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_at_its_deadline_and_replaced() -> None:
    with two_queues(deadline_s=3.0) as rounds:
        write(rounds.plane.batches[0], [1] * 10 + [OTHER] * 10, 0, 10)
        hung = rounds.worker_pids[1]
        Killer(rounds).stop(1)
        rounds.begin(Part(0, 20), NEVER_NS)
        rounds.end()
        assert lost(rounds) == [(1, 10)]
        cause = "the worker of CPU 1 hung for 3 s and was killed; 10 frames are lost with it"
        assert rounds.incidents[0].cause == cause
        assert rounds.worker_pids[1] != hung
        assert (queue(rounds, 1)["lost_frames"], queue(rounds, 2)["returned_frames"]) == (10, 10)


def test_a_replay_whose_worker_dies_in_the_last_round_still_gets_every_buffer_back() -> None:
    with two_queues() as rounds:
        rounds.held_apart = True
        killer = Killer(rounds)
        conductor = Conductor(rounds, Pieces([[1] * 20 + [0] * 150, [1] * 5 + [OTHER] * 5]))
        after: list[int] = []

        def after_round() -> None:
            after.append(queue(rounds, 1)["outstanding"] + queue(rounds, 1)["pending"])
            killer.victims = {1} - killer.hit

        with killer.lurking():
            conductor.run_to_end(after_round)
        assert killer.served == {1}
        one, two = queue(rounds, 1), queue(rounds, 2)
        assert (one["pending"], one["outstanding"], one["free_buffers"]) == (0, 0, BUFFERS)
        assert one["steered_frames"] == one["returned_frames"] + one["lost_frames"] == 25
        assert one["returned_frames"] == 20
        assert lost(rounds) == [(1, one["lost_frames"])]
        assert two["returned_frames"] == 5
        # A round more than there are batches: it got them back.
        assert after == [20, 20, 0]


@pytest.mark.parametrize(
    "pieces",
    [[[1]], [[1] * 300, [OTHER] * 200], [[1] * 300, []], [[]], [[1] * 32_768, [OTHER] * 32_768, [0], []]],
    ids=["one", "ends with frames", "ends without", "none", "full"],
)
def test_every_frame_of_a_source_is_received_however_it_ends(pieces: list[list[int]]) -> None:
    wanted = sum(len(piece) for piece in pieces)
    with two_queues() as rounds:
        conductor = Conductor(rounds, Pieces(list(pieces)))
        times: list[int] = []
        conductor.run_to_end(lambda: times.append(rounds.plane.now_ns))
        assert rounds.plane.port[0, PORT.offered_frames] == wanted
        assert times == sorted(times)
        assert queue(rounds, 1)["outstanding"] == queue(rounds, 1)["pending"] == 0


def left_over(before: set[int], block: str) -> list[str]:
    """What is left of some rounds: processes, threads, shared memory."""
    found = [f"process {pid}" for pid in before if psutil.pid_exists(pid)]
    found += [thread.name for thread in threading.enumerate() if thread.name.startswith("vmq-")]
    try:
        memory = shared_memory.SharedMemory(block)
    except FileNotFoundError:
        return found
    memory.close()
    return [*found, block]


def test_a_worker_that_dies_while_the_first_ones_start_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids: set[int] = set()
    blocks: list[str] = []
    start: Callable[[WorkerPool, int], Any] = WorkerPool._start

    def die(pool: WorkerPool, cpu: int) -> Any:
        process, pipe = start(pool, cpu)
        pids.add(process.pid)
        blocks.append(pool._block)
        if cpu == 1:
            process.kill()
            wait([process.sentinel])
            with suppress(EOFError):  # it may have been quick to say that it is ready
                pipe.recv_bytes()
        return process, pipe

    monkeypatch.setattr(WorkerPool, "_start", die)
    with pytest.raises(WorkerDiedError, match="the worker of CPU 1 ended while it started"), two_queues(60.0):
        pass
    assert len(pids) == 2
    assert left_over(pids, blocks[0]) == []
