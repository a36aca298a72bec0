"""A run in short intervals, and in which of them each processor's queues dropped most."""

from itertools import islice, pairwise

from engine.kernels.layout import Q
from engine.scenario.load import loads
from engine.service.machine import Machine
from engine.service.trial import WorstIntervals

MS = 1_000_000
SCENARIO = """
[host]
name = "lab"
cpus = 2
[[adapter]]
[[adapter.queue]]
cpu = 0
[[adapter.queue]]
cpu = 1
"""


def test_stretches_grow_so_that_a_long_run_has_few() -> None:
    ends = list(islice(WorstIntervals.pauses(7), 520))
    assert (ends[0], ends[255]) == (7 + 100 * MS, 7 + 25_600 * MS)
    assert {later - earlier for earlier, later in pairwise(ends)} == {100 * MS, 200 * MS, 400 * MS}


def test_the_stretch_in_which_most_was_dropped_is_kept_by_processor() -> None:
    machine = Machine(loads(SCENARIO, "test"))
    try:
        intervals = WorstIntervals(machine)
        intervals.begin()
        for at, drops in enumerate([(5, 0), (9, 2), (1, 7), (0, 0)], 1):
            for queue_id, count in enumerate(drops, 1):
                row = machine.plane.row(machine.plane.slot(0, queue_id))
                row[[Q.steered_frames, Q.dropped_no_buffer]] += count
            machine.plane.settle_time(at * 100 * MS)
            intervals.end()
        seen = {cpu: (one.stats.sim_time_ns, round(one.span_s, 9)) for cpu, one in intervals.worst.items()}
        assert seen == {0: (200 * MS, 0.1), 1: (300 * MS, 0.1)}
    finally:
        machine.close()
