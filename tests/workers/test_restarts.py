"""Workers that keep dying, their processors meanwhile, and who hangs without an order."""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait

import pytest

from engine.kernels import layout
from engine.kernels.layout import CPU, NEVER_NS, PORT, Q
from engine.ndis.effects import MoveQueue
from engine.workers import pool, supervision
from engine.workers.conductor import Conductor
from engine.workers.rounds import Part, Rounds
from engine.workers.supervision import DELAYS_S, PAUSES_S, WINDOW_S, RestartBackoff
from tests.processor_time import spinning
from tests.workers.killer import Killer
from tests.workers.test_deaths import BUFFERS, OTHER, Pieces, lost, queue, two_queues, write
from vmqtui.testing import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are stopped by signals")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "DELAYS_S", (0.0, 0.01, 0.02))
    monkeypatch.setattr(supervision, "PAUSES_S", (1000.0,))


def look_until(rounds: Rounds, holds: Callable[[], bool]) -> None:
    """See to the workers until something holds."""

    def seen() -> bool:
        rounds.replace_dead()
        return holds()

    wait_until(seen)


def kinds(rounds: Rounds) -> list[str]:
    return [one.kind for one in rounds.incidents]


def kill_until_down(rounds: Rounds, cpu: int) -> None:
    """Kill each worker of a processor as soon as it is there."""
    while "worker_down" not in [one.kind for one in rounds.incidents if one.cpu == cpu]:
        process = rounds._pool._processes[cpu]
        process.kill()
        wait([process.sentinel])
        rounds.replace_dead()


def serve(rounds: Rounds, filters: list[int], start_ns: int, batch: int = 0) -> None:
    write(rounds.plane.batches[batch], filters, start_ns, 100)
    rounds.begin(Part(batch, len(filters)), start_ns + 1_000_000)
    rounds.end()


def test_the_first_death_is_followed_at_once_and_others_later() -> None:
    policy = RestartBackoff()
    assert [policy.died(3, now) for now in (0.0, 1.0)] == [0.0, 0.01]
    assert policy.died(4, 2.0) == 0.0  # each processor for itself
    assert policy.died(3, 3.0) == 0.02
    assert not policy.keeps_dying(3)
    assert policy.died(3, WINDOW_S + 1.5) == 0.01  # the first two are forgotten
    policy.forgive(3)
    assert policy.died(3, WINDOW_S + 2) == 0.0
    assert sorted(DELAYS_S) == list(DELAYS_S)
    assert sum(DELAYS_S) < 10


def test_a_worker_that_keeps_dying_is_tried_again_after_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "PAUSES_S", (100.0, 200.0, 400.0))
    policy = RestartBackoff()
    now = 0.0
    for _ in range(3):
        policy.died(3, now)
    pauses = []
    for _ in range(5):
        pauses.append(policy.died(3, now))
        assert policy.keeps_dying(3)
        now += pauses[-1] + WINDOW_S - 1  # the next one lives for so long
    assert pauses == [100.0, 200.0, 400.0, 400.0, 400.0]
    assert policy.died(3, now + 2) == 0.0  # the last one stayed for more than a window
    assert not policy.keeps_dying(3)
    assert sorted(PAUSES_S) == list(PAUSES_S)
    assert PAUSES_S[-1] <= 600


def test_a_storm_of_deaths_leaves_no_processor_down_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "PAUSES_S", (0.05, 0.1))
    with two_queues() as rounds:
        for cpu in (0, 1):
            kill_until_down(rounds, cpu)
        look_until(rounds, lambda: not rounds.down)
        told = [(one.kind, one.cpu) for one in rounds.incidents]
        for cpu in (0, 1):
            assert told[told.index(("worker_down", cpu)) + 1 :].count(("worker_replaced", cpu)) == 1
        Killer(rounds).kill(1)  # the one that came back dies, too
        look_until(rounds, lambda: kinds(rounds).count("worker_died") == 9)
        assert rounds.incidents[-1].cause.endswith("; the next one starts in 0.1 s")
        assert kinds(rounds).count("worker_down") == 2
        look_until(rounds, lambda: not rounds.down)
        serve(rounds, [1] * 10 + [OTHER] * 10, 0)
        assert [queue(rounds, one)["returned_frames"] for one in (1, 2)] == [10, 10]


