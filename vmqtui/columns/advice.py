"""Columns of findings."""

from typing import Final

from engine.advice.finding import Severity
from vmqtui.advising.words import GLYPHS, effect, measured, numbers
from vmqtui.columns.column import Column, Level
from vmqtui.columns.shared import adapter_column, quiet
from vmqtui.numbers import compact
from vmqtui.state.rows import FindingRow

LEVELS: Final[dict[Severity, Level]] = {"bad": "bad", "warn": "warn", "note": "dim"}

ADVICE: tuple[Column[FindingRow], ...] = (
    Column(
        key="severity",
        title="",
        heading="Severity",
        width=1,
        help="▲ frames are lost; △ it costs; · worth knowing.",
        value=lambda row: row.finding.severity,
        format=lambda severity: GLYPHS.get(severity, "·"),
        level=lambda row: LEVELS[row.finding.severity],
        sort=lambda row: row.rank,
    ),
    Column(
        key="rule",
        title="Rule",
        heading="Rule",
        width=14,
        help="Which rule found it (docs/advice.md).",
        value=lambda row: row.finding.rule,
        priority=2,
        level=lambda row: LEVELS[row.finding.severity],
    ),
    Column(
        key="lost_frames",
        title="Lost",
        heading="Lost",
        width=6,
        unit="frames",
        help="Frames lost within the window by what it is about, while it was seen.",
        value=lambda row: row.finding.lost_frames,
        format=compact,
        right=True,
        priority=1,
        level=lambda row: quiet(row.finding.lost_frames),
    ),
    Column(
        key="unseen_s",
        title="Seen",
        heading="Seen",
        width=5,
        unit="s",
        help="now, or how long ago it was last seen; it goes when that is longer than the window.",
        value=lambda row: row.unseen_s,
        format=lambda unseen_s: f"-{max(1, round(unseen_s))}s" if unseen_s else "now",
        right=True,
        priority=3,
        level=lambda row: "dim" if row.unseen_s else "",
    ),
    adapter_column(),
    Column(
        key="where",
        title="Where",
        heading="Where",
        width=14,
        help="The queue, VM, processor or adapter it is about.",
        value=lambda row: row.finding.where,
        priority=12,
    ),
    Column(
        key="says",
        title="Finding",
        heading="Finding",
        width=40,
        help="What is wrong.",
        value=lambda row: row.finding.says,
        level=lambda row: "dim" if row.unseen_s else "",
        prose=True,
    ),
    Column(
        key="value",
        title="Value",
        heading="Value",
        width=7,
        unit="as measure says",
        help="The one number that the fix improves, when it was last at its worst.",
        value=lambda row: row.finding.value,
        instead=lambda row: measured(row.finding, row.finding.value),
        right=True,
    ),
    Column(
        key="after",
        title="Fixed",
        heading="Fixed",
        width=7,
        unit="as measure says",
        help="What it would be then, estimated from what is measured.",
        value=lambda row: row.finding.after,
        instead=lambda row: measured(row.finding, row.finding.after),
        right=True,
    ),
    Column(
        key="fix",
        title="Fix",
        heading="Fix",
        width=24,
        help="What puts it right.",
        value=lambda row: row.finding.fix,
        prose=True,
        priority=4,
    ),
    Column(
        key="numbers",
        title="Numbers",
        heading="Numbers",
        width=30,
        help="What shows it.",
        value=lambda row: numbers(row.finding),
        prose=True,
        priority=10,
    ),
    Column(
        key="effect",
        title="Effect",
        heading="Effect",
        width=30,
        help="What the fix changes, and how that is known.",
        value=lambda row: effect(row.finding),
        prose=True,
        priority=11,
    ),
)
