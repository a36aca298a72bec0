"""Bars, trends and stacked charts made of characters. Pure functions that need no terminal."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import floor, log10, sqrt
from typing import Final, Literal

from rich.cells import cell_len, set_cell_size

Span = tuple[str, str]
"""Text and its palette role."""
Line = list[Span]

_EIGHTHS_UP = " ▁▂▃▄▅▆▇█"
_EIGHTHS_RIGHT = " ▏▎▍▌▋▊▉█"
NO_POINT = "·"
_TOPS: Final = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
"""Leading digits of the value at the top of a chart."""
FREE = "▒"
"""The glyph of a bar's empty part."""


def cells_of(text: str) -> int:
    """The width of ``text`` on the screen, in cells."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` padded or cut to exactly ``width`` cells; cut text ends in an ellipsis."""
    length = cells_of(text)
    if length > width:
        if width <= 0:
            return ""
        return text[: width - 1] + "…" if text.isascii() else set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def bar(parts: Sequence[tuple[float, str]], width: int, track: str = "track") -> Line:
    """A horizontal bar of ``width`` cells: each part's fraction in its role, the rest as a track.

    Its end has a resolution of an eighth of a cell; a sum above zero is at least one. Parts share its cells.
    """
    fractions = [max(0.0, fraction) for fraction, _ in parts]
    full, rest = divmod(_steps(sum(fractions), width * 8), 8)
    text = "█" * full + (_EIGHTHS_RIGHT[rest] if rest else "")
    spans: Line = []
    used = 0
    for count, (_, role) in zip(_share(fractions, len(text)), parts, strict=True):
        if count:
            spans.append((text[used : used + count], role))
            used += count
    if used < width:
        spans.append(("╌" * (width - used), track))
    return spans


def bands(parts: Sequence[tuple[float, str, str]], width: int, mark: float | None = None) -> Line:
    """A bar of ``width`` cells whose parts (fraction, glyph, role) have glyphs of their own.

    The rest is a track. ``mark`` is the fraction at which a line is drawn, moved right past the filled cells
    if necessary. Free cells ("▒") come last and, like the track, are not filled. If the filled parts' sum is
    above zero, it has at least one cell; they share its cells.
    """
    taken = [max(0.0, fraction) for fraction, glyph, _ in parts if glyph != FREE]
    free = [max(0.0, fraction) for fraction, glyph, _ in parts if glyph == FREE]
    filled = _steps(sum(taken), width)
    ends = max(filled, _steps(sum(taken) + sum(free), width))
    counts = [*_share(taken, filled), *_share(free, ends - filled)]
    cells: list[Span] = []
    for count, (_, glyph, role) in zip(counts, parts, strict=True):
        cells += [(glyph, role)] * count
    cells += [("╌", "track")] * (width - len(cells))
    if mark is not None and width:
        role = "bad" if mark >= 1 else "warn" if mark > 0.95 else "dim"
        cells[min(width - 1, max(filled, round(mark * width)))] = ("┃", role)
    return join(cells)


def _steps(fraction: float, steps: int) -> int:
    """The nearest number of ``steps`` to a fraction of them, capped at all; above zero at least one."""
    return min(steps, max(round(min(1.0, fraction) * steps), 1 if fraction > 0 else 0))


def _share(fractions: Sequence[float], cells: int) -> list[int]:
    """The number of ``cells`` of each part, in proportion.

    A part above zero has at least one if there are enough; else the largest parts have one each.
    """
    counts = [0] * len(fractions)
    parts = [index for index, fraction in enumerate(fractions) if fraction > 0]
    if len(parts) >= cells:
        for index in sorted(parts, key=lambda index: -fractions[index])[:cells]:
            counts[index] = 1
        return counts
    whole = sum(fractions)
    start, total = 0, 0.0
    for left, index in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        total += fractions[index]
        end = min(max(round(total / whole * cells), start + 1), cells - left) if left else cells
        counts[index], start = end - start, end
    return counts


TrendStyle = Literal["braille", "blocks", "ascii"]
"""The characters of trends."""
TrendScale = Literal["count", "share", "amount"]
"""The kind of a trend's values: frames (or other events) a second, shares from 0 to 1, or other amounts."""
_STEPS: Final = (1.25, 2.0, 4.0)
"""Factors above, or below, the usual value at which a trend rises, or falls, to its next level."""
_BLOCKS: Final = "▁▂▂▃▄▅▇█ "
"""The cell of each level: zero, three below the usual value, that value, three above; the last is unknown."""
_ASCII: Final = "_...-^^^ "
_LEFT: Final = (0x40, 0x04, 0x04, 0x04, 0x02, 0x01, 0x01, 0x01, 0)
_RIGHT: Final = (0x80, 0x20, 0x20, 0x20, 0x10, 0x08, 0x08, 0x08, 0)
_BRAILLE: Final = [
    [chr(0x2800 | left | right) if left | right else " " for right in _RIGHT] for left in _LEFT
]
"""The cell of two levels, by the left and the right one."""

_style: TrendStyle = "braille"


def fitting_style(environment: Mapping[str, str], encoding: str, windows: bool) -> TrendStyle:
    """The best style of trends for a terminal.

    "ascii" if its encoding is not Unicode, or on Linux's own console, whose fonts lack the glyphs; "blocks"
    on the classic console of Windows, whose fonts lack braille.
    """
    if "utf" not in encoding.lower() or environment.get("TERM") == "linux":
        return "ascii"
    if windows and not any(name in environment for name in ("WT_SESSION", "TERM_PROGRAM", "TERM")):
        return "blocks"
    return "braille"


def use_trends(style: TrendStyle) -> None:
    """Set the style of all trends."""
    global _style
    _style = style


