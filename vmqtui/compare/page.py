"""A comparison as one HTML page that needs nothing else: style and plots are inside; there is no script."""

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Final

from engine import __version__
from engine.service.compare.comparison import Comparison
from engine.service.compare.measures import MEASURES
from vmqtui.compare import plots
from vmqtui.compare.grid import (
    WHAT_WINS,
    WINNER,
    grid,
    labels,
    low_queues,
    moves,
    shown,
    summary,
    verdicts,
    words,
)
from vmqtui.numbers import percent

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"

MOST_PLOTTED: Final = 40
"""Runs of one plot; of more, the first so many are plotted, which the page says."""


def page(comparison: Comparison) -> str:
    """The whole page."""
    names = labels(comparison)
    made = grid(comparison)
    body = [
        f"<h1>Comparison of plans</h1><p>{escape(summary(comparison))}</p>",
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
        _table(("", "fewest that were free"), low_queues(comparison), words_only=True),
        *_moves(comparison),
        "<h2>What is measured</h2>",
        _table(
            ("", "unit", "better", ""),
            [(one.title, one.unit, one.better or "–", one.help) for one in shown(comparison)],
            words_only=True,
        ),
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
            texts = [words(measure, value) for value in values]
            winners = comparison.winners[measure.key]
            if winners or (measure.better and len(set(texts)) > 1):
                parts.append(f"<h3>{escape(measure.title)} ({measure.better} is better)</h3>")
                parts.append(plots.bars(shown, values, texts, winners))
    results = comparison.results[:MOST_PLOTTED]
    fullest = percent(max((load for result in results for load in result.cpus), default=0.0))
    parts.append(f"<h3>busy share of each processor (the fullest cell: {fullest})</h3>")
    parts.append(plots.loads(shown, [result.cpus for result in results]))
    curves = plots.curves(
        shown[: plots.MOST_CURVES], [result.latency for result in results[: plots.MOST_CURVES]]
    )
    if curves:
        few = f", the first {plots.MOST_CURVES} runs" if len(shown) > plots.MOST_CURVES else ""
        parts.append(f"<h3>frames indicated within a time of their arrival{few}</h3>{curves}")
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
