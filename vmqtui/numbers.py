"""Formatting of numbers: compact, aligned, and unknown distinct from zero."""

UNKNOWN = "–"


def compact(value: float | None) -> str:
    """A number in up to five characters, plus a sign: 0, 0.42, 832, 12.3k, 4.56M, 789G; "–" if unknown."""
    if value is None:
        return UNKNOWN
    if value < 0:
        return "-" + compact(-value)
    if value == 0:
        return "0"
    if value < 999.5:
        return _three_digits(value)
    for suffix in "kMGTP":
        value /= 1000
        if value < 999.5:
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{suffix}"
    return f"{value / 1000:.0f}E"


def _three_digits(value: float) -> str:
    if value < 0.005:
        return "<.01"
    if value < 9.995:
        text = f"{value:.2f}"
        return text[:-3] if text.endswith(".00") else text
    if value < 99.95:
        text = f"{value:.1f}"
        return text[:-2] if text.endswith(".0") else text
    return f"{value:.0f}"


def grouped(value: float | None) -> str:
    """A whole number with thousands separators up to 99,999,999, compact above; "–" if unknown."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) < 100_000_000 else compact(value)


def decimal(value: float | None) -> str:
    """A rate with more digits than ``compact``, for comparison: 3,421  842.1  9.87  0; "–" if unknown."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if value >= 9_999.5:
        return compact(value)
    if value >= 999.95:
        return f"{value:,.0f}"
    if value >= 99.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.005 else "<.01"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage: 0%, <.1%, 4.2%, 100%; "–" if unknown."""
    if fraction is None:
        return UNKNOWN
    value = fraction * 100
    if value == 0:
        return "0%"
    if value < 0.05:
        return "<.1%"
    return f"{value:.1f}%" if value < 99.95 else f"{value:.0f}%"


def size(count: float | None) -> str:
    """Bytes in binary units: 512 B, 1.50 KiB, 778 MiB; "–" if unknown."""
    if count is None:
        return UNKNOWN
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 999.5:
            return f"{_three_digits(count)} {unit}"
    return f"{_three_digits(count / 1024)} TiB"


def wait(nanoseconds: float | None) -> str:
    """A short duration in a fitting unit: 850 ns, 12.3 µs, 4.05 ms; "–" if unknown."""
    if nanoseconds is None:
        return UNKNOWN
    if nanoseconds < 1000:
        return f"{nanoseconds:.0f} ns"
    for unit in ("µs", "ms"):
        nanoseconds /= 1000
        if nanoseconds < 999.5:
            return f"{_three_digits(nanoseconds)} {unit}"
    return f"{_three_digits(nanoseconds / 1000)} s"


def span(seconds: float) -> str:
    """A length of time in words: 4.05 ms, 12.3 s, 5.2 minutes, 3.1 hours, 12 days, 4.5 years."""
    if seconds < 120:
        return wait(seconds * 1e9)
    for unit, in_seconds, most in (("minutes", 60, 120), ("hours", 3600, 48), ("days", 86_400, 730)):
        if seconds < most * in_seconds:
            return f"{_three_digits(seconds / in_seconds)} {unit}"
    years = seconds / (365.25 * 86_400)
    return f"{_three_digits(years)} years" if years < 999.5 else f"{years:,.0f} years"


def clock(nanoseconds: int | None) -> str:
    """Simulated time as 4.2s, 1:23.4 or 2:03:04; "–" if unknown."""
    if nanoseconds is None:
        return UNKNOWN
    tenths = nanoseconds // 100_000_000
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest // 10:02d}"
    if minutes:
        return f"{minutes}:{rest / 10:04.1f}"
    return f"{rest / 10:.1f}s"


def age(seconds: float) -> str:
    """An age in a fitting unit: 3 s, 5 min, 2 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
