"""The kernels and rounds against the slow model: every counter, at every horizon, however rounds are cut,
queues are changed in between, and workers die."""

import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataplane.plane import AdapterNeeds, Plane
from engine.kernels import layout
from engine.kernels.layout import PORT, TOP, Q
from engine.ndis import counters
from engine.ndis.effects import CloseQueue, DiscardPending, HoldBuffers, MoveQueue, OpenQueue, SetBuffers
from engine.ndis.steering import SteeringRows
from engine.scenario.model import AdapterSpec, CpuSpec, HostSpec, Scenario
from engine.workers.rounds import Part, Rounds
from tests.kernels.serving_reference import Costs, Model, Queue
from tests.slow import examples
from tests.workers.killer import Killer, When

CPUS, ADAPTERS, QUEUES = 3, 2, 4  # queues 1..QUEUES of each adapter, and queue 0
PLACES = [(a, q) for a in range(ADAPTERS) for q in range(QUEUES + 1)]
CPU = CpuSpec(clock_ghz=1.0, cycles_per_byte=0.5, moderation_us=3.0, quota=4)
COSTS = Costs(1000, CPU.cycles_per_interrupt, CPU.cycles_per_dpc, CPU.cycles_per_frame, 500, 3_000, CPU.quota)
COUNTERS = counters.names(counters.QUEUE + counters.QUEUE_GAUGES)
LATER = ("returned_frames", "outstanding", "free_buffers")
"""What a replacement makes up for in its first round: VMs gave back meanwhile."""

Frame = tuple[int, int, int, int]  # time, adapter, queue, wire
Spec = tuple[int, int, int, int]  # of a queue: processor, buffers, return delay, most bytes copied


@pytest.fixture(scope="module")
def rounds() -> Iterator[Rounds]:
    adapters = [
        AdapterSpec(name=f"nic{a}", max_queues=QUEUES, max_filters=QUEUES, buffers=64)
        for a in range(ADAPTERS)
    ]
    needs = [AdapterNeeds(32, QUEUES + 1)] * ADAPTERS
    plane = Plane(Scenario(host=HostSpec(cpus=CPUS), adapter=adapters, cpu=CPU), needs)
    for a in range(ADAPTERS):
        # Destination 02:00:00:00:00:0q goes to queue q, and has a switch port where q is even.
        ids = np.arange(1, QUEUES + 1, dtype=np.int32)
        key = (np.uint64(0x020000000000) + ids.astype(np.uint64)) << np.uint64(16)
        none = np.full(QUEUES, -1, np.int32)
        port = np.where(ids % 2 == 0, ids, -1).astype(np.int32)
        plane.write_steering(a, SteeringRows(key, ids, ids, none, port))
    rounds = Rounds(plane)
    yield rounds
    rounds.close()
    plane.close()


queues = st.tuples(
    st.integers(0, CPUS - 1),  # processor
    st.integers(1, 8),  # buffers
    st.sampled_from([0, 0, 700, 20_000]),  # return delay, ns
    st.sampled_from([1518, 1518, 60]),  # most bytes of a frame that are copied
)
frames = st.tuples(
    st.sampled_from([0, 0, 1, 5, 100, 900, 3_000, 30_000]),  # gap to the frame before, ns
    st.integers(0, ADAPTERS - 1),
    st.integers(0, QUEUES),
    st.sampled_from([60, 61, 1514]),
)
places = st.sampled_from(PLACES)
changes = st.one_of(
    st.tuples(st.just("move"), places, st.integers(0, CPUS - 1)),
    st.tuples(st.just("hold"), places, st.booleans()),
    st.tuples(st.just("discard"), places, st.none()),
)
runts = st.sampled_from([0, 0, layout.BLOCK_FRAMES - 3, 3 * layout.BLOCK_FRAMES - 7])
"""Frames for no queue in front of the others: they put these into the blocks and slices behind."""