def test_a_processor_that_is_down_loses_its_frames_counted_and_others_lose_nothing() -> None:
    with two_queues() as rounds:
        plane = rounds.plane
        serve(rounds, [1] * 10 + [OTHER] * 10, 0)
        kill_until_down(rounds, 1)
        assert list(rounds.down) == [1]
        assert kinds(rounds).count("worker_died") == 4
        assert "restart_worker" in rounds.incidents[-1].cause
        serve(rounds, [1] * 5 + [OTHER] * 5 + [0], 1_000_000)
        one, two = queue(rounds, 1), queue(rounds, 2)
        assert (one["steered_frames"], one["lost_frames"], one["returned_frames"]) == (15, 5, 10)
        assert (one["pending"], one["outstanding"], one["free_buffers"]) == (0, 0, BUFFERS)
        assert (two["returned_frames"], two["lost_frames"]) == (15, 0)
        assert plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [31, 1]
        assert plane.matched[[1, OTHER]].tolist() == [15, 15]


def test_what_a_vm_holds_of_a_processor_that_is_down_comes_back_when_it_is_due() -> None:
    with two_queues() as rounds:
        plane = rounds.plane
        write(plane.batches[0], [1] * 10, 0, 100)
        rounds.begin(Part(0, 10), 12_000)  # indicated, and due 20 µs later
        rounds.end()
        assert queue(rounds, 1)["outstanding"] == 10
        kill_until_down(rounds, 1)
        rounds.begin(Part(1, 0), 13_000)
        rounds.end()
        assert queue(rounds, 1)["outstanding"] == 10
        due_ns = plane.next_event_ns
        assert 13_000 < due_ns < NEVER_NS
        rounds.begin(Part(1, 0), due_ns + 1)
        rounds.end()
        assert 0 < queue(rounds, 1)["returned_frames"] <= 10
        rounds.begin(Part(1, 0), NEVER_NS)
        rounds.end()
        assert (queue(rounds, 1)["returned_frames"], plane.next_event_ns) == (10, NEVER_NS)


def test_a_queue_moved_away_from_a_processor_that_is_down_goes_on() -> None:
    with two_queues() as rounds:
        kill_until_down(rounds, 1)
        rounds.plane.carry_out(MoveQueue(0, 1, 0))
        serve(rounds, [1] * 10, 0)
        assert (queue(rounds, 1)["returned_frames"], queue(rounds, 1)["lost_frames"]) == (10, 0)
        rounds.plane.carry_out(MoveQueue(0, 1, 1))
        serve(rounds, [1] * 10, 1_000_000, 1)
        assert (queue(rounds, 1)["returned_frames"], queue(rounds, 1)["lost_frames"]) == (10, 10)


def test_a_dpc_of_a_queue_that_moves_to_a_processor_that_is_down_indicates_nothing() -> None:
    with two_queues() as rounds:
        plane = rounds.plane
        kill_until_down(rounds, 1)
        write(plane.batches[0], [OTHER] * 10, 0, 10)
        rounds.begin(Part(0, 10), 1_500)
        rounds.end()
        assert plane.row(2)[[Q.dpc_cpu, Q.dpc_frames]].tolist() == [0, 10]
        plane.carry_out(MoveQueue(0, 2, 1))
        rounds.begin(Part(1, 0), NEVER_NS)
        rounds.end()
        assert (queue(rounds, 2)["lost_frames"], queue(rounds, 2)["indicated_frames"]) == (10, 0)
        assert plane.read().cpus[:, CPU.indicated_frames].tolist() == [0, 0]


def test_restarting_brings_a_processor_back() -> None:
    with two_queues() as rounds:
        kill_until_down(rounds, 1)
        rounds.restarts.restart(1)
        look_until(rounds, lambda: not rounds.down)
        assert kinds(rounds)[-1] == "worker_replaced"
        serve(rounds, [1] * 10, 0)
        assert (queue(rounds, 1)["returned_frames"], queue(rounds, 1)["lost_frames"]) == (10, 0)
        pid = rounds.worker_pids[1]
        rounds.restarts.restart(1)  # it is up: nothing to do
        rounds.replace_dead()
        assert rounds.worker_pids[1] == pid


def test_with_every_processor_down_frames_are_still_steered_and_all_are_counted() -> None:
    with two_queues() as rounds:
        for cpu in (0, 1):
            kill_until_down(rounds, cpu)
        Conductor(rounds, Pieces([[1, OTHER, 0] * 10_000, [1, OTHER, 0] * 5])).run_to_end()
        assert rounds.plane.port[0, [PORT.offered_frames, PORT.runt]].tolist() == [30_015, 10_005]
        for one in (1, 2):
            assert queue(rounds, one)["lost_frames"] == queue(rounds, one)["steered_frames"] == 10_005


