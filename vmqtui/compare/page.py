"""A comparison as one HTML page: style sheet and plots (SVG) are inline, and there are no scripts.

Plots use CSS classes; the style sheet defines their colours.
"""

import math
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Final

from engine import __version__
from engine.kernels.latency import HIGHEST_NS
from engine.service.compare.comparison import Comparison
from engine.service.compare.measures import MEASURES
from vmqtui.compare.text import (
    MEANING_HEADS,
    WHAT_WINS,
    WINNER,
    gaps,
    grid,
    labels,
    low_queues,
    meanings,
    moves,
    sentence,
    summary,
    titled,
    verdicts,
    with_unit,
    words,
)
from vmqtui.numbers import percent, wait

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"

MOST_PLOTTED: Final = 40
"""Limit of runs in a plot. If there are more, only the first ones are plotted, and the page states that."""


def page(comparison: Comparison) -> str:
    """The whole page as HTML."""
    names = labels(comparison)
    made = grid(comparison)
    body = [
        f"<h1>Comparison of plans</h1><p>{escape(summary(comparison))}.</p>",
        f'<p class="hint">{escape(sentence(hint))}</p>' if (hint := gaps(comparison)) else "",
        "<h2>Who wins at what</h2>",
        _table((), verdicts(comparison), words_only=True)
        if any(comparison.winners.values())
        else "<p>No run is better than another at anything.</p>",
        "<h2>Measures</h2>",
        _table(made.heads, made.rows),
        _alike(made.alike),
        f"<p>{WINNER} and colour: {WHAT_WINS}.</p>",
        *_plots(comparison, names),
        "<h2>Queues nearest to running out of buffers</h2>",
        _table(("plan", "fewest that were free"), low_queues(comparison), words_only=True),
        *_moves(comparison),
        "<h2>What is measured</h2>",
        _table(MEANING_HEADS, meanings(comparison), words_only=True),
        f"<footer><p>vmqtui {escape(__version__)}</p></footer>",
    ]
    style = resources.files("vmqtui.compare").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><title>Comparison of plans</title>'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _plots(comparison: Comparison, names: Sequence[str]) -> list[str]:
    shown = names[:MOST_PLOTTED]
    parts = ["<h2>Plots</h2>"]
    if len(shown) < len(names):
        parts.append(f"<p>The first {len(shown)} of {len(names)} runs.</p>")
    if len(names) > 1:
        for measure in MEASURES:
            values = comparison.values(measure.key)[:MOST_PLOTTED]
            texts = [with_unit(words(measure, value), measure, " ") for value in values]
            winners = comparison.winners[measure.key]
            if winners or (measure.better and len(set(texts)) > 1):
                parts.append(f"<h3>{escape(titled(measure))} ({measure.better} is better)</h3>")
                parts.append(bars(shown, values, texts, winners))
    results = comparison.results[:MOST_PLOTTED]
    fullest = percent(max((load for result in results for load in result.cpus), default=0.0))
    parts.append(f"<h3>busy time of each processor, % (the fullest cell: {fullest})</h3>")
    parts.append(loads(shown, [result.cpus for result in results]))
    drawn = curves(shown[:MOST_CURVES], [result.latency for result in results[:MOST_CURVES]])
    if drawn:
        few = f", the first {MOST_CURVES} runs" if len(shown) > MOST_CURVES else ""
        parts.append(f"<h3>frames indicated within a time of their arrival, % of all frames{few}</h3>{drawn}")
    return parts


def _moves(comparison: Comparison) -> list[str]:
    rows = moves(comparison)
    if not rows:
        return []
    return ["<h2>What the balancer moved</h2>", _table(("", "when, what and why"), rows, words_only=True)]


