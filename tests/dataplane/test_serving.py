"""The kernels against the slow model: every counter, at every horizon, however rounds are cut."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.dataplane import layout
from engine.dataplane.plane import AdapterNeeds, Plane
from engine.dataplane.rounds import Part, Rounds
from engine.ndis import counters
from engine.ndis.effects import CloseQueue, MoveQueue, OpenQueue, SetBuffers
from engine.ndis.steering import SteeringRows
from engine.scenario.model import AdapterSpec, CpuSpec, HostSpec, Scenario
from tests.dataplane.reference import Costs, Model, Queue

CPUS, ADAPTERS, QUEUES = 3, 2, 4  # queues 1..QUEUES of each adapter, and queue 0
CPU = CpuSpec(clock_ghz=1.0, cycles_per_byte=0.5, moderation_us=3.0, quota=4)
COUNTERS = counters.names(counters.QUEUE + counters.QUEUE_GAUGES)


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
)
frames = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 5, 100, 900, 3_000, 30_000]),  # gap to the frame before, ns
        st.integers(0, ADAPTERS - 1),
        st.integers(0, QUEUES),
        st.sampled_from([60, 61, 1514]),
    ),
    max_size=120,
)


def write(plane: Plane, number: int, batch: list[tuple[int, int, int, int]]) -> None:
    """Put frames (time, adapter, queue, wire) into a batch."""
    target = plane.batches[number]
    for i, (time_ns, adapter, queue, wire) in enumerate(batch):
        start = i * 64
        target.data[start : start + 64] = 0
        target.data[start : start + 6] = (2, 0, 0, 0, 0, queue if queue else 99)
        target.offset[i], target.captured[i], target.wire[i] = start, 60, wire
        target.arrival_ns[i], target.adapter[i] = time_ns, adapter


def snapshot(plane: Plane) -> tuple[dict[tuple[int, int], dict[str, int]], list[dict[str, int]]]:
    reading = plane.read()
    by_queue = {
        (a, q): {
            name: int(reading.queues[plane.slot(a, q), layout.QUEUE_COLUMNS.index(name)]) for name in COUNTERS
        }
        for a in range(ADAPTERS)
        for q in range(QUEUES + 1)
    }
    return by_queue, [dict(zip(layout.CPU_COLUMNS, row, strict=False)) for row in reading.cpus.tolist()]


def compare(plane: Plane, model: Model, before: list[dict[str, int]]) -> None:
    by_queue, by_cpu = snapshot(plane)
    for place, counts in by_queue.items():
        queue = model.queues[place]
        expected = dict.fromkeys(COUNTERS, 0) | dict(queue.counts)
        expected |= {
            "pending": len(queue.pending),
            "outstanding": queue.outstanding,
            "free_buffers": queue.free,
            "low_free_buffers": min(queue.low_free, queue.buffers),
            "total_buffers": queue.buffers,
        }
        assert counts == expected, place
    for row, old, cpu in zip(by_cpu, before, model.cpus, strict=True):
        for name in ("busy_cycles", "interrupts", "dpcs", "indicated_frames"):
            assert row[name] - old[name] == cpu.counts[name], name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    specs=st.lists(queues, min_size=ADAPTERS * (QUEUES + 1), max_size=ADAPTERS * (QUEUES + 1)),
    wanted=frames,
    cuts=st.sets(st.integers(0, 120), max_size=6),
    moves=st.lists(st.tuples(st.integers(0, 9), st.integers(0, CPUS - 1)), max_size=6),
)
def test_every_counter_is_the_models_at_every_horizon(
    rounds: Rounds,
    specs: list[tuple[int, int, int]],
    wanted: list[tuple[int, int, int, int]],
    cuts: set[int],
    moves: list[tuple[int, int]],
) -> None:
    plane = rounds.plane
    places = [(a, q) for a in range(ADAPTERS) for q in range(QUEUES + 1)]
    start_ns = plane.now_ns + 1_000_000
    model_queues = []
    for place, (cpu, buffers, delay_ns) in zip(places, specs, strict=True):
        plane.carry_out(OpenQueue(*place, 1, cpu, delay_ns, None, 1518))
        plane.carry_out(SetBuffers(*place, buffers))
        model_queues.append(Queue(place, cpu, buffers, delay_ns, 1518))
    before = snapshot(plane)[1]
    costs = Costs(
        1000, CPU.cycles_per_interrupt, CPU.cycles_per_dpc, CPU.cycles_per_frame, 500, 3_000, CPU.quota
    )
    model = Model(CPUS, model_queues, costs)

    timed, now = [], start_ns
    for gap, adapter, queue, wire in wanted:
        now += gap
        timed.append((now, adapter, queue, wire))
    pending_moves = list(moves)
    edges = sorted({cut for cut in cuts if cut < len(timed)} | {len(timed)})
    pieces = [timed[first:last] for first, last in zip([0, *edges], edges, strict=False)]
    parts = [Part(number % layout.BATCHES, len(piece)) for number, piece in enumerate(pieces)]
    write(plane, 0, pieces[0])
    for number, (piece, last) in enumerate(zip(pieces, edges, strict=True)):
        horizon = timed[last][0] if last < len(timed) else now + 1
        following = None
        if number + 1 < len(pieces):
            following = parts[number + 1]
            write(plane, following.batch, pieces[number + 1])
        rounds.begin(parts[number], horizon, following)
        rounds.end()
        for time_ns, adapter, queue, wire in piece:
            model.frame(time_ns, (adapter, queue), wire, queue != 0 and queue % 2 == 0)
        # Frames at the horizon itself come in the next round; until then nothing at it happens.
        model.run_before(horizon)
        late = [frame for frame in piece if frame[0] == horizon]
        if not late:
            compare(plane, model, before)
        if pending_moves and not late:
            which, cpu = pending_moves.pop()
            plane.carry_out(MoveQueue(*places[which], cpu))
            model.move(places[which], cpu)
    rounds.begin(Part(0, 0), layout.NEVER_NS)
    rounds.end()
    model.run_before(float("inf"))
    compare(plane, model, before)
    for place in places:
        plane.carry_out(CloseQueue(*place))
    assert np.all(plane.views.belongs == layout.NONE)
    plane.now_ns = max(plane.now_ns, now)


def test_the_model_can_tell_a_wrong_count() -> None:
    model = Model(1, [Queue((0, 0), 0, 1)], Costs(1000, 1, 1, 1, 0, 0, 4))
    model.frame(0, (0, 0), 60, True)
    model.frame(0, (0, 0), 60, True)
    model.run_before(10)
    assert model.queues[0, 0].counts["dropped_no_buffer"] == 1
