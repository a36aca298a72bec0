"""A comparison in words, for a terminal and in Markdown: the grid of runs and measures, and the winners."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from engine import __version__
from engine.counted import counted
from engine.service.compare.comparison import Comparison
from engine.service.compare.measures import MEASURES, Measure
from engine.service.compare.runs import Run
from vmqtui.numbers import UNKNOWN, decimal, grouped, percent, wait
from vmqtui.printable import printable

WINNER: Final = "*"
WHAT_WINS: Final = "best, within 0.1 %; in load, latency and buffers, of those that deliver most"
MOST_ACROSS: Final = 6
"""Runs that stand side by side, a column each; more stand below each other, a row each."""

_LABEL_CHARACTERS: Final = 120
_UNITS_NAMED: Final = ("frames/s",)
"""Units that stand beside the name of a measure; others are in the name, or with the value."""


@dataclass(frozen=True)
class Grid:
    """Heads, of one line or more, and rows of cells; the first column is of names. ``alike`` are the measures
    that are the same in every run, with their one value, where they are not among the rows or columns."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alike: tuple[tuple[str, str], ...]


def words(measure: Measure, value: float | None) -> str:
    """A value of a measure as people read it."""
    if value is None:
        return UNKNOWN
    match measure.unit:
        case "share":
            return percent(value)
        case "ratio":
            return f"{value:.3f}"
        case "ns":
            return wait(value)
        case "frames/s":
            return f"{value:,.0f}" if value >= 100 else decimal(value)
        case _:
            return grouped(value)


def _with_unit(name: str, measure: Measure, between: str) -> str:
    """The name of a measure, with its unit where values don't have one."""
    return f"{name}{between}{measure.unit}" if measure.unit in _UNITS_NAMED else name


def shown(comparison: Comparison) -> list[Measure]:
    """The measures, without those that none of these plans has."""
    return [
        measure
        for measure in MEASURES
        if not measure.some or any(value is not None for value in comparison.values(measure.key))
    ]


def _label_lines(run: Run) -> list[str]:
    """A label in lines: the plan, and each setting."""
    return [run.name, *run.words]


def labels(comparison: Comparison) -> list[str]:
    """A name for each run, safe to print."""
    return [printable(run.label, _LABEL_CHARACTERS) for run in comparison.runs]


