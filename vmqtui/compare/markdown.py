"""A comparison as a Markdown report."""

from collections.abc import Sequence

from engine import __version__
from engine.service.compare.comparison import Comparison
from vmqtui.compare.grid import WHAT_WINS, WINNER, grid, low_queues, moves, shown, summary, verdicts

_ESCAPED = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>|#~&"})


def markdown(comparison: Comparison) -> str:
    """The report: what was run, the table, who wins at what, the queues that were short of buffers."""
    made = grid(comparison)
    parts = [
        "# Comparison",
        _plain(summary(comparison)) + f". Made by vmqtui {__version__}.",
        _table([head.replace("\n", " ") for head in made.heads], made.rows),
    ]
    if made.alike:
        parts.append(
            "The same in all: " + ", ".join(f"{title} {_plain(value)}" for title, value in made.alike) + "."
        )
    parts.append(f"{_plain(WINNER)}: {WHAT_WINS}.")
    parts.append("## Who wins at what")
    parts.append(
        "\n".join(f"- **{_plain(name)}**: {wins}" for name, wins in verdicts(comparison))
        or "No run is better than another at anything."
    )
    parts.append("## Queues nearest to running out of buffers")
    parts.append(_table(("", "fewest that were free"), low_queues(comparison), "---"))
    if moved := moves(comparison):
        parts += ["## What the balancer moved", _table(("", "when, what and why"), moved, "---")]
    parts.append("## What is measured")
    parts.append(
        _table(
            ("", "unit", "better", ""),
            [(one.title, one.unit, one.better or "–", one.help) for one in shown(comparison)],
            "---",
        )
    )
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return text.translate(_ESCAPED)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---:") -> str:
    lines = [heads, ["---", *[rule] * (len(heads) - 1)], *rows]
    drawn = [[cell if n == 1 else _plain(cell) for cell in line] for n, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in drawn)