def write(plane: Plane, number: int, batch: list[Frame], runts: int) -> Part:
    """Put frames into a batch."""
    target = plane.batches[number]
    target.offset[:runts] = 0
    target.captured[:runts] = 0
    target.wire[:runts] = 60
    target.arrival_ns[:runts] = batch[0][0] if batch else 0
    target.adapter[:runts] = 0
    for i, (time_ns, adapter, queue, wire) in enumerate(batch, runts):
        start = i * 64
        target.data[start : start + 64] = 0
        target.data[start : start + 6] = (2, 0, 0, 0, 0, queue if queue else 99)
        target.offset[i], target.captured[i], target.wire[i] = start, 60, wire
        target.arrival_ns[i], target.adapter[i] = time_ns, adapter
    return Part(number, runts + len(batch))


BEGINS_NS = [0, 1, 2, 3, *(quarter << octave for octave in range(35) for quarter in (4, 5, 6, 7))]
"""Where buckets begin: four to an octave, from 4 ns."""


def histogram(latencies_ns: list[int]) -> list[int]:
    """Frames by bucket."""
    found = [0] * layout.LATENCY_BUCKETS
    for latency_ns in latencies_ns:
        found[bisect_right(BEGINS_NS, latency_ns) - 1] += 1
    return found


@dataclass
class Case:
    """The plane and the model, side by side."""

    rounds: Rounds
    model: Model
    before: list[dict[str, int]]
    late: set[int] = field(default_factory=set)  # processors whose worker died in the last round
    last_ns: int = 0  # of the last frame
    exact: bool = True  # the model is where the plane is

    @property
    def plane(self) -> Plane:
        return self.rounds.plane

    def cpus(self) -> list[dict[str, int]]:
        rows = self.plane.read().cpus.tolist()
        return [dict(zip(layout.CPU_COLUMNS, row, strict=False)) for row in rows]

    def compare(self) -> None:
        reading = self.plane.read()
        for place, queue in self.model.queues.items():
            row = reading.queues[self.plane.slot(*place)]
            counts = {name: int(row[layout.QUEUE_COLUMNS.index(name)]) for name in COUNTERS}
            expected = dict.fromkeys(COUNTERS, 0) | dict(queue.counts)
            expected |= {
                "pending": len(queue.pending),
                "outstanding": queue.outstanding,
                "free_buffers": queue.free,
                "low_free_buffers": min(queue.low_free, queue.buffers),
                "total_buffers": queue.buffers,
            }
            assert counts["total_buffers"] == sum(
                counts[n] for n in ("free_buffers", "pending", "outstanding")
            )
            assert counts["indicated_frames"] == counts["returned_frames"] + counts["outstanding"]
            if queue.cpu in self.late:
                expected |= {name: counts[name] for name in LATER}
            assert counts == expected, place
            assert reading.latency[self.plane.slot(*place)].tolist() == histogram(queue.latencies_ns)
            assert row[Q.latency_max_ns] == max(queue.latencies_ns, default=0)
        for number, (row, old, cpu) in enumerate(zip(self.cpus(), self.before, self.model.cpus, strict=True)):
            for name in ("busy_cycles", "interrupts", "dpcs", "indicated_frames"):
                if number not in self.late:
                    assert row[name] - old[name] == cpu.counts[name], name

    def change(self, kind: str, place: tuple[int, int], value: int | bool | None) -> None:
        """A request's effect, between two rounds."""
        if kind == "move":
            assert value is not None
            if value != self.model.queues[place].cpu:
                self.plane.carry_out(MoveQueue(*place, value))
                self.model.move(place, value, self.plane.now_ns)
        elif kind == "hold":
            self.plane.carry_out(HoldBuffers(*place, bool(value)))
            self.model.hold(place, bool(value), self.plane.now_ns)
        else:
            self.plane.carry_out(DiscardPending(*place))
            self.model.empty(place, "discarded_frames")

    def bury(self, cpus: set[int]) -> None:
        """Workers died: what was pending with them is lost."""
        for place, queue in self.model.queues.items():
            if queue.cpu in cpus:
                self.model.empty(place, "lost_frames")