def points_of(width: int) -> int:
    """Number of values that a trend of ``width`` cells shows: two a cell in braille, else one."""
    return 2 * width if _style == "braille" else width


def trend(values: Sequence[float | None], width: int, scale: TrendScale = "count") -> str:
    """The last values as a line of ``width`` cells, newest at the right: what changes, not how much it is.

    Zero is at the bottom, the usual value (the median of those above zero) in the middle; a value is above if
    it is more than 1.25 × the usual one, below if it is less than 1/1.25 of it, and only by more than chance:
    for a count 3 × the square root of the usual one, for a share 0.05. In blocks, levels follow at twice and
    four times (half and a quarter). Unknown is a gap; if every value is unknown, "–".
    """
    room = points_of(width)
    return _trend(tuple(values[-room:]) if room else (), width, scale, _style)


@lru_cache(maxsize=4096)  # a series has a new value once a second, and is drawn more often
def _trend(shown: tuple[float | None, ...], width: int, scale: TrendScale, style: TrendStyle) -> str:
    room = 2 * width if style == "braille" else width
    known = sorted([value for value in shown if value])
    if not known:
        if not any(value is not None for value in shown):
            return fit("–", width)
        levels = [-1 if value is None else 0 for value in shown]
    else:
        bounds = _bounds(known[len(known) // 2], scale)
        levels = [
            -1 if value is None else 1 + bisect_left(bounds, value) if value > 0 else 0 for value in shown
        ]
    levels = [-1] * (room - len(levels)) + levels
    if style == "braille":
        return "".join([_BRAILLE[left][right] for left, right in zip(levels[::2], levels[1::2], strict=True)])
    glyphs = _BLOCKS if style == "blocks" else _ASCII
    return "".join([glyphs[level] for level in levels])


def _bounds(usual: float, scale: TrendScale) -> tuple[float, ...]:
    """Bounds of the levels 1 to 7, ascending."""
    least = 3 * sqrt(usual) if scale == "count" else 0.05 if scale == "share" else 0.0
    above = [max(usual * step, usual + least) for step in _STEPS]
    below = [min(usual / step, usual - least) for step in reversed(_STEPS)]
    return (*below, *above)


def stacked(
    series: Sequence[tuple[Sequence[float | None], str]], width: int, height: int, top: float | None = None
) -> tuple[list[Line], float]:
    """A stacked column chart, newest at the right, and the value at its top: ``top``, or a round number.

    ``series`` lists values and role from the bottom up; all have the same length. If any value of a column is
    unknown, the column is a "·" at the bottom. A cell shared by two parts has both roles, joined by "/"
    (foreground/background).
    """
    count = min(width, min((len(values) for values, _ in series), default=0))
    columns = [[values[len(values) - count + index] for values, _ in series] for index in range(count)]
    sums = [sum(value for value in column if value is not None) for column in columns]
    high = top if top else _round_up(max(sums, default=0.0))
    rows: list[list[Span]] = [[(" ", "track")] * (width - count) for _ in range(height)]
    for column in columns:
        cells = _stacked_column(column, [role for _, role in series], height, high)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    for index in range(width - count):
        rows[-1][index] = (NO_POINT, "track")
    return [join(row) for row in rows], high


def _round_up(value: float) -> float:
    """A round number at or above a value: the top of a chart, which then seldom changes."""
    if value <= 0:
        return 0.0
    power = 10.0 ** floor(log10(value))
    return next((step * power for step in _TOPS if step * power >= value), 10 * power)


def _stacked_column(values: list[float | None], roles: list[str], height: int, high: float) -> list[Span]:
    """One column of a stacked chart, top cell first."""
    if any(value is None for value in values) or high <= 0:
        foot = NO_POINT if any(value is None for value in values) else "▁"
        return [(" ", "track")] * (height - 1) + [(foot, "track")]
    ends: list[tuple[int, str]] = []
    total = 0.0
    for value, role in zip(values, roles, strict=True):
        total += value or 0.0
        ends.append((round(min(1.0, total / high) * height * 8), role))
    cells: list[Span] = []
    for level in range(height - 1, -1, -1):
        low = level * 8
        here = [(min(end, low + 8) - low, role) for end, role in ends if end > low]
        if not here:
            cells.append((" ", "track"))
            continue
        first, role = here[0]
        if first >= 8:
            cells.append(("█", role))
        elif len(here) > 1 and here[-1][0] > first:
            cells.append((_EIGHTHS_UP[max(1, first)], f"{role}/{here[1][1]}"))
        else:
            cells.append((_EIGHTHS_UP[max(1, first)], role))
    return cells


def join(spans: Sequence[Span]) -> Line:
    """Merge adjacent spans of the same role."""
    line: Line = []
    for text, role in spans:
        if line and line[-1][1] == role:
            line[-1] = (line[-1][0] + text, role)
        else:
            line.append((text, role))
    return line


def width_of(line: Sequence[Span]) -> int:
    """The width of a line, in cells."""
    return sum(cells_of(text) for text, _ in line)


def clip(line: Sequence[Span], width: int) -> Line:
    """A line cut to at most ``width`` cells; a cut span ends in an ellipsis."""
    room = width
    kept: Line = []
    for text, role in line:
        length = cells_of(text)
        if length > room:
            kept.append((fit(text, room), role))
            return kept
        kept.append((text, role))
        room -= length
    return kept


def spread(left: Sequence[Span], right: Sequence[Span], width: int) -> Line:
    """A line with one group at each end; if they don't fit, the right one is left out."""
    gap = width - width_of(left) - width_of(right)
    if gap < 1:
        return clip(left, width)
    return [*left, (" " * gap, "text"), *right]