def _alike(alike: Sequence[tuple[str, str]]) -> str:
    if not alike:
        return ""
    return f"<p>The same in all: {escape(', '.join(f'{title} {value}' for title, value in alike))}.</p>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words_only: bool = False) -> str:
    head = "".join(f"<th>{escape(cell).replace(chr(10), '<br>')}</th>" for cell in heads)
    lines = [f"<tr>{head}</tr>"] if heads else []
    for row in rows:
        cells = "".join(
            f'<td class="win">{escape(cell)}</td>'
            if cell.endswith(f" {WINNER}")
            else f"<td>{escape(cell)}</td>"
            for cell in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="wide"><table{" class=words" if words_only else ""}>{"".join(lines)}</table></div>'


MOST_CURVES: Final = 8
"""Limit of curves in a plot: the number of colours that readers can tell apart."""

_ROW: Final = 24
_WIDTH: Final = 720
_NAME: Final = 250
_VALUE: Final = 110
_CHARACTERS: Final = 34
_NUMBER: Final = 24
_CURVE_HEIGHT: Final = 240
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 16, 36, 12
_LEAST_DECADES: Final = 0.5
_MOST_TICKS: Final = 8
_TAIL: Final = 0.001


def bars(
    names: Sequence[str], values: Sequence[float | None], texts: Sequence[str], winners: Sequence[int]
) -> str:
    """An SVG bar chart: one bar per run, starting at 0, winners highlighted; no bar for an unknown value."""
    most = max((value for value in values if value is not None), default=0.0) or 1.0
    room = _WIDTH - _NAME - _VALUE
    parts = []
    for n, (name, value, text) in enumerate(zip(names, values, texts, strict=True)):
        y = n * _ROW
        length = 0.0 if value is None else max(0.0, room * value / most)
        kind = "winner" if n in winners else "bar"
        parts.append(
            f'<text class="name" x="{_NAME - 10}" y="{y + 16}">{_cut(name)}</text>'
            f'<rect class="{kind}" x="{_NAME}" y="{y + 4}" width="{length:.1f}" height="{_ROW - 8}" rx="2">'
            f"<title>{escape(name)}: {escape(text)}</title></rect>"
            f'<text x="{_NAME + length + 6:.1f}" y="{y + 16}">{escape(text)}</text>'
        )
    return _svg(_WIDTH, len(names) * _ROW, parts)


def loads(names: Sequence[str], cpus: Sequence[Sequence[float]]) -> str:
    """An SVG heat map: a row per run, a cell per processor; opacity is load relative to the highest load."""
    most = max((max(row, default=0.0) for row in cpus), default=0.0) or 1.0
    count = max(map(len, cpus), default=1)
    room = _WIDTH - _NAME
    side = min(28.0, room / count)
    parts = []
    for n, (name, row) in enumerate(zip(names, cpus, strict=True)):
        y = n * _ROW
        parts.append(f'<text class="name" x="{_NAME - 10}" y="{y + 16}">{_cut(name)}</text>')
        for cpu, load in enumerate(row):
            x = _NAME + cpu * side
            size = f'width="{max(side - 1, 0.5):.2f}" height="{_ROW - 4}"'
            parts.append(f'<rect class="cell" x="{x:.2f}" y="{y + 2}" {size}/>')
            parts.append(
                f'<rect class="load" x="{x:.2f}" y="{y + 2}" {size} fill-opacity="{load / most:.3f}">'
                f"<title>{escape(name)}: processor {cpu} {percent(load)}</title></rect>"
            )
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64) if step * side >= _NUMBER or step == 64)
    for cpu in range(0, count, step):
        x = _NAME + cpu * side + (side - 1) / 2
        parts.append(f'<text class="tick x" x="{x:.2f}" y="{len(names) * _ROW + 14}">{cpu}</text>')
    return _svg(_WIDTH, (len(names) + 1) * _ROW, parts)


def curves(names: Sequence[str], histograms: Sequence[Sequence[int]]) -> str:
    """An SVG plot of each run's cumulative latency distribution, on a logarithmic time axis; "" if empty."""
    first_bucket, last_bucket = _shown(histograms)
    if last_bucket < 0:
        return ""
    first, last = (math.log10(max(HIGHEST_NS[bucket], 1)) for bucket in (first_bucket, last_bucket))
    last = max(last, first + _LEAST_DECADES)
    width, height = _WIDTH - _LEFT - _RIGHT, _CURVE_HEIGHT

    def x(nanoseconds: float) -> float:
        return _LEFT + width * (math.log10(max(nanoseconds, 1)) - first) / (last - first)

    def y(share: float) -> float:
        return _TOP + height * (1 - share)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(share):.1f}H{_LEFT + width}"/>')
        parts.append(f'<text class="tick y" x="{_LEFT - 6}" y="{y(share) + 4:.1f}">{share:.0%}</text>')
    for tick in _ticks(first, last):
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {_TOP}V{_TOP + height}"/>')
        label = escape(wait(tick))
        parts.append(f'<text class="tick x" x="{x(tick):.1f}" y="{_TOP + height + 18}">{label}</text>')
    for n, (name, histogram) in enumerate(zip(names, histograms, strict=True)):
        total = sum(histogram)
        if not total:
            continue
        reached, path = 0, f"M{_LEFT} {y(0):.1f}"
        for bucket, frames in enumerate(histogram):
            reached += frames
            if frames and bucket >= first_bucket:
                path += f"L{x(HIGHEST_NS[bucket]):.1f} {y(reached / total):.1f}"
        parts.append(
            f'<path class="curve c{n}" d="{path}H{_LEFT + width}"><title>{escape(name)}</title></path>'
        )
    bottom = _TOP + height + _BOTTOM
    for n, name in enumerate(names):
        left, top = _LEFT + n % 2 * width // 2, bottom + n // 2 * 20
        parts.append(f'<path class="curve c{n}" d="M{left} {top}h24"/>')
        parts.append(f'<text x="{left + 30}" y="{top + 4}">{_cut(name)}</text>')
    return _svg(_WIDTH, bottom + (len(names) + 1) // 2 * 20, parts)


def _shown(histograms: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The first and last bucket to plot; in those before the first, every curve is below 0.1 %. The last is
    -1 if all histograms are empty."""
    first, last = len(HIGHEST_NS) - 1, -1
    for histogram in histograms:
        reached, total = 0, sum(histogram)
        for bucket, frames in enumerate(histogram):
            reached += frames
            if frames:
                last = max(last, bucket)
                if reached > _TAIL * total:
                    first = min(first, max(bucket - 1, 0))
    return first, last


def _ticks(first: float, last: float) -> list[float]:
    """Round times in ns for ticks between two powers of ten (exponents): with digits 1, 2 and 5 in each
    decade, with 1 and 3 or with 1 only if those are too many."""
    decades = range(math.floor(first), math.ceil(last) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in decades for digit in digits]
        ticks = [tick for tick in ticks if first <= math.log10(tick) <= last]
        if len(ticks) <= _MOST_TICKS:
            break
    return ticks


def _cut(name: str) -> str:
    return escape(name if len(name) <= _CHARACTERS else name[: _CHARACTERS - 1] + "…")


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