@contextmanager
def open_case(rounds: Rounds, specs: list[Spec]) -> Iterator[Case]:
    """Queues in both; at the end everything happens, and the queues are torn down."""
    plane = rounds.plane
    model_queues = []
    for place, (cpu, buffers, delay_ns, limit) in zip(PLACES, specs, strict=True):
        plane.carry_out(OpenQueue(*place, 1, cpu, delay_ns, None, limit))
        plane.carry_out(SetBuffers(*place, buffers))
        model_queues.append(Queue(place, cpu, buffers, delay_ns, limit))
    case = Case(rounds, Model(CPUS, model_queues, COSTS), [])
    case.before = case.cpus()
    try:
        yield case
    finally:
        for place in PLACES:
            case.change("hold", place, False)
        rounds.begin(Part(0, 0), layout.NEVER_NS)
        rounds.end()
        case.late = set()
        case.model.run_before(float("inf"))
        try:
            case.compare()
        finally:
            for place in PLACES:
                plane.carry_out(CloseQueue(*place))
    assert np.all(plane.views.belongs == layout.NONE)


@dataclass(frozen=True)
class Round:
    """Frames, with gaps in place of times; how long the round goes on; workers that die in it; what is
    changed after it, if anything."""

    frames: list[Frame]
    rest_ns: int
    deaths: dict[int, When]
    change: tuple[str, tuple[int, int], int | bool | None] | None

    def timed(self, start_ns: int) -> tuple[list[Frame], int]:
        """The frames at their times, and the horizon."""
        now, timed = start_ns, []
        for gap, adapter, queue, wire in self.frames:
            now += gap
            timed.append((now, adapter, queue, wire))
        return timed, now + self.rest_ns


def rounds_with(deaths: st.SearchStrategy[dict[int, When]]) -> st.SearchStrategy[list[Round]]:
    rests = st.sampled_from([0, 1, 1_000, 4_000, 10_000, 50_000])
    one = st.builds(Round, st.lists(frames, max_size=30), rests, deaths, st.none() | changes)
    return st.lists(one, min_size=2, max_size=7)


specifications = st.lists(queues, min_size=len(PLACES), max_size=len(PLACES))


@settings(max_examples=examples(150))
@given(specs=specifications, plan=rounds_with(st.just({})), runts=runts)
def test_every_counter_is_the_models_at_every_horizon(
    rounds: Rounds, specs: list[Spec], plan: list[Round], runts: int
) -> None:
    run(rounds, specs, plan, runts)


times_to_die: st.SearchStrategy[When] = st.sampled_from(get_args(When))


@pytest.mark.skipif(sys.platform == "win32", reason="workers are stopped by signals")
@settings(max_examples=examples(150))
@given(
    specs=specifications,
    plan=rounds_with(st.just({}) | st.dictionaries(st.integers(0, CPUS - 1), times_to_die, max_size=2)),
    runts=runts,
)
@pytest.mark.slow
def test_a_death_takes_what_its_worker_had_in_hand_and_nothing_else(
    rounds: Rounds, specs: list[Spec], plan: list[Round], runts: int
) -> None:
    run(rounds, specs, plan, runts)


def test_another_processors_dpc_ends_while_this_one_goes_on(rounds: Rounds) -> None:
    """Queue 1 moves in a DPC; it gets its buffer back while its new processor is in one of queue 0."""
    specs = [(0, 1, 0, 1518)] * len(PLACES)
    specs[PLACES.index((0, 1))] = (1, 1, 0, 1518)
    first = Round([(0, 0, 1, 60)], 7_000, {}, ("move", (0, 1), 0))  # in a DPC from 3,000 to 13,030 ns
    second = Round([(3_000, 0, 0, 60), (3_900, 0, 1, 60), (100, 0, 1, 60)], 1, {}, None)
    run(rounds, specs, [first, second, Round([(3_000, 0, 1, 60)], 1, {}, None)], 0)


