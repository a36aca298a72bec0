"""A finding in full: what shows it, why, and what to do, as requests and as PowerShell."""

from textwrap import wrap

from vmqtui.advising import words
from vmqtui.columns.advice import LEVELS
from vmqtui.draw import Line
from vmqtui.printable import printable
from vmqtui.state.advice import FindingRow
from vmqtui.state.model import Model
from vmqtui.widgets.panels import ModelCanvas


def finding_lines(row: FindingRow, width: int) -> list[Line]:
    """Everything about a finding, in lines of at most ``width`` cells."""
    finding = row.finding
    lines: list[Line] = [
        [(f"{words.GLYPHS[finding.severity]} ", LEVELS[finding.severity]), (one, "strong")]
        if place == 0
        else [("  ", "text"), (one, "strong")]
        for place, one in enumerate(wrap(printable(finding.says), max(10, width - 2)))
    ]
    for label, texts, role in (
        ("seen", [words.seen(finding, row.unseen_s)], "dim" if row.unseen_s else "text"),
        ("shows", [words.numbers(finding)], "text"),
        ("cause", [printable(finding.cause)], "dim"),
        ("fix", [printable(finding.fix)], "good"),
        ("", [words.command(one) for one in finding.requests], "accent"),
        ("Windows", [printable(one) for one in finding.commands], "accent"),
        ("effect", [words.effect(finding)], "text"),
    ):
        for text in texts:
            for part in wrap(text, max(10, width - 10), break_on_hyphens=False):
                lines.append([(f"  {label:<8}", "title"), (part, role)])
                label = ""
    return lines


class FindingPanel(ModelCanvas):
    """The finding under the cursor."""

    def __init__(self, model: Model, widget_id: str) -> None:
        super().__init__(model, widget_id)
        self.row: FindingRow | None = None
        self.is_gone = False
        """Whether there is none because it is listed no more, and others are."""

    def paint(self, width: int, height: int) -> list[Line]:
        if self.row is None:
            gone = "the finding that the cursor was on is gone; ↑ ↓ choose another"
            return [[(f"  {gone}", "dim")]] if self.is_gone else []
        lines = finding_lines(self.row, width - 1)
        if len(lines) > height and height > 1:
            lines = [*lines[: height - 1], [("  … ⏎ shows all of it", "dim")]]
        return [[(" ", "text"), *line] for line in lines]
