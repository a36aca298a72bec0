"""A moment as a person types it."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmqtui.state.moment import ends, read_when


def ns(text: str) -> int:
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000


FIRST, LAST = ns("2026-11-25 23:58:00"), ns("2026-11-26 00:12:30.5")
SHOWN = ns("2026-11-26 00:06:00")


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ("00:03", "2026-11-26 00:03:00"),
        ("0:03:20.25", "2026-11-26 00:03:20.25"),
        ("23:59:10", "2026-11-25 23:59:10"),  # which was yesterday
        ("2026-11-25 23:59", "2026-11-25 23:59:00"),
        ("2026-11-26T00:01:02", "2026-11-26 00:01:02"),
        ("+90", "2026-11-26 00:07:30"),
        ("+1:30", "2026-11-26 00:07:30"),
        (" -2m ", "2026-11-26 00:04:00"),
        ("-30.5 s", "2026-11-26 00:05:29.5"),
        ("+0:06:31", "2026-11-26 00:12:30.5"),
        ("00:12:31", "2026-11-26 00:12:30.5"),  # within the second that is shown as the last
        ("+0", "2026-11-26 00:06:00"),
    ],
)
def test_times_of_day_and_distances_from_what_is_shown_are_read(typed: str, at: str) -> None:
    assert read_when(typed, FIRST, LAST, SHOWN) == ns(at)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "not a time"),
        ("noon", "not a time"),
        ("90", "not a time"),
        ("24:00", "not a time"),
        ("2026-13-01 00:00", "not a time"),
        ("00:12:60", "not a time"),
        ("12:00", "before all there is: 2026-11-25 23:58:00 to 2026-11-26 00:12:30 UTC"),
        ("+1h", "after all there is"),
        ("-999999h", "before all there is"),
    ],
)
def test_what_is_no_time_that_can_be_seen_is_said_with_what_fits(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_when(typed, FIRST, LAST, SHOWN)


def test_a_recording_whose_times_are_no_dates_is_gone_through_by_distances() -> None:
    last = 2**62 * 1000
    assert read_when("+5", 0, last, 0) == 5_000_000_000
    with pytest.raises(ValueError, match="its times are no dates"):
        read_when("14:03", 0, last, 0)
    assert ends(0, last) == "1970-01-01 00:00:00 to – UTC"


TIMES = st.integers(-(2**63), 2**64)


@given(st.text("0123456789+-:. TsmhZ\u0663\u00b2", max_size=20), TIMES, TIMES, TIMES)
def test_whatever_is_typed_is_a_moment_that_can_be_seen_or_a_sentence(
    text: str, one: int, other: int, shown: int
) -> None:
    first, last = sorted((one, other))
    with suppress(ValueError):
        assert first <= read_when(text, first, last, shown) <= last