def test_a_processor_serves_a_queue_not_before_it_moved_there(rounds: Rounds) -> None:
    """What waited long for a busy processor is begun by an idle one at the time of the move."""
    specs = [(0, 8, 0, 1518)] * len(PLACES)
    waiting = [(0, 0, 1, 1514)] * 8 + [(0, 0, 2, 60)] * 2
    run(rounds, specs, [Round(waiting, 30_000, {}, ("move", (0, 2), 2)), Round([], 1_000, {}, None)], 0)


def run(rounds: Rounds, specs: list[Spec], plan: list[Round], runts: int) -> None:
    """Run rounds through both; compare after each."""
    plane = rounds.plane
    rounds.incidents.clear()
    port, top = plane.port.copy(), noted(plane)
    pieces, horizons = [], [plane.now_ns + 1_000_000]
    for one in plan:
        piece, horizon = one.timed(horizons[-1])
        pieces.append(piece)
        horizons.append(horizon)
    with open_case(rounds, specs) as case:
        part: Part | None = write(plane, 0, pieces[0], runts)
        for number, (one, piece, horizon) in enumerate(zip(plan, pieces, horizons[1:], strict=True)):
            assert part is not None
            following = None
            if number + 1 < len(pieces):
                following = write(plane, (number + 1) % layout.BATCHES, pieces[number + 1], runts)
            step(case, piece, part, horizon, following, one.deaths if case.exact else {})
            # What VMs gave back in a lost round would be held.
            if case.exact and one.change is not None and not (one.change[0] == "hold" and case.late):
                case.change(*one.change)
            part = following
    plane.now_ns = max(plane.now_ns, horizons[-1])
    lost = sum(queue.counts["lost_frames"] for queue in case.model.queues.values())
    assert sum(incident.lost_frames for incident in rounds.incidents) == lost
    offered = (plane.port - port).sum(axis=0)
    assert offered[PORT.offered_frames] == sum(len(piece) + runts for piece in pieces)
    assert offered[PORT.runt] == runts * len(pieces)
    of_default = [case.model.queues[a, 0].counts["steered_frames"] for a in range(ADAPTERS)]
    assert (noted(plane) - top).tolist() == of_default


def noted(plane: Plane) -> layout.I64:
    """Frames in the sketch of what queue 0 takes, by adapter."""
    frames: layout.I64 = plane.read().top[:, :, TOP.frames].sum(axis=1)
    return frames


def step(
    case: Case, piece: list[Frame], part: Part, horizon: int, following: Part | None, dying: dict[int, When]
) -> None:
    """One round of both."""
    rounds, model = case.rounds, case.model
    rounds.restarts.forgive()  # here they are no sign of something wrong
    killer = Killer(rounds, {cpu for cpu, when in dying.items() if when == "handed an order"})
    for cpu in [cpu for cpu, when in dying.items() if when == "found dead"]:
        killer.kill(cpu)
    with killer.lurking():
        rounds.begin(part, horizon, following)
        rounds.end()
    if rounds._pool.dead():  # with no order for it, nobody has noticed
        rounds.replace_dead()
    case.bury(killer.hit)
    for time_ns, adapter, queue, wire in piece:
        if model.queues[adapter, queue].cpu in killer.served:
            model.lose((adapter, queue), wire)
        else:
            model.frame(time_ns, (adapter, queue), wire, queue != 0 and queue % 2 == 0)
    # Frames at the horizon itself come in the next round; until then nothing at it happens.
    model.run_before(horizon)
    case.last_ns = piece[-1][0] if piece else case.last_ns
    case.exact = case.last_ns != horizon
    if case.exact:
        case.late = killer.hit
        case.compare()
        idle = {cpu for cpu, when in dying.items() if when == "idle"}
        for cpu in idle:
            killer.kill(cpu)
        rounds.replace_dead()
        case.bury(idle)
        case.compare()


def test_the_model_can_tell_a_wrong_count() -> None:
    model = Model(1, [Queue((0, 0), 0, 1)], Costs(1000, 1, 1, 1, 0, 0, 4))
    model.frame(0, (0, 0), 60, True)
    model.frame(0, (0, 0), 60, True)
    model.run_before(10)
    assert model.queues[0, 0].counts["dropped_no_buffer"] == 1
