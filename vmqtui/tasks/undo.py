"""Taking back the last change: which requests do it, and why none can."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from engine.bus.messages import Response
from vmqtui.numbers import age
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.task import Ending, Step, Task


@dataclass(frozen=True)
class Change:
    """The last change, on ``host``, whose engine began at ``started_at``; ``at`` is when, on a clock of the
    screen's. ``steps`` take it back, in order; where there is none, ``why_not`` is a sentence."""

    host: str
    started_at: float
    at: float
    words: str
    steps: tuple[Step, ...] = ()
    why_not: str = ""


def change_of(ending: Ending, host: str, started_at: float, at: float) -> Change | None:
    """What there is to undo after a dialog ended; None when nothing was done."""
    words = "; ".join(step.title for step, _ in ending.done)
    if ending.unanswered:
        why = f"{ending.unanswered} was not answered, so it is not known what there is to take back"
        return Change(host, started_at, at, words or ending.unanswered, why_not=why)
    if not ending.done:
        return None
    why = next((step.undo for step, _ in ending.done if isinstance(step.undo, str)), "")
    if why:
        return Change(host, started_at, at, words, why_not=why)
    try:
        return Change(host, started_at, at, words, _backwards(ending.done))
    except (KeyError, TypeError, ValueError):
        return Change(host, started_at, at, words, why_not="the engine's answer did not say what it made")


def _backwards(done: Sequence[tuple[Step, Response]]) -> tuple[Step, ...]:
    """The steps that take back those done, the last first."""
    answers = {step.key: response for step, response in done}
    return tuple(
        step.undo(answers)
        for step, _ in reversed(done)
        if step.undo is not None and not isinstance(step.undo, str)
    )


def hindrance(change: Change | None, host: str, started_at: float, snapshot: Snapshot) -> str | None:
    """Why the last change can't be undone now, in a sentence; None when it can."""
    if change is None:
        return "nothing was changed from here yet"
    if change.why_not:
        return f"{change.words}: {change.why_not}"
    if change.host != host:
        return f"the last change was on {change.host}; h goes there"
    if change.started_at != started_at:
        return f"{change.words}: the engine was started anew since"
    known: set[Hashable] = {row.identity for row in snapshot.queues}
    known |= {(row.adapter, row.queue_id, row.name) for row in snapshot.queues}
    for step in change.steps:
        if step.about is not None and step.about not in known:
            return f"{change.words}: that queue is gone"
    return None


def undo(change: Change, now: float) -> Task:
    """Take a change back."""
    takes = "; ".join(step.title for step in change.steps)
    return Task(
        "Undo the last change",
        f"Done {age(max(0.0, now - change.at))} ago: {change.words}. To take it back: {takes}.",
        "Undo (⏎)",
        lambda values: change.steps,
    )