def test_a_run_whose_worker_dies_again_and_again_ends_with_every_frame_accounted_for() -> None:
    with two_queues() as rounds:
        killer = Killer(rounds)

        def after_round() -> None:
            rounds.replace_dead()
            killer.victims = {1} - set(rounds.down)

        with killer.lurking():
            after_round()
            Conductor(rounds, Pieces([[1, OTHER] * 10 for _ in range(9)])).run_to_end(after_round)
        one, two = queue(rounds, 1), queue(rounds, 2)
        for each in (one, two):
            ended = each["lost_frames"] + each["returned_frames"] + each["dropped_no_buffer"]
            assert each["steered_frames"] == ended == 90
        assert two["lost_frames"] == 0
        assert len(lost(rounds)) >= 2


def test_a_replacement_that_dies_while_it_starts_is_a_death_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with two_queues() as rounds:
        start, tries = rounds._pool._start, []

        def die_at_first(cpu: int) -> object:
            process, pipe = start(cpu)
            tries.append(process.pid)
            if len(tries) < 3:
                process.kill()
            return process, pipe

        monkeypatch.setattr(rounds._pool, "_start", die_at_first)
        Killer(rounds).kill(1)
        look_until(rounds, lambda: len(tries) == 3 and not rounds.down)
        assert rounds.worker_pids[1] == tries[2]
        assert lost(rounds) == [(1, 0)] * 3
        assert any("ended while it started" in one.cause for one in rounds.incidents)


def test_a_worker_that_fails_says_why() -> None:
    with two_queues() as rounds:
        serve(rounds, [1], 0)
        rounds._pool.send(1, b"no order")
        with pytest.raises(pool.WorkerDiedError, match="CPU 1 died: error: unpack requires a buffer of"):
            rounds._pool.receive(1)


def test_how_a_worker_was_killed_is_told() -> None:
    with two_queues() as rounds:
        Killer(rounds).kill(1)
        rounds.replace_dead()
        assert "CPU 1 died (SIGKILL); 0 frames" in rounds.incidents[0].cause


def test_a_worker_that_hangs_without_an_order_is_killed_within_its_deadline() -> None:
    with two_queues(deadline_s=1.5) as rounds:
        rounds.replace_dead()
        hung = rounds.worker_pids[1]
        os.kill(hung, signal.SIGSTOP)
        look_until(rounds, lambda: "worker_replaced" in kinds(rounds))
        assert rounds.worker_pids[1] != hung
        assert "hung for 1.5 s" in rounds.incidents[0].cause
        assert lost(rounds) == [(1, 0)]


def test_workers_that_are_asked_whether_they_are_there_serve_as_ever() -> None:
    with two_queues(deadline_s=30) as rounds:
        for turn in range(30):
            rounds._pool._replied_s = [time.monotonic() - 12] * 2
            rounds.replace_dead()
            assert rounds._pool._pinged
            serve(rounds, [1] * 3 + [OTHER], turn * 1_000_000, turn % layout.BATCHES)
        assert (queue(rounds, 1)["returned_frames"], queue(rounds, 2)["returned_frames"]) == (90, 30)
        assert not rounds.incidents


@pytest.mark.slow
def test_workers_that_don_t_go_have_one_deadline_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_JOIN_S", 3.0)
    with spinning() as got_s:
        with two_queues() as rounds:
            for pid in rounds.worker_pids:
                os.kill(pid, signal.SIGSTOP)
            began_s = got_s()
        assert got_s() - began_s < 5.9  # one after the other they would take 6


class Clock:
    """The time module as a process sees it that is stopped for a while."""

    def __init__(self) -> None:
        self.stopped_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.stopped_s


@pytest.mark.slow
def test_workers_that_hang_at_once_have_one_deadline() -> None:
    with two_queues(deadline_s=3.0) as rounds, spinning() as got_s:
        write(rounds.plane.batches[0], [1] * 10 + [OTHER] * 10, 0, 100)
        for pid in rounds.worker_pids:
            os.kill(pid, signal.SIGSTOP)
        began_s = got_s()
        rounds.begin(Part(0, 20), NEVER_NS)
        rounds.end()
        # The first is to steer; the other has nothing to do yet, and is looked after all the same.
        assert got_s() - began_s < 5.9  # one after the other they would take 6
        assert sorted(cpu for cpu, _ in lost(rounds)) == [0, 1]


