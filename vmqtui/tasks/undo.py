"""Taking back changes, the last first, and making them again: which requests do it, and why none can."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from engine.bus.messages import Response
from engine.telemetry.config import Config
from vmqtui.numbers import age
from vmqtui.printable import printable
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.left import Thing, Values, changed_since, left_by
from vmqtui.tasks.task import Ending, NewQueue, Step, Task
from vmqtui.tasks.task import Values as Fields

MAX_CHANGES: Final = 100
"""Changes that can be taken back, of all hosts; older ones are forgotten."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change, on ``host``, whose engine began at ``started_at``; ``at`` is when, on a clock of the
    screen's. ``steps`` take it back, in order; where there is none, ``why_not`` is a sentence. ``left`` is
    what it left, from ``revision`` of the configuration on."""

    host: str
    started_at: float
    at: float
    words: str
    steps: tuple[Step, ...] = ()
    why_not: str = ""
    revision: int = 0
    left: Mapping[Thing, Values] = field(default_factory=dict)


def change_of(
    ending: Ending, host: str, started_at: float, at: float, before: Config | None = None
) -> Change | None:
    """What there is to undo after a dialog ended; None when nothing was done.

    ``before`` is the configuration when the dialog was opened.
    """
    words = "; ".join(step.title for step, _ in ending.done)
    change = Change(host, started_at, at, words or ending.unanswered)
    if ending.unanswered:
        why = f"{ending.unanswered} was not answered, so it is not known what there is to take back"
        return replace(change, why_not=why)
    if not ending.done:
        return None
    why = next((step.undo for step, _ in ending.done if isinstance(step.undo, str)), "")
    if why:
        return replace(change, why_not=why)
    try:
        steps = _backwards(ending.done)
    except (KeyError, TypeError, ValueError):
        return replace(change, why_not="the engine's answer did not say what it made")
    revision = max(response.revision for _, response in ending.done)
    return replace(change, steps=steps, revision=revision, left=left_by(before, ending.done))


def _backwards(done: Sequence[tuple[Step, Response]]) -> tuple[Step, ...]:
    """The steps that take back those done, the last first."""
    answers = {step.key: response for step, response in done}
    return tuple(
        step.undo(answers)
        for step, _ in reversed(done)
        if step.undo is not None and not isinstance(step.undo, str)
    )


class Changes:
    """The changes made from one dashboard, to be taken back; those taken back, to be made again."""

    def __init__(self) -> None:
        self._made: deque[Change] = deque(maxlen=MAX_CHANGES)
        self._undone: deque[Change] = deque(maxlen=MAX_CHANGES)

    def made(self, change: Change) -> None:
        """A change was made. What was undone on its host before it can't be made again after it."""
        self._made.append(change)
        kept = [one for one in self._undone if one.host != change.host]
        self._undone.clear()
        self._undone.extend(kept)

    def last(self, host: str, *, undone: bool = False, before: Change | None = None) -> Change | None:
        """The last change on a host, or the last before another one; ``undone``: of those taken back."""
        changes = [one for one in (self._undone if undone else self._made) if one.host == host]
        end = changes.index(before) if before in changes else len(changes)
        return changes[end - 1] if end else None

    def elsewhere(self, *, undone: bool = False) -> str | None:
        """The host of the last change there is."""
        changes = self._undone if undone else self._made
        return changes[-1].host if changes else None

    def forget(self, change: Change) -> None:
        """A change can never be taken back."""
        for changes in (self._made, self._undone):
            if change in changes:
                changes.remove(change)

    def taken_back(self, change: Change, ending: Ending, reverse: Change | None) -> None:
        """A change was taken back, as far as the dialog went; ``reverse`` is what makes it again."""
        undone = change in self._undone
        changes, others = (self._undone, self._made) if undone else (self._made, self._undone)
        if change not in changes:
            return
        done = {step.key for step, _ in ending.done}
        rest = tuple(step for step in change.steps if step.key not in done)
        if ending.unanswered:
            why = f"{ending.unanswered} was not answered, so it is not known what is left to take back"
            changes[changes.index(change)] = replace(change, why_not=why)
        elif rest:
            changes[changes.index(change)] = replace(change, steps=rest, left={})
        else:
            changes.remove(change)
            if reverse is not None:
                others.append(reverse)


@dataclass(frozen=True)
class Hindrance:
    """Why a change can't be undone, in a sentence; ``lasting``: nor can it later."""

    words: str
    lasting: bool = True


def hindrance(change: Change, started_at: float, snapshot: Snapshot) -> Hindrance | None:
    """What keeps a change on the host that is shown from being undone now; None when it can be."""
    if change.why_not:
        return Hindrance(change.why_not)
    if change.started_at != started_at:
        return Hindrance("the engine was restarted since")
    if snapshot.config is None or snapshot.config.revision < change.revision:
        return Hindrance(
            "the engine's new configuration has not arrived yet; u again in a moment", lasting=False
        )
    return next((found for step in change.steps if (found := _missing(step, snapshot.config))), None)


def _missing(step: Step, config: Config) -> Hindrance | None:
    """What is wrong with the queue that a step changes: known by its generation or, where it was allocated
    by the change, by its name, which may come back."""
    about = step.about
    if about is None:
        return None
    for adapter in config.adapters:
        for queue in adapter.queues:
            place = adapter.name, queue.queue_id
            if about in ((*place, queue.generation), (*place, queue.name)):
                return None
            if isinstance(about, NewQueue) and about[:2] == place:
                names = f"{printable(queue.name)} now, not {printable(about.name)}"
                return Hindrance(f"queue {queue.queue_id} is called {names}", lasting=False)
    return Hindrance("that queue is gone")


def undo(
    change: Change,
    following: Change | None,
    now: float,
    config: Callable[[], Config | None],
    *,
    again: bool = False,
) -> Task:
    """Take a change back, or make it ``again``; ``following`` is the one that would be next.

    ``config`` gives the configuration as it is. Where others changed what the change left, the dialog says
    so, and asks first.
    """
    known = changed_since(change.left, config())

    def plan(values: Fields) -> Sequence[Step]:
        if (found := changed_since(change.left, config())) != known:
            raise ValueError(
                f"changed while this is open: {'; '.join(found) or 'back to what it was'}. Esc leaves"
            )
        return change.steps

    takes = "; ".join(step.title for step in change.steps)
    done = f"{'Undone' if again else 'Done'} {age(max(0.0, now - change.at))} ago: {change.words}."
    then = f" After it, the next is: {following.words}." if following is not None else ""
    verb = "Make again" if again else "Undo"
    return Task(
        "Make the last change again" if again else "Undo the last change",
        f"{done} {'To make it again' if again else 'To take it back'}: {takes}.{then}",
        f"{verb} ({'y' if known else '⏎'})",
        plan,
        destructive=bool(known),
        warning=f"Changed by others since: {'; '.join(known)}." if known else "",
    )
