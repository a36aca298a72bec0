"""A moment as a person types it: a time of day, or how long after the beginning or before the end it is."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from vmqtui.numbers import UNKNOWN

_DAY: Final = r"(?:(\d{4})-(\d\d)-(\d\d)[T ])?"
_CLOCK: Final = re.compile(_DAY + r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d{1,9})?))?")
_AWAY: Final = re.compile(
    r"([+-])(?:(\d{1,6}(?:\.\d{1,9})?) ?(s|min|m|h)?|(?:(\d{1,4}):)?(\d{1,4}):(\d\d(?:\.\d{1,9})?))"
)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}

FITS: Final = (
    "14:03, 14:03:20, 2026-11-26 14:03:20 (UTC), +90 or +1:30 after the beginning, -30 before the end"
)


def read_when(text: str, first_ns: int, last_ns: int) -> int:
    """The Unix time in ns that is meant; a time of day without a date is the last such before ``last_ns``.

    Raises ValueError (``FITS`` says what would do), also where it is not between the ends.
    """
    text = text.strip()
    if away := _AWAY.fullmatch(text):
        sign, number, unit, hours, minutes, seconds = away.groups(default="")
        length = float(number) * _SECONDS[unit] if number else _length(hours, minutes, seconds)
        at_ns = first_ns + round(length * 1e9) if sign == "+" else last_ns - round(length * 1e9)
    elif clock := _CLOCK.fullmatch(text):
        at_ns = _of_day(clock, last_ns)
    else:
        raise ValueError("not a time")
    # What was typed to the second means all of that second.
    if at_ns < first_ns - 1_000_000_000 or at_ns > last_ns + 1_000_000_000:
        raise ValueError(
            f"{'before' if at_ns < first_ns else 'after'} all there is: {ends(first_ns, last_ns)}"
        )
    return min(max(at_ns, first_ns), last_ns)


def _length(hours: str, minutes: str, seconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def _of_day(clock: "re.Match[str]", last_ns: int) -> int:
    year, month, day, hour, minute, second = clock.groups(default="")
    last = _date(last_ns)
    if last is None:
        raise ValueError("its times are no dates (+90 or -30 fits)")
    try:
        date = datetime(int(year), int(month), int(day), tzinfo=UTC) if year else last
        at = date.replace(hour=int(hour), minute=int(minute), second=int(float(second or 0)), microsecond=0)
    except ValueError as error:
        raise ValueError(f"not a time: {error}") from None
    if not year and at > last + timedelta(seconds=1):
        at -= timedelta(days=1)
    return round(at.timestamp()) * 1_000_000_000 + round(float(second or 0) % 1 * 1e9)


def _date(time_ns: int) -> datetime | None:
    """To the second; None where it is none, as a file may claim anything."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def ends(first_ns: int, last_ns: int) -> str:
    """From when to when there are readings, in words."""
    first, last = _date(first_ns), _date(last_ns)
    same_day = first is not None and last is not None and first.date() == last.date()
    until = UNKNOWN if last is None else f"{last:%H:%M:%S}" if same_day else f"{last:%Y-%m-%d %H:%M:%S}"
    return f"{UNKNOWN if first is None else f'{first:%Y-%m-%d %H:%M:%S}'} to {until} UTC"
