"""How far the user of a dashboard got with a lesson: the steps that were tried, and the lesson's finding."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from engine.advice.finding import Finding
from vmqtui.state.rows import Advised

if TYPE_CHECKING:
    from vmqtui.library.lessons import Lesson

Found = Literal["unknown", "awaited", "seen", "unseen", "cleared"]
"""The state of a lesson's finding. "unknown": the advisor has not judged, or its rule could not look.
"awaited": it has not been found yet. "seen": it is found now, or comes and goes. "unseen": still listed, but
not found now.
"cleared": it was listed, and is not any more."""


class LessonProgress:
    """Follows one lesson by what was done from a dashboard, and by the advisor's findings.

    A step is done once all its conditions were met. A step with a view is met while that view is shown and
    every recognisable step before it is done. A finding clears when it leaves the list of ``AdviceWindow``.
    """

    def __init__(self, lesson: "Lesson") -> None:
        self.lesson = lesson
        self._met = [[False] * len(step.conditions) for step in lesson.steps]
        self._view = ""
        self._judged_ns = -1
        self.state: Found = "unknown"
        self.finding: Finding | None = None
        """The lesson's finding when it was last listed: the one seen last, if there are several."""
        self.unseen_s: float = 0.0
        """Simulated time since the finding was last seen."""
        self.times_cleared: int = 0
        """How often the finding has cleared."""

    def done(self, place: int) -> bool:
        """Whether a step was tried; False if that can't be recognised."""
        return bool(self._met[place]) and all(self._met[place])

    @property
    def next(self) -> int | None:
        """The first step that is left to try; None: none that can be recognised is."""
        steps = self.lesson.steps
        replaced = max(
            (place for place, one in enumerate(steps) if one.instead and self.done(place)), default=-1
        )
        for place, step in enumerate(steps):
            if place <= replaced or self.done(place) or not step.conditions:
                continue
            if not (step.instead and self._all_before(place)):
                return place
        return None

    def _all_before(self, place: int) -> bool:
        return all(self.done(one) for one in range(place) if self._met[one])

    def answered(self, op: str, params: Mapping[str, Any]) -> None:
        """Note a request of the user that the engine carried out."""
        for met, step in zip(self._met, self.lesson.steps, strict=True):
            for number, condition in enumerate(step.conditions):
                met[number] = met[number] or condition.holds(op, params)
        self.shown(self._view)

    def fixed(self, rule: str) -> None:
        """Note that every request of a finding's fix was carried out."""
        if rule == self.lesson.shown_rule:
            for met, step in zip(self._met, self.lesson.steps, strict=True):
                for number, condition in enumerate(step.conditions):
                    met[number] = met[number] or condition.kind == "fix"
            self.shown(self._view)

    def shown(self, view: str) -> None:
        """Note the view that is shown now."""
        self._view = view
        for place, step in enumerate(self.lesson.steps):
            for number, one in enumerate(step.conditions):
                if one.kind == "view" and one.name == view and self._all_before(place):
                    self._met[place][number] = True

    def judge(self, advised: Advised) -> None:
        """Note the advisor's present findings of the host."""
        if advised.judged_ns is None or advised.judged_ns < self._judged_ns:
            self.finding = None  # another run of the engine
        self._judged_ns = -1 if advised.judged_ns is None else advised.judged_ns
        own = [row for row in advised.rows if row.finding.rule == self.lesson.shown_rule]
        if own:
            newest = min(own, key=lambda row: row.unseen_s)
            self.finding, self.unseen_s = newest.finding, newest.unseen_s
            self.state = "unseen" if newest.is_past else "seen"
            return
        blind = any(self.lesson.shown_rule in gap.rules for gap in advised.unchecked if not gap.left_out)
        if advised.judged_ns is None or blind:
            self.state = "unknown"
        elif self.finding is None:
            self.state = "awaited"
        elif self.state != "cleared":
            self.state = "cleared"
            self.times_cleared += 1
