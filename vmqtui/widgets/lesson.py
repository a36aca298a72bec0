"""The lesson of ``vmqtui scenario run``: a panel with its text, steps and finding, or two lines of it."""

from textwrap import wrap

from textual.geometry import Size

from engine.counted import counted
from vmqtui.columns.advice import GLYPHS, LEVELS
from vmqtui.draw import Line, clip, fit, spread, width_of
from vmqtui.printable import printable
from vmqtui.state.lesson import LessonProgress
from vmqtui.widgets.canvas import Canvas

STRIP_LINES = 2
_APART = 3
"""Cells between two columns of text."""
_LEAST_COLUMN = 46


class LessonPane(Canvas):
    """The lesson, in two columns where they fit: its text, and what to try, with the state of its finding.

    As a strip (of ``STRIP_LINES``), the title and the next step. ``key`` opens all of it.
    """

    def __init__(self, progress: LessonProgress, key: str) -> None:
        super().__init__("lesson")
        self._progress = progress
        self._key = key
        self._needed = 0

    @property
    def is_strip(self) -> bool:
        """Whether it is drawn as a strip."""
        return self.size.height <= STRIP_LINES

    def fit_height(self) -> None:
        """Lay out again if it needs another number of lines."""
        needed = len(self._pane(self.size.width)) if self.size.width else 0
        if needed != self._needed:
            self._needed = needed
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._needed = len(self._pane(width))
        return self._needed

    def paint(self, width: int, height: int) -> list[Line]:
        if height <= STRIP_LINES:
            return self._strip(width)[:height]
        lines = self._pane(width)
        if len(lines) > height:
            more = f" … vmqtui scenario show {self._progress.lesson.name} prints all of it"
            lines = [*lines[: height - 1], [(fit(more, width), "dim")]]
        return lines

    def _pane(self, width: int) -> list[Line]:
        column = (width - _APART - 2) // 2
        if column < _LEAST_COLUMN:
            return [[(" ", "text"), *line] for line in lesson_lines(self._progress, max(10, width - 2))]
        left = _paragraphs(self._progress, column)
        right = [*_found(self._progress, column), *_tries(self._progress, column)]
        count = max(len(left), len(right))
        lines: list[Line] = []
        for one, other in zip(_padded(left, count), _padded(right, count), strict=True):
            gap = " " * (column + _APART - width_of(one))
            lines.append([(" ", "text"), *one, (gap, "text"), *other])
        return lines

    def _strip(self, width: int) -> list[Line]:
        progress = self._progress
        steps = progress.lesson.steps
        left: Line = [(" Lesson ", "title"), (progress.lesson.title, "strong")]
        first = spread(left, [*finding_line(progress, short=True), (" ", "text")], width)
        reads: Line = [(f"{self._key}", "accent"), (" all of it ", "dim")] if self._key else []
        place = progress.next
        room = width - width_of(reads) - 1
        if place is None:
            tried = any(map(progress.done, range(len(steps))))
            words = "✓ all of it was tried" if tried else "nothing in it can be recognised as tried"
            second: Line = clip([(f" {words}", "good" if tried else "dim")], room)
        else:
            second = clip([(" Try ", "title"), (printable(steps[place].text), "text")], room)
        return [first, spread(second, reads, width)]


def _padded(lines: list[Line], count: int) -> list[Line]:
    return lines + [[] for _ in range(count - len(lines))]


def lesson_lines(progress: LessonProgress, width: int) -> list[Line]:
    """Return the whole lesson with its progress, as lines of up to ``width`` cells."""
    return [*_paragraphs(progress, width), *_found(progress, width), *_tries(progress, width)]


def _paragraphs(progress: LessonProgress, width: int) -> list[Line]:
    lines: list[Line] = []
    for heading, text in progress.lesson.paragraphs.items():
        label = heading.removeprefix("What people ").capitalize()
        for place, part in enumerate(wrap(text, max(10, width - 6), break_on_hyphens=False)):
            lines.append([(fit(label if place == 0 else "", 6), "title"), (part, "text")])
    return lines


def _tries(progress: LessonProgress, width: int) -> list[Line]:
    lines: list[Line] = []
    following = progress.next
    for place, step in enumerate(progress.lesson.steps):
        done = progress.done(place)
        mark = "✓" if done else "·" if not step.conditions else "▸" if place == following else "○"
        role = "good" if done else "accent" if place == following else "dim"
        for number, part in enumerate(wrap(step.text, max(10, width - 8), break_on_hyphens=False)):
            label = "Try" if not lines else ""
            glyph = mark if number == 0 else ""
            words = "text" if place == following or (done or not step.conditions) else "dim"
            lines.append([(fit(label, 6), "title"), (fit(glyph, 2), role), (part, words)])
    return lines


def _found(progress: LessonProgress, width: int) -> list[Line]:
    (mark, role), (words, _) = finding_line(progress)
    parts = wrap(words, max(10, width - 8), break_on_hyphens=False)
    return [
        [
            (fit("Found" if place == 0 else "", 6), "title"),
            (fit(mark if place == 0 else "", 2), role),
            (part, role),
        ]
        for place, part in enumerate(parts)
    ]


def finding_line(progress: LessonProgress, *, short: bool = False) -> Line:
    """Return the state of the lesson's finding: its mark, and words (fewer if ``short``)."""
    finding, rule = progress.finding, progress.lesson.shown_rule
    match progress.state:
        case "seen" | "unseen" if finding is not None:
            mark, role = GLYPHS[finding.severity], LEVELS[finding.severity]
            if progress.state == "seen":
                where = "" if short else f": {printable(finding.where)}"
                state = "is back" if progress.times_cleared else "is found"
                return [(f"{mark} ", role), (f"{rule} {state}{where}", role)]
            seconds = counted(round(progress.unseen_s), "second")
            then = "" if short else "; it has cleared when it leaves Advice"
            return [("◌ ", "dim"), (f"{rule}, last seen {seconds} ago{then}", "dim")]
        case "cleared":
            return [
                ("✓ ", "good"),
                ("the finding has cleared" if short else f"{rule}: the finding has cleared", "good"),
            ]
        case "awaited":
            return [("◌ ", "dim"), (f"{rule}: not found yet", "dim")]
    return [("– ", "dim"), (f"{rule}: not known yet", "dim")]
