"""A comparison as text, for a terminal and in Markdown: the grid of runs and measures, and the winners."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from engine import __version__
from engine.counted import counted
from engine.service.compare.comparison import Comparison
from engine.service.compare.measures import MEASURES, Measure
from engine.service.compare.runs import Run
from vmqtui.numbers import UNKNOWN, decimal, grouped, percent, span, wait
from vmqtui.printable import printable

WINNER: Final = "*"
WHAT_WINS: Final = "best, within 0.1 %; in load, latency and buffers, of those that deliver most"
MOST_ACROSS: Final = 6
"""Up to this number of runs, each run is a column of the grid; with more, each is a row."""

_LABEL_CHARACTERS: Final = 120
_UNITS_NAMED: Final = ("frames", "frames/s", "cycles", "buffers")
"""Units shown next to a measure's name, or a plain number; other units are part of each value."""
_UNIT_IN_WORDS: Final = {
    "share": "%",
    "ratio": "×",
    "ns": "ns, µs or ms",
    "count": "number",
}
_GINI: Final = "gini"
_EVENNESS: Final = ((0.1, "even"), (0.3, "fair"), (1.0, "uneven"))
"""The word for a Gini coefficient up to a limit."""
_GAPS_SHARE: Final = 0.5
"""From this share of time without frames on, a capture has gaps that matter for rates and loads."""


@dataclass(frozen=True)
class Grid:
    """A table of text: heads (of one or more lines) and rows; the first column has names.

    ``alike`` has (title, value) of the measures left out of the table because all runs have the same value.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alike: tuple[tuple[str, str], ...]


def words(measure: Measure, value: float | None) -> str:
    """Format a value of a measure without the unit that ``titled`` has, "–" if unknown."""
    if value is None:
        return UNKNOWN
    match measure.unit:
        case "share":
            return percent(value)
        case "ratio" if measure.key == _GINI:
            return f"{value:.2f} {next(word for most, word in _EVENNESS if value <= most or most == 1.0)}"
        case "ratio":
            return f"{value:.2f} ×"
        case "ns":
            return wait(value)
        case "frames/s":
            return f"{value:,.0f}" if value >= 100 else decimal(value)
        case _:
            return grouped(value)


def with_unit(text: str, measure: Measure, between: str) -> str:
    """Append the measure's unit to a text if the measure's formatted values have none."""
    return f"{text}{between}{measure.unit}" if measure.unit in _UNITS_NAMED else text


def titled(measure: Measure) -> str:
    """The title of a measure with its unit."""
    return measure.title if measure.unit in measure.title.split() else with_unit(measure.title, measure, ", ")


def _unit_in_words(measure: Measure) -> str:
    return "0 to 1" if measure.key == _GINI else _UNIT_IN_WORDS.get(measure.unit, measure.unit)


def meanings(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """(title, unit, which is better, explanation) of each measure shown."""
    return [(one.title, _unit_in_words(one), one.better or "–", one.help) for one in shown(comparison)]


MEANING_HEADS: Final = ("measure", "unit", "better", "meaning")


def shown(comparison: Comparison) -> list[Measure]:
    """The measures to show: all but the optional ones that no run has."""
    return [
        measure
        for measure in MEASURES
        if not measure.some or any(value is not None for value in comparison.values(measure.key))
    ]


def _label_lines(run: Run) -> list[str]:
    """A run's label in lines: the plan, then each setting."""
    return [run.name, *run.words]


def labels(comparison: Comparison) -> list[str]:
    """The label of each run, safe to print."""
    return [printable(run.label, _LABEL_CHARACTERS) for run in comparison.runs]


def grid(comparison: Comparison) -> Grid:
    """The comparison as a grid: a row per measure and a column per run; transposed if there are many runs."""
    cells = {
        measure.key: [
            words(measure, value) + (f" {WINNER}" if n in comparison.winners[measure.key] else "")
            for n, value in enumerate(comparison.values(measure.key))
        ]
        for measure in shown(comparison)
    }
    names = labels(comparison)
    if len(names) <= MOST_ACROSS:
        rows = [(titled(measure), *cells[measure.key]) for measure in shown(comparison)]
        heads = ["\n".join(printable(word) for word in _label_lines(run)) for run in comparison.runs]
        return Grid(("", *heads), tuple(rows), ())
    differ = [measure for measure in shown(comparison) if len(set(cells[measure.key])) > 1]
    return Grid(
        ("", *(with_unit(measure.short, measure, "\n") for measure in differ)),
        tuple((name, *(cells[measure.key][n] for measure in differ)) for n, name in enumerate(names)),
        tuple(
            (
                measure.title,
                cells[measure.key][0]
                if measure.unit in measure.title.split()
                else with_unit(cells[measure.key][0], measure, " "),
            )
            for measure in shown(comparison)
            if measure not in differ
        ),
    )


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """(label, titles of the measures it wins) of each run that wins any; most wins first."""
    names = labels(comparison)
    wins: dict[int, list[str]] = {}
    for measure in MEASURES:
        for n in comparison.winners[measure.key]:
            wins.setdefault(n, []).append(measure.title)
    ranked = sorted(wins, key=lambda n: (-len(wins[n]), n))
    return [(names[n], ", ".join(wins[n])) for n in ranked]


