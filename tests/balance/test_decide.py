"""Which queues move, by the rules, on loads that are easy to reckon by hand: a budget is 100 cycles."""

from dataclasses import replace

from engine.balance.decide import LEAST_GAIN, Move, ProcessorLoad, QueueKey, QueueLoad, barred, decide
from engine.scenario.model import BalancerSpec
from engine.scenario.processor_set import host_processors

SPEC = BalancerSpec(mode="dynamic", scale_out=0.8, scale_in=0.4, max_moves=4)


def processors(*loads: float, nodes: int = 1, threads: int = 1) -> list[ProcessorLoad]:
    count = len(loads)
    return [
        ProcessorLoad(cpu, cpu * nodes // count, cpu % threads == 0, load, 100)
        for cpu, load in enumerate(loads)
    ]


def queue(number: int, cpu: int, cycles: float, *, home: int | None = None, node: int = 0) -> QueueLoad:
    key = QueueKey(0, number, number)
    return QueueLoad(key, cpu, cpu if home is None else home, node, cycles, 0.0, movable=True, rested=True)


def made(moves: list[Move]) -> list[tuple[int, int, int, str]]:
    return [(move.key.queue_id, move.source, move.target, move.reason) for move in moves]


def test_a_processor_below_the_threshold_keeps_its_queues() -> None:
    assert decide(SPEC, processors(0.79, 0.0), [queue(1, 0, 40), queue(2, 0, 39)]) == []


def test_from_the_threshold_on_a_queue_moves_to_the_least_loaded_processor() -> None:
    moves = decide(SPEC, processors(0.8, 0.3, 0.1), [queue(1, 0, 60), queue(2, 0, 20)])
    assert made(moves) == [(2, 0, 2, "scale_out")]
    (move,) = moves
    assert (move.source_load, move.target_load, move.queue_load) == (0.8, 0.1, 0.2)
    assert round(move.source_after, 9) == 0.6
    assert round(move.target_after, 9) == 0.3


def test_the_move_that_leaves_the_higher_load_lowest_is_made() -> None:
    # Of 50, 30 and 20: 100 becomes 50 and 50 by moving the first; 70 or 80 would be left by the others.
    moves = decide(SPEC, processors(1.0, 0.0), [queue(1, 0, 50), queue(2, 0, 30), queue(3, 0, 20)])
    assert made(moves) == [(1, 0, 1, "scale_out")]


def test_a_queue_goes_to_no_processor_outside_its_adapters_set_but_home() -> None:
    (outside,) = barred([{0}], [], [(0, 1)], set(range(4)))
    assert outside == {2, 3}
    queues = [replace(queue(number, 0, 50), barred=outside) for number in (1, 2)]
    assert made(decide(SPEC, processors(1.0, 0.4, 0.0, 0.0), queues)) == [(1, 0, 1, "scale_out")]


def test_the_only_busy_queue_of_a_processor_stays() -> None:
    assert decide(SPEC, processors(1.0, 0.0), [queue(1, 0, 100), queue(2, 0, 0)]) == []


def test_a_queue_goes_to_no_processor_that_is_another_members_but_home() -> None:
    apart = barred([{0, 1}, {2}, {3}], [[0, 1]], [None] * 3, set(range(4)))
    assert apart == [{2}, {0, 1}, frozenset()]
    queues = [replace(queue(number, 0, 50), barred=apart[0]) for number in (1, 2)]
    assert made(decide(SPEC, processors(1.0, 0.4, 0.0, 0.1), queues)) == [(1, 0, 3, "scale_out")]
    away = replace(queue(1, 3, 10, home=2), barred=frozenset({2}))
    assert made(decide(SPEC, processors(0.0, 0.0, 0.0, 0.1), [away])) == [(1, 3, 2, "scale_in")]


def test_what_comes_counts_where_a_processor_can_do_no_more() -> None:
    # Busy is 1.0, what came would take 2.0 of it: one move leaves 1.5 there, two leave 1.0, three 0.5.
    queues = [queue(number, 0, 50) for number in range(1, 5)]
    moves = decide(SPEC, processors(1.0, 0.0, 0.0, 0.0), queues)
    assert [move.source_load for move in moves] == [2.0, 1.5, 1.0]
    assert [move.target for move in moves] == [1, 2, 3]


def test_a_move_that_gains_too_little_is_not_made() -> None:
    least = 100 * LEAST_GAIN
    heavy = [queue(1, 0, 90 - least), queue(2, 0, least - 1)]
    assert decide(SPEC, processors(0.9, 0.79), heavy) == []


def test_an_overloaded_processor_is_given_nothing() -> None:
    queues = [queue(1, 0, 50), queue(2, 0, 50), queue(3, 1, 45), queue(4, 1, 45)]
    assert decide(SPEC, processors(1.0, 0.9), queues) == []


def test_the_adapters_numa_node_comes_first() -> None:
    queues = [queue(1, 0, 50), queue(2, 0, 50)]
    moves = decide(SPEC, processors(1.0, 0.3, 0.0, 0.0, nodes=2), queues)
    assert made(moves) == [(1, 0, 1, "scale_out")]


def test_another_numa_node_helps_where_the_adapters_own_cannot() -> None:
    queues = [queue(1, 0, 50), queue(2, 0, 50)]
    moves = decide(SPEC, processors(1.0, 0.8, 0.0, 0.0, nodes=2), queues)
    assert made(moves) == [(1, 0, 2, "scale_out")]


def test_bytes_cost_more_on_another_numa_node() -> None:
    queues = [replace(queue(number, 0, 25), copy_cycles=25) for number in (1, 2)]
    (move,) = decide(SPEC, processors(1.0, 0.9, 0.0, 0.0, nodes=2), queues, remote_copy_factor=2.0)
    assert move.queue_load == 0.5
    assert move.target_after == 0.75


def test_odd_hyper_threads_get_no_queue() -> None:
    moves = decide(SPEC, processors(1.0, 0.0, 0.5, 0.0, threads=2), [queue(1, 0, 60), queue(2, 0, 40)])
    assert made(moves) == [(2, 0, 2, "scale_out")]


def test_a_queue_that_may_not_move_stays() -> None:
    fixed = [replace(queue(1, 0, 50), movable=False), replace(queue(2, 0, 50), rested=False)]
    assert decide(SPEC, processors(1.0, 0.0), fixed) == []


def test_a_queue_goes_home_when_its_home_stays_low_with_it() -> None:
    away = [queue(1, 1, 20, home=0)]
    assert made(decide(SPEC, processors(0.2, 0.2), away)) == [(1, 1, 0, "scale_in")]
    assert decide(SPEC, processors(0.21, 0.2), away) == []


def test_several_go_home_while_there_is_room_for_them_there_the_lightest_first() -> None:
    away = [queue(1, 1, 30, home=0), queue(2, 2, 10, home=0), queue(3, 3, 25, home=0)]
    moves = decide(SPEC, processors(0.0, 0.3, 0.1, 0.25), away)
    assert made(moves) == [(2, 2, 0, "scale_in"), (3, 3, 0, "scale_in")]


def test_nothing_goes_home_to_an_odd_hyper_thread() -> None:
    assert decide(SPEC, processors(0.0, 0.0, threads=2), [queue(1, 0, 10, home=1)]) == []


def test_no_more_queues_move_at_once_than_may() -> None:
    queues = [queue(number, 0, 10) for number in range(1, 13)]
    moves = decide(replace_moves(2), processors(1.0, 0.0, 0.0), queues)
    assert len(moves) == 2


def replace_moves(most: int) -> BalancerSpec:
    return BalancerSpec(mode="dynamic", scale_out=0.8, scale_in=0.4, max_moves=most)


def test_a_move_says_why_in_numbers() -> None:
    (move,) = decide(SPEC, processors(0.8, 0.1), [queue(1, 0, 60), queue(2, 0, 20)])
    assert (
        move.words(host_processors(8, 1, False).name)
        == "balancer, scale-out: 20% of load from 0:0 (80% → 60%) to 0:1 (10% → 30%)"
    )