def grid(comparison: Comparison) -> Grid:
    """The comparison in words: measures down and runs across, or the other way where there are many runs."""
    cells = {
        measure.key: [
            words(measure, value) + (f" {WINNER}" if n in comparison.winners[measure.key] else "")
            for n, value in enumerate(comparison.values(measure.key))
        ]
        for measure in shown(comparison)
    }
    names = labels(comparison)
    if len(names) <= MOST_ACROSS:
        rows = [
            (_with_unit(measure.title, measure, ", "), *cells[measure.key]) for measure in shown(comparison)
        ]
        heads = ["\n".join(printable(word) for word in _label_lines(run)) for run in comparison.runs]
        return Grid(("", *heads), tuple(rows), ())
    differ = [measure for measure in shown(comparison) if len(set(cells[measure.key])) > 1]
    return Grid(
        ("", *(_with_unit(measure.short, measure, "\n") for measure in differ)),
        tuple((name, *(cells[measure.key][n] for measure in differ)) for n, name in enumerate(names)),
        tuple(
            (measure.title, _with_unit(cells[measure.key][0], measure, " "))
            for measure in shown(comparison)
            if measure not in differ
        ),
    )


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Each run that wins at something, and at what; most wins first."""
    names = labels(comparison)
    wins: dict[int, list[str]] = {}
    for measure in MEASURES:
        for n in comparison.winners[measure.key]:
            wins.setdefault(n, []).append(measure.title)
    ranked = sorted(wins, key=lambda n: (-len(wins[n]), n))
    return [(names[n], ", ".join(wins[n])) for n in ranked]


def summary(comparison: Comparison) -> str:
    """What went through how many runs, and how long that took."""
    sim_seconds = max(result.sim_seconds for result in comparison.results)
    lasts = wait(sim_seconds * 1e9) if sim_seconds < 1 else f"{sim_seconds:,.6g} s"
    if sim_seconds >= 1000:
        lasts = f"{sim_seconds:,.0f} s"
    return (
        f"{printable(comparison.traffic, 200)}, {lasts} of simulated time, through"
        f" {counted(len(comparison.runs), 'run')} in {comparison.wall_seconds:.1f} s {comparison.where}"
    )


def low_queues(comparison: Comparison, most: int = 3) -> list[tuple[str, str]]:
    """Of each run, the queues whose buffers came nearest to running out."""
    return [
        (
            name,
            "; ".join(
                f"{printable(one.queue)}: {one.low_free_buffers:,} of {one.total_buffers:,} free"
                for one in result.lowest[:most]
            )
            or UNKNOWN,
        )
        for name, result in zip(labels(comparison), comparison.results, strict=True)
    ]


def moves(comparison: Comparison, most: int = 12) -> list[tuple[str, str]]:
    """Of each run with a balancer, what it moved and why: its first moves, a line each."""
    found = []
    for name, result in zip(labels(comparison), comparison.results, strict=True):
        if result.moves is None:
            continue
        total = sum(int(result.values[key] or 0) for key in ("moved_away", "moved_home"))
        lines = [
            f"{one.sim_time_ns / 1e9:,.3f} s {printable(one.queue or f'queue {one.queue_id}')} on"
            f" {printable(one.adapter)}: {printable(one.cause.removeprefix('balancer, '))}"
            for one in result.moves[:most]
        ]
        if total > len(lines):
            lines.append(f"and {total - len(lines):,} more")
        found += [(name if place == 0 else "", line) for place, line in enumerate(lines or ["none"])]
    return found


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right, numbers above each other
    though a winner's mark follows some."""
    broken = [head.split("\n") for head in heads]
    stacked = [
        [f"{lines[n] if n < len(lines) else ''}{'  ' * bool(place)}" for place, lines in enumerate(broken)]
        for n in range(max(map(len, broken)))
    ]
    lines = [*stacked, *([*row[:1], *(_marked(cell) for cell in row[1:])] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return [
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _marked(cell: str) -> str:
    return cell if cell.endswith(f" {WINNER}") else f"{cell}  "


_MOVES_IN_TERMINAL: Final = 4


def lines(comparison: Comparison, width: int | None) -> list[str]:
    """The comparison in lines; columns that don't fit ``width`` (None: no bound) stand in tables below."""
    made = grid(comparison)
    out = [summary(comparison), ""]
    for part in _tables(made, width):
        out += [*aligned(part.heads, part.rows), ""]
    if made.alike:
        out += ["the same in all: " + ", ".join(f"{title} {value}" for title, value in made.alike), ""]
    out += _moved(comparison, width)
    found = verdicts(comparison)
    if not found:
        return [*out, "no run is better than another at anything" if len(comparison.runs) > 1 else ""]
    for sentence in (f"{WINNER} {WHAT_WINS}", *(f"{name}: {wins}" for name, wins in found)):
        out += [sentence] if width is None else wrap(sentence, width, subsequent_indent="    ")
    return out


def _moved(comparison: Comparison, width: int | None) -> list[str]:
    """What the balancer moved first, and why."""
    out = []
    for name, sentence in moves(comparison, most=_MOVES_IN_TERMINAL):
        if name:
            out.append(f"{name}, moved by the balancer:")
        line = f"  {sentence}"
        out += [line] if width is None else wrap(line, width, subsequent_indent="      ")
    return [*out, ""] if out else []


def _tables(whole: Grid, width: int | None) -> list[Grid]:
    """The grid in parts that fit, each with the first column."""
    if width is None:
        return [whole]
    parts = []
    columns = list(range(1, len(whole.heads)))
    while columns:
        count = len(columns)
        while count > 1 and max(map(len, aligned(*_part(whole, columns[:count])))) > width:
            count -= 1
        parts.append(Grid(*_part(whole, columns[:count]), ()))
        columns = columns[count:]
    return parts


def _part(whole: Grid, columns: list[int]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    places = [0, *columns]
    return tuple(whole.heads[n] for n in places), tuple(tuple(row[n] for n in places) for row in whole.rows)


_ESCAPED = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>|#~&"})


def markdown(comparison: Comparison) -> str:
    """The report: what was run, the table, who wins at what, the queues that were short of buffers."""
    made = grid(comparison)
    parts = [
        "# Comparison",
        _escaped(summary(comparison)) + f". Made by vmqtui {__version__}.",
        _markdown_table([head.replace("\n", " ") for head in made.heads], made.rows),
    ]
    if made.alike:
        parts.append(
            "The same in all: " + ", ".join(f"{title} {_escaped(value)}" for title, value in made.alike) + "."
        )
    parts.append(f"{_escaped(WINNER)}: {WHAT_WINS}.")
    parts.append("## Who wins at what")
    parts.append(
        "\n".join(f"- **{_escaped(name)}**: {wins}" for name, wins in verdicts(comparison))
        or "No run is better than another at anything."
    )
    parts.append("## Queues nearest to running out of buffers")
    parts.append(_markdown_table(("", "fewest that were free"), low_queues(comparison), "---"))
    if moved := moves(comparison):
        parts += ["## What the balancer moved", _markdown_table(("", "when, what and why"), moved, "---")]
    parts.append("## What is measured")
    parts.append(
        _markdown_table(
            ("", "unit", "better", ""),
            [(one.title, one.unit, one.better or "–", one.help) for one in shown(comparison)],
            "---",
        )
    )
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return text.translate(_ESCAPED)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---:") -> str:
    lines = [heads, ["---", *[rule] * (len(heads) - 1)], *rows]
    drawn = [[cell if n == 1 else _escaped(cell) for cell in line] for n, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in drawn)