def summary(comparison: Comparison) -> str:
    """A sentence: traffic, simulated time, number of runs, wall time and place of execution."""
    lasts = span(max(result.sim_seconds for result in comparison.results))
    return (
        f"{printable(comparison.traffic, 200)}, {lasts} of simulated time, through"
        f" {counted(len(comparison.runs), 'run')} in {span(comparison.wall_seconds)} {comparison.where}"
    )


def gaps(comparison: Comparison) -> str:
    """A sentence if most of the capture's time has no frames; else ""."""
    result = max(comparison.results, key=lambda one: one.sim_seconds)
    if result.idle_seconds < _GAPS_SHARE * result.sim_seconds or not result.idle_seconds:
        return ""
    return (
        f"the capture has gaps of over a second: {span(result.idle_seconds)} of its"
        f" {span(result.sim_seconds)} are without a frame, so throughput and loads are averages over mostly"
        " idle time"
    )


def sentence(text: str) -> str:
    """A text as a sentence; "" stays."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def low_queues(comparison: Comparison, most: int = 3) -> list[tuple[str, str]]:
    """(label, queues with the lowest share of free buffers) of each run; ``most`` queues per run."""
    return [
        (
            name,
            "; ".join(
                f"{printable(one.queue)}: {one.low_free_buffers:,} of"
                f" {counted(one.total_buffers, 'buffer')} free"
                for one in result.lowest[:most]
            )
            or UNKNOWN,
        )
        for name, result in zip(labels(comparison), comparison.results, strict=True)
    ]


def moves(comparison: Comparison, most: int = 12) -> list[tuple[str, str]]:
    """(label, sentence) of the first ``most`` moves of each run with a balancer; only a run's first line has
    its label."""
    found = []
    for name, result in zip(labels(comparison), comparison.results, strict=True):
        if result.moves is None:
            continue
        total = sum(int(result.values[key] or 0) for key in ("moved_away", "moved_home"))
        lines = [
            f"{_moment(one.sim_time_ns)} {printable(one.queue or f'queue {one.queue_id}')} on"
            f" {printable(one.adapter)}: {printable(one.cause.removeprefix('balancer, '))}"
            for one in result.moves[:most]
        ]
        if total > len(lines):
            lines.append(f"and {total - len(lines):,} more")
        found += [(name if place == 0 else "", line) for place, line in enumerate(lines or ["none"])]
    return found


def _moment(sim_time_ns: int) -> str:
    """A simulated time: in seconds, of which moves are milliseconds apart; in words from an hour on."""
    seconds = sim_time_ns / 1e9
    return f"{seconds:.3f} s" if seconds < 3600 else span(seconds)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: first column left-aligned, others right-aligned. Cells without the winner's mark
    are padded by its width, so that numbers align."""
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
    """The comparison as lines; columns that don't fit ``width`` (None: no limit) move to tables below."""
    made = grid(comparison)
    out = _folded(summary(comparison), width)
    if hint := gaps(comparison):
        out += _folded(hint, width, "")
    out.append("")
    for part in _tables(made, width):
        out += [*aligned(part.heads, part.rows), ""]
    if made.alike:
        alike = "the same in all: " + ", ".join(f"{title} {value}" for title, value in made.alike)
        out += [*_folded(alike, width), ""]
    out += _moved(comparison, width)
    found = verdicts(comparison)
    if not found:
        return [*out, "no run is better than another at anything" if len(comparison.runs) > 1 else ""]
    for sentence in (f"{WINNER} {WHAT_WINS}", *(f"{name}: {wins}" for name, wins in found)):
        out += _folded(sentence, width)
    return out


def _folded(text: str, width: int | None, indent: str = "    ") -> list[str]:
    """A text in lines of at most ``width`` cells (None: no limit), the later ones indented."""
    return [text] if width is None else wrap(text, width, subsequent_indent=indent)


def _moved(comparison: Comparison, width: int | None) -> list[str]:
    """Lines with the balancer's first moves and their reasons."""
    out = []
    for name, sentence in moves(comparison, most=_MOVES_IN_TERMINAL):
        if name:
            out.append(f"{name}, moved by the balancer:")
        out += _folded(f"  {sentence}", width, "      ")
    return [*out, ""] if out else []


def _tables(whole: Grid, width: int | None) -> list[Grid]:
    """Split the grid into parts that fit ``width``; each part repeats the first column."""
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
    """The report in Markdown: summary, table, winners, queues short of buffers, moves, list of measures."""
    made = grid(comparison)
    parts = [
        "# Comparison",
        _escaped(summary(comparison)) + f". Made by vmqtui {__version__}.",
        *([_escaped(sentence(gaps(comparison)))] if gaps(comparison) else []),
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
    parts.append(_markdown_table(("plan", "fewest that were free"), low_queues(comparison), "---"))
    if moved := moves(comparison):
        parts += ["## What the balancer moved", _markdown_table(("", "when, what and why"), moved, "---")]
    parts.append("## What is measured")
    parts.append(
        _markdown_table(
            MEANING_HEADS,
            meanings(comparison),
            "---",
        )
    )
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Escape the characters that have a meaning in Markdown."""
    return text.translate(_ESCAPED)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---:") -> str:
    lines = [heads, ["---", *[rule] * (len(heads) - 1)], *rows]
    drawn = [[cell if n == 1 else _escaped(cell) for cell in line] for n, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in drawn)