@pytest.mark.parametrize("second", ["idle", "with an order"])
def test_a_death_is_told_while_another_worker_hangs(second: str) -> None:
    with two_queues(deadline_s=1.0) as rounds:
        told: list[tuple[str, int]] = []
        rounds.while_waiting = lambda: told.extend((one.kind, one.cpu) for one in rounds.incidents)
        part = Part(0, 20)
        write(
            rounds.plane.batches[0],
            [OTHER] * 10 + ([1] if second == "with an order" else [OTHER]) * 10,
            0,
            100,
        )
        rounds.steer(part)
        rounds.end()
        killer = Killer(rounds)
        for cpu in (0, 1):
            killer.stop(cpu)
        rounds.begin(part, NEVER_NS)
        killer.kill(1)
        rounds.end()
        assert told[:2] == [("worker_died", 1), ("worker_replaced", 1)]
        assert [one.cpu for one in rounds.incidents if one.kind == "worker_died"] == [1, 0]
        assert "died (SIGKILL)" in rounds.incidents[0].cause
        assert "hung for 1 s" in rounds.incidents[-2].cause
        frames = [10, 10] if second == "with an order" else [0, 20]
        assert [queue(rounds, number)["lost_frames"] for number in (1, 2)] == frames
        serve(rounds, [1] * 3 + [OTHER] * 3, 1_000_000, 1)
        assert [queue(rounds, number)["returned_frames"] for number in (1, 2)] == [3, 3]


def test_who_has_replied_is_not_late_however_long_another_one_takes() -> None:
    with two_queues(deadline_s=0.6) as rounds:
        part = Part(0, 20)
        write(rounds.plane.batches[0], [1] * 10 + [OTHER] * 10, 0, 100)
        rounds.steer(part)
        rounds.end()
        Killer(rounds).stop(0)
        rounds.begin(part, NEVER_NS)
        rounds.end()
        assert [one.cpu for one in rounds.incidents if one.kind == "worker_died"] == [0]
        assert queue(rounds, 1)["returned_frames"] == 10


def test_time_in_which_everything_stood_still_is_no_workers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pool, "time", clock)
    killed: list[tuple[int, float]] = []
    watching = pool.Watchdog(0.6, lambda cpu: killed.append((cpu, watching.ran_s())))
    with two_queues(deadline_s=1.5) as rounds:
        rounds._pool._replied_s = [clock.monotonic() - 1.0] * 2
        rounds.replace_dead()
        assert set(rounds._pool._pinged) == {0, 1}
        began_s = watching.ran_s()
        watching.begin(7, began_s)
        clock.stopped_s = 60.0
        rounds.replace_dead()
        assert not rounds.incidents
    wait_until(lambda: killed)
    [(cpu, ran_s)] = killed
    assert cpu == 7
    assert 0.5 < ran_s - began_s < 1.0
    assert watching.end()
    watching.close()


def test_a_system_that_lets_no_process_start_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with two_queues() as rounds:
        start = rounds._pool._start
        fails = [OSError("no more processes")]

        def refuse(cpu: int) -> object:
            if fails:
                raise fails.pop()
            return start(cpu)

        monkeypatch.setattr(rounds._pool, "_start", refuse)
        Killer(rounds).kill(1)
        look_until(rounds, lambda: "worker_replaced" in kinds(rounds))
        assert any("could not be started: no more processes" in one.cause for one in rounds.incidents)
        serve(rounds, [1] * 10, 0)
        assert queue(rounds, 1)["returned_frames"] == 10


def test_a_worker_that_is_slow_to_start_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_AT_ONCE_S", 0.0)
    with two_queues() as rounds:
        Killer(rounds).kill(1)
        rounds.replace_dead()
        if list(rounds.down) == [1]:  # else it was quick
            serve(rounds, [1] * 3 + [OTHER] * 3, 0)
            assert (queue(rounds, 1)["lost_frames"], queue(rounds, 2)["returned_frames"]) == (3, 3)
        look_until(rounds, lambda: not rounds.down)
        serve(rounds, [1] * 10, 1_000_000)
        assert queue(rounds, 1)["returned_frames"] == 10


def test_latencies_that_a_dead_worker_counted_in_a_round_it_did_not_end_do_not_count() -> None:
    with two_queues() as rounds:
        serve(rounds, [1] * 10, 0)
        plane = rounds.plane
        plane.views.latency[1 - plane.bank[1], 1] += 7
        Killer(rounds).kill(1)
        rounds.replace_dead()
        look_until(rounds, lambda: not rounds.down)
        serve(rounds, [1] * 5, 1_000_000)
        assert plane.latency(1).sum() == queue(rounds, 1)["indicated_frames"] == 15
