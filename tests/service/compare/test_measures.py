"""What plans are compared by, each against a slow reading of what it says it is."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.service.compare.measures import MEASURES, best, gini, max_over_mean

BY_KEY = {measure.key: measure for measure in MEASURES}

loads = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)


@given(loads)
def test_gini_is_half_the_mean_difference_of_any_two_over_the_mean(values: list[int]) -> None:
    count, total = len(values), sum(values)
    if not total:
        assert gini(values) is None
        return
    differences = sum(abs(one - other) for one in values for other in values)
    expected = Fraction(differences, count * count) / 2 / Fraction(total, count)
    assert gini(values) == pytest.approx(float(expected), abs=1e-12)


def test_gini_is_0_where_all_are_the_same_and_near_1_where_one_has_everything() -> None:
    assert gini([7, 7, 7, 7]) == 0
    assert gini([0, 0, 0, 9]) == 0.75
    assert gini([5]) == 0


@given(loads)
def test_max_over_mean_is_what_it_says(values: list[int]) -> None:
    mean = Fraction(sum(values), len(values))
    assert max_over_mean(values) == (pytest.approx(float(max(values) / mean)) if mean else None)


def test_the_best_are_those_within_a_thousandth_and_none_where_all_are_alike() -> None:
    lower, higher = BY_KEY["gini"], BY_KEY["delivered"]
    assert best(lower, [0.5, 0.2, 0.2001, 0.3]) == [1, 2]
    assert best(higher, [0.5, 1.0, 0.9995]) == [1, 2]
    assert best(lower, [0.2, 0.2, 0.2]) == []


def test_what_is_unknown_neither_wins_nor_makes_another_win() -> None:
    assert best(BY_KEY["gini"], [None, 0.2, 0.5]) == [1]
    assert best(BY_KEY["gini"], [None, 0.2]) == []
    assert best(BY_KEY["offered"], [1, 2]) == []


def test_every_measure_has_a_name_a_column_and_a_sentence() -> None:
    assert len(BY_KEY) == len(MEASURES)
    for measure in MEASURES:
        assert len(measure.short) <= 8
        assert measure.help.endswith((".", ")."))


def test_a_plan_that_drops_frames_wins_at_nothing_that_dropping_makes_easier() -> None:
    latency, delivered = BY_KEY["latency_p99_ns"], BY_KEY["delivered"]
    shares = [0.6, 1.0, 0.9995]
    assert best(latency, [100, 400, 300], shares) == [2]
    assert best(latency, [100, 400, 300], [0.6, 1.0, 0.9]) == []  # there is none to compare it with
    assert best(latency, [100, 400, 300], [None, None, None]) == [0]
    assert best(delivered, shares, shares) == [1, 2]
