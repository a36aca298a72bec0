"""Rates: from two readings and the simulated time between them; unknown is not zero."""

from collections.abc import Sequence

import msgspec

from engine.view.rates import CounterTable, RateWindow
from tests.vmqtui.scripted import SECOND, VMS, make_stats
from vmqtui.state.history import Curve
from vmqtui.state.series import POINTS, History, cells_of_span
from vmqtui.state.snapshot import Snapshot


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


def _history(values: Sequence[float | None], points: int = POINTS) -> History:
    history = History(points)
    for value in values:
        history.add([("a", value)])
    return history


def test_a_cell_of_a_chart_has_the_highest_value_of_its_seconds() -> None:
    history = _history([1.0, 9.0, 2.0, 3.0, None, None, None, 4.0])
    assert history.peaks((("a",),), 8, 4) == [[9.0, 3.0, None, 4.0]]
    assert history.peaks((("a",),), 16, 4) == [[None, None, 9.0, 4.0]]
    assert history.peaks((("b",),), 8, 4) == [[None] * 4]


def test_a_burst_of_one_second_is_seen_in_any_span() -> None:
    for second in (0, 1, 1799, 3598, 3599):
        history = _history([0.0] * second + [7.0] + [0.0] * (3599 - second))
        for cells in (9, 60, 143):
            (shown,) = history.peaks((("a",),), 3600, cells)
            assert (shown.count(7.0), shown.count(0.0)) == (1, cells - 1)


def test_a_second_stays_in_its_cell_as_time_goes_on() -> None:
    history = _history([float(n % 7) for n in range(500)])
    before = history.peaks((("a",),), 300, 41)[0]
    history.add([("a", 1.0)])
    after = history.peaks((("a",),), 300, 41)[0]
    assert before[:-1] in (after[:-1], after[:-2] + before[-2:-1], [before[0], *after[:-2]])
    assert after[:-1] == before[:-1] or after[:-2] == before[1:-1]


def test_cells_divide_a_span_without_overlap_and_repeat_seconds_where_there_are_more() -> None:
    parts = cells_of_span(1000, 300, 41)
    assert len(parts) == 41
    assert [first for _, first, _ in parts[1:]] == [end for _, _, end in parts[:-1]]
    assert parts[-1][2] == 1000
    seconds = [first for _, first, end in cells_of_span(1000, 60, 100) for _ in range(first, end)]
    assert len(seconds) == 100
    assert sorted(set(seconds)) == list(range(940, 1000))


def test_stacked_parts_of_a_cell_are_of_one_second_the_highest_in_all() -> None:
    history = History()
    for web, sql in ((9.0, 1.0), (2.0, 9.0), (None, 99.0)):
        history.add([("web", web), ("sql", sql), ("other", 1.0)])
    assert history.peaks((("web",), ("sql", "other")), 3, 1) == [[2.0], [10.0]]
    assert history.peaks((("web",), ("gone",)), 3, 1) == [[None], [None]]


def test_finished_cells_are_kept_and_are_the_same_as_new_ones() -> None:
    history = History(points=600)
    for n in range(2000):
        history.add([("a", float(n * 7919 % 101)), ("b", float(n * 31 % 17))])
        if n % 90 == 0:
            shown = history.peaks((("a",), ("b",)), 300, 37)
            history._charts.clear()
            assert shown == history.peaks((("a",), ("b",)), 300, 37)


def test_a_chart_of_the_past_shows_nothing_later_though_it_was_drawn_since() -> None:
    history, burst = History(), 1003
    for second in range(1200):
        history.add([("a", 9e6 if second == burst else float(second % 7))])
        history.peaks((("a",),), 3600, 100)
    (then,) = history.peaks((("a",),), 3600, 100, 1000)
    assert then[-1] is not None
    assert then[-1] < 7
    assert 9e6 in history.peaks((("a",),), 3600, 100, burst)[0]
    for moment in range(900, 1200, 7):
        shown = history.peaks((("a",),), 3600, 100, moment)
        fresh = _history([9e6 if second == burst else float(second % 7) for second in range(moment + 1)])
        assert shown == fresh.peaks((("a",),), 3600, 100), moment


def test_cells_kept_are_bounded() -> None:
    history = _history([1.0] * 100)
    for cells in range(1, 60):
        history.peaks((("a",),), 60, cells)
    for _ in range(3000):
        history.add([("a", 1.0)])
        history.peaks((("a",),), 60, 60)
    assert len(history._charts) <= 16
    assert max(map(len, history._charts.values())) <= 1100


def _curve(readings: list[tuple[int, float]]) -> History:
    """The history of readings: their number and the second of simulated time."""
    curve, window = Curve(), RateWindow()
    for seq, seconds in readings:
        stats = make_stats(seq, vms=VMS[:1])
        stats = msgspec.structs.replace(stats, sim_time_ns=round(seconds * SECOND))
        curve.add(Snapshot("hv01", None, None, stats, window.take(stats)), seq)
    return curve.history


def test_missed_readings_are_a_gap_in_a_chart_of_their_length() -> None:
    history = _curve([*((n, n / 4) for n in range(1, 41)), *((n, n / 4) for n in range(141, 161))])
    known = [value is not None for value in history.last(("pps",), 100)]
    assert len(known) == 40
    assert known.count(False) == 1 + 24  # the first reading has no rate


def test_slow_readings_stand_for_all_seconds_between_them() -> None:
    history = _curve([(n, 5.0 * n) for n in range(1, 9)])
    assert [value is not None for value in history.last(("pps",), 100)] == [False] + [True] * 35


def test_readings_that_are_late_by_a_little_lose_no_second() -> None:
    late = [0.0, 1.001, 1.999, 3.001, 3.999, 5.001, 5.6, 6.56, 7.52, 8.48, 9.44, 10.4, 11.36, 12.32]
    history = _curve(list(enumerate(late, 1)))
    assert len(history.last(("pps",), 100)) == 13


def test_years_of_simulated_time_between_two_readings_are_no_years_of_points() -> None:
    history = _curve([(1, 0.0), (2, 1.0), (3, 3e8), (4, 3e8 + 1)])
    assert len(history._moments) <= 2 * POINTS
    assert history.peaks(((("pps",),),), 3600, 60)[0][-1] is not None
