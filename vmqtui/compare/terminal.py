"""A comparison on a terminal: tables that fit its width, then who wins at what."""

from textwrap import wrap
from typing import Final

from engine.service.compare.comparison import Comparison
from vmqtui.compare.grid import WHAT_WINS, WINNER, Grid, aligned, grid, moves, summary, verdicts

_MOVES: Final = 4


def lines(comparison: Comparison, width: int | None) -> list[str]:
    """The comparison in lines; columns that don't fit ``width`` (None: no bound) stand in tables below."""
    made = grid(comparison)
    out = [summary(comparison), ""]
    for part in _parts(made, width):
        out += [*aligned(part.heads, part.rows), ""]
    if made.alike:
        out += ["the same in all: " + ", ".join(f"{title} {value}" for title, value in made.alike), ""]
    out += _moves(comparison, width)
    found = verdicts(comparison)
    if not found:
        return [*out, "no run is better than another at anything" if len(comparison.runs) > 1 else ""]
    for sentence in (f"{WINNER} {WHAT_WINS}", *(f"{name}: {wins}" for name, wins in found)):
        out += [sentence] if width is None else wrap(sentence, width, subsequent_indent="    ")
    return out


def _moves(comparison: Comparison, width: int | None) -> list[str]:
    """What the balancer moved first, and why."""
    out = []
    for name, sentence in moves(comparison, most=_MOVES):
        if name:
            out.append(f"{name}, moved by the balancer:")
        line = f"  {sentence}"
        out += [line] if width is None else wrap(line, width, subsequent_indent="      ")
    return [*out, ""] if out else []


def _parts(whole: Grid, width: int | None) -> list[Grid]:
    """The grid in parts that fit, each with the first column."""
    if width is None:
        return [whole]
    parts = []
    columns = list(range(1, len(whole.heads)))
    while columns:
        count = len(columns)
        while count > 1 and max(map(len, aligned(*_of(whole, columns[:count])))) > width:
            count -= 1
        parts.append(Grid(*_of(whole, columns[:count]), ()))
        columns = columns[count:]
    return parts


def _of(whole: Grid, columns: list[int]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    places = [0, *columns]
    return tuple(whole.heads[n] for n in places), tuple(tuple(row[n] for n in places) for row in whole.rows)
