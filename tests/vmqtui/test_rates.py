"""Rates: from two readings and the simulated time between them; unknown is not zero."""

from engine.view.rates import CounterTable, RateWindow
from tests.vmqtui.scripted import SECOND, VMS, make_stats
from vmqtui.state.history import History


def test_rate_is_growth_over_simulated_time() -> None:
    readings = CounterTable({"id": [4], "n": [700]}, {"id": [4], "n": [200]}, 2.0)
    assert readings.rate("n", 0) == 250.0


def test_counter_that_went_back_has_no_rate() -> None:
    readings = CounterTable({"id": [4], "n": [199]}, {"id": [4], "n": [200]}, 1.0)
    assert readings.rate("n", 0) is None


def test_counter_that_stood_still_has_rate_zero() -> None:
    readings = CounterTable({"id": [4], "n": [200]}, {"id": [4], "n": [200]}, 1.0)
    assert readings.rate("n", 0) == 0.0


def test_new_generation_of_an_id_has_no_rate() -> None:
    now = {"id": [4, 5], "generation": [9, 2], "n": [900, 50]}
    before = {"id": [4, 5], "generation": [3, 2], "n": [100, 40]}
    readings = CounterTable(now, before, 1.0, ("id", "generation"))
    assert [readings.rate("n", row) for row in (0, 1)] == [None, 10.0]


def test_rows_are_matched_by_identity_not_by_place() -> None:
    readings = CounterTable({"id": [7, 3], "n": [5, 100]}, {"id": [3, 7], "n": [60, 1]}, 1.0)
    assert [readings.rate("n", row) for row in (0, 1)] == [4.0, 40.0]


def test_no_time_passed_means_no_rate() -> None:
    assert CounterTable({"id": [1], "n": [5]}, {"id": [1], "n": [1]}, 0.0).rate("n", 0) is None


def test_counter_the_writer_does_not_send_is_unknown() -> None:
    readings = CounterTable({"id": [1]}, {"id": [1]}, 1.0)
    assert (readings.count("n", 0), readings.rate("n", 0)) == (None, None)


def test_short_column_is_unknown_rather_than_an_error() -> None:
    readings = CounterTable({"id": [1, 2], "n": [5]}, {"id": [1, 2], "n": [1]}, 1.0)
    assert readings.rate("n", 1) is None


def test_window_compares_with_a_reading_of_a_second_ago() -> None:
    window = RateWindow()
    taken = [window.take(make_stats(seq, vms=VMS[:1])) for seq in range(1, 12)]
    assert taken[0] is None
    before = taken[10]
    assert before is not None
    assert 11 * SECOND // 4 - before.sim_time_ns == SECOND


def test_window_starts_anew_when_simulated_time_went_back() -> None:
    window = RateWindow()
    window.take(make_stats(9, vms=VMS[:1]))
    assert window.take(make_stats(2, vms=VMS[:1])) is None


def test_window_is_bounded_at_any_interval() -> None:
    window = RateWindow()
    for seq in range(1, 5000):
        window.take(make_stats(seq, vms=VMS[:1], step_ns=1000))
    assert len(window._readings) <= 16


def test_window_of_slow_readings_compares_with_the_one_before() -> None:
    window = RateWindow()
    window.take(make_stats(1, vms=VMS[:1], step_ns=5 * SECOND))
    window.take(make_stats(2, vms=VMS[:1], step_ns=5 * SECOND))
    before = window.take(make_stats(3, vms=VMS[:1], step_ns=5 * SECOND))
    assert before is not None
    assert before.seq == 2


def test_history_forgets_the_oldest_and_keeps_gaps() -> None:
    history = History(points=3)
    for value in (1.0, None, 3.0, 4.0):
        history.add([("a", value)])
    assert history.last("a", 10) == [None, 3.0, 4.0]


def test_history_of_a_series_that_came_later_begins_with_gaps() -> None:
    history = History(points=5)
    history.add([("a", 1.0)])
    history.add([("a", 2.0), ("b", 7.0)])
    assert history.last("b", 5) == [None, 7.0]


def test_history_forgets_a_series_that_ended() -> None:
    history = History(points=5)
    history.add([("a", 1.0)])
    history.add([("b", 1.0)])
    assert history.last("a", 5) == []
