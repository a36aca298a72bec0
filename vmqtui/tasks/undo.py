"""Undo and redo: the requests that revert a change, or why it has no undo, and later changes by others."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from engine.bus.messages import Response
from engine.telemetry.config import AdapterConfig, Config
from engine.view.index import processors_of
from vmqtui.columns.column import vlan_text
from vmqtui.numbers import age
from vmqtui.printable import printable
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.task import Ending, Group, NewQueue, Step, Task, number_in, several
from vmqtui.tasks.task import Values as Fields

Thing = tuple[str, int | None]
"""(adapter, queue id) of a queue; (adapter, None) of an adapter; ("", None) of the host, for its balancer."""
Values = dict[str, Any]
"""Of a queue: ``cpu``, ``buffers``, ``name``, ``filters`` (pairs of MAC and VLAN); else settings by key."""

_OF_QUEUE = ("cpu", "buffers", "name")
_WORDS = {"cpu": "processor"}


def left_by(before: Config | None, done: Sequence[tuple[Step, Response]]) -> dict[Thing, Values]:
    """The values after steps, computed from the configuration before them.

    Includes all values of a changed queue, but only the changed settings of an adapter or the balancer.
    """
    left: dict[Thing, Values] = {}
    answers = {step.key: response for step, response in done}
    for step, response in done:
        try:
            params = step.params(answers)
            _apply(left, before, step.op, params, response)
        except (KeyError, TypeError, ValueError):
            continue  # an unusable answer: the effect of that step is unknown
    return left


def _apply(
    left: dict[Thing, Values], before: Config | None, op: str, params: Mapping[str, Any], response: Response
) -> None:
    adapter = str(params.get("adapter", ""))
    if op in ("set_adapter", "set_balancer"):
        wanted = {key: value for key, value in params.items() if key != "adapter"}
        left[adapter, None] = left.get((adapter, None), {}) | wanted
        return
    given = {key: params[key] for key in _OF_QUEUE if key in params}
    if op == "allocate_queue":
        left[adapter, number_in(response, "queue_id")] = {"filters": frozenset(), **given}
        return
    if op not in ("set_queue_parameters", "set_filter", "clear_filter"):
        return
    thing = adapter, params["queue_id"]
    values = left[thing] if thing in left else queue_values(before, *thing)
    if values is None:
        return
    tests = values.get("filters", frozenset())
    if op == "set_filter":
        tests |= {(params["mac"], params.get("vlan"))}
    elif op == "clear_filter":
        known = _adapter(before, adapter)
        filters = known.filters if known is not None else ()
        tests -= {(one.mac, one.vlan) for one in filters if one.filter_id == params["filter_id"]}
    left[thing] = values | given | {"filters": tests}


def _adapter(config: Config | None, name: str) -> AdapterConfig | None:
    return next((one for one in config.adapters if one.name == name), None) if config is not None else None


def queue_values(config: Config | None, adapter: str, queue_id: int) -> Values | None:
    """The values of a queue; None if the configuration has no such queue."""
    known = _adapter(config, adapter)
    queue = next((one for one in known.queues if one.queue_id == queue_id), None) if known else None
    if known is None or queue is None:
        return None
    tests = frozenset((one.mac, one.vlan) for one in known.filters if one.queue_id == queue_id)
    return {key: getattr(queue, key) for key in _OF_QUEUE} | {"filters": tests}


def changed_since(left: Mapping[Thing, Values], config: Config | None) -> list[str]:
    """A phrase for each value of ``left`` that differs in ``config``."""
    return [words for thing, values in left.items() for words in _changes(thing, values, config)]


def _changes(thing: Thing, values: Values, config: Config | None) -> Iterator[str]:
    adapter, queue_id = thing
    now: Values | None
    if queue_id is not None:
        called, now = f"queue {queue_id}", queue_values(config, adapter, queue_id)
    elif adapter:
        settings = _adapter(config, adapter)
        called, now = printable(adapter), None if settings is None else msgspec.structs.asdict(settings)
    else:
        called, now = "balancer", None if config is None else config.balancer
    if now is None:
        return
    for key, value in values.items():
        if key == "filters":
            yield from _of_filters(called, value, now[key])
        elif key in now and now[key] != value:
            was, is_now = (_shown(key, one, config) for one in (value, now[key]))
            yield f"{called}: {_WORDS.get(key, key)} {was} → {is_now}"


def _of_filters(called: str, before: frozenset[Any], now: frozenset[Any]) -> Iterator[str]:
    for words, tests in (("set", now - before), ("cleared", before - now)):
        for mac, vlan in sorted(tests, key=str):
            yield f"{called}: filter {mac}, VLAN {vlan_text(vlan)} {words}"


def _shown(key: str, value: Any, config: Config | None) -> str:
    if key == "cpu" and isinstance(value, int):
        return processors_of(config).name(value)
    return printable(str(value).lower() if isinstance(value, bool) else str(value))


MAX_CHANGES: Final = 100
"""Maximum number of changes that can be undone, over all hosts; older ones are dropped."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change on ``host``, whose engine started at ``started_at`` (Unix seconds).

    ``at`` is the time of the change on the link's clock. ``steps`` undo it, in order; if it has no undo,
    ``why_not`` is the reason. ``stays`` tells which rows of a batch have no undo, and why. ``left`` has the
    values after the change, as in configuration ``revision``.
    """

    host: str
    started_at: float
    at: float
    words: str
    steps: tuple[Step, ...] = ()
    why_not: str = ""
    stays: str = ""
    revision: int = 0
    left: Mapping[Thing, Values] = field(default_factory=dict)


def change_of(
    ending: Ending, host: str, started_at: float, at: float, before: Config | None = None
) -> Change | None:
    """The change that a dialog made; None if it did nothing.

    ``before`` is the configuration at the time the dialog was opened. Of a batch, each row has its own undo.
    """
    if not ending.done and not ending.unanswered:
        return None
    titles = [step.title for step, _ in ending.done] or [step.title for step in ending.unanswered]
    reasons = _without_undo(ending)
    done = [(step, response) for step, response in ending.done if step.group not in reasons]
    words = [f"{group.name}: {why}" if group is not None else why for group, why in reasons.items()]
    change = Change(host, started_at, at, several(titles), stays=several(words))
    if not done:
        return replace(change, why_not=change.stays)
    try:
        steps = _backwards(done)
    except (KeyError, TypeError, ValueError):
        return replace(change, why_not="the engine's answer did not say what it made")
    revision = max(response.revision for _, response in done)
    return replace(change, steps=steps, revision=revision, left=left_by(before, done))


def _without_undo(ending: Ending) -> dict[Group | None, str]:
    """Why the change of a row can't be undone, by its group."""
    reasons = {step.group: step.undo for step, _ in ending.done if isinstance(step.undo, str)}
    if ending.unanswered:
        titles = "; ".join(step.title for step in ending.unanswered)
        why = f"{titles} was not answered, so it is not known what there is to take back"
        reasons |= dict.fromkeys((step.group for step in ending.unanswered), why)
    return reasons


def _backwards(done: Sequence[tuple[Step, Response]]) -> tuple[Step, ...]:
    """The steps that undo the completed ones, the last first."""
    answers = {step.key: response for step, response in done}
    return tuple(
        step.undo(answers)
        for step, _ in reversed(done)
        if step.undo is not None and not isinstance(step.undo, str)
    )


class Changes:
    """The undo and redo stacks of one dashboard, for all hosts."""

    def __init__(self) -> None:
        self._made: deque[Change] = deque(maxlen=MAX_CHANGES)
        self._undone: deque[Change] = deque(maxlen=MAX_CHANGES)

    def made(self, change: Change) -> None:
        """Record a change; clear the redo stack of its host."""
        self._made.append(change)
        kept = [one for one in self._undone if one.host != change.host]
        self._undone.clear()
        self._undone.extend(kept)

    def last(self, host: str, *, undone: bool = False, before: Change | None = None) -> Change | None:
        """The last change on a host, or the last one before ``before``; ``undone``: of the undone changes."""
        changes = [one for one in (self._undone if undone else self._made) if one.host == host]
        end = changes.index(before) if before in changes else len(changes)
        return changes[end - 1] if end else None

    def elsewhere(self, *, undone: bool = False) -> str | None:
        """The host of the last change on any host; None if there is none."""
        changes = self._undone if undone else self._made
        return changes[-1].host if changes else None

    def forget(self, change: Change) -> None:
        """Drop a change that can never be undone."""
        for changes in (self._made, self._undone):
            if change in changes:
                changes.remove(change)

    def taken_back(self, change: Change, ending: Ending, reverse: Change | None) -> None:
        """Record that a change was undone, possibly in part or without an answer; ``reverse`` redoes it."""
        undone = change in self._undone
        changes, others = (self._undone, self._made) if undone else (self._made, self._undone)
        if change not in changes:
            return
        done = {step.key for step, _ in ending.done}
        unanswered = {step.group for step in ending.unanswered}
        rest = tuple(one for one in change.steps if one.key not in done and one.group not in unanswered)
        whole = not rest and not ending.unanswered
        if rest:
            changes[changes.index(change)] = replace(change, steps=rest, left={}, stays="")
        elif ending.unanswered:
            titles = "; ".join(step.title for step in ending.unanswered)
            why = f"{titles} was not answered, so it is not known what is left to take back"
            changes[changes.index(change)] = replace(change, why_not=why)
        else:
            changes.remove(change)
        of_many = any(step.group is not None for step in change.steps)
        if reverse is not None and (whole or (of_many and reverse.steps)):
            others.append(reverse)


@dataclass(frozen=True)
class Hindrance:
    """Why a change can't be undone now, in a sentence; ``lasting``: it never can."""

    words: str
    lasting: bool = True


def hindrance(change: Change, started_at: float, snapshot: Snapshot) -> Hindrance | None:
    """Why a change can't be undone now, given the shown host; None if it can."""
    if change.why_not:
        return Hindrance(change.why_not)
    if change.started_at != started_at:
        return Hindrance("the engine was restarted since")
    if snapshot.config is None or snapshot.config.revision < change.revision:
        return Hindrance(
            "the engine's new configuration has not arrived yet; u again in a moment", lasting=False
        )
    found = [_missing(step, snapshot.config) for step in change.steps]
    parts = change.steps[0].group is not None  # rows of a batch: those that are there are taken back
    return None if parts and None in found else next(filter(None, found), None)


def _missing(step: Step, config: Config) -> Hindrance | None:
    """Why a step can't be sent: its queue is gone or has another name. A queue is matched by its generation
    or, if the change allocated it, by its name; a renamed queue may get that name back."""
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
    """Undo a change, or redo it (``again``); ``following`` is the next change to undo after it.

    ``config`` returns the current configuration. If others changed the same values since, the dialog warns
    and asks for confirmation. Of a batch, rows that are gone since are refused.
    """
    known = changed_since(change.left, config())
    steps = [_if_there(step, config) for step in change.steps]

    def plan(values: Fields) -> Sequence[Step]:
        if (found := changed_since(change.left, config())) != known:
            raise ValueError(
                f"changed while this is open: {several(found) or 'back to what it was'}. Esc leaves"
            )
        return steps

    takes = several([step.title for step in change.steps])
    done = f"{'Undone' if again else 'Done'} {age(max(0.0, now - change.at))} ago: {change.words}."
    stays = f" What stays: {change.stays}." if change.stays else ""
    then = f" After it, the next is: {following.words}." if following is not None else ""
    verb = "Make again" if again else "Undo"
    return Task(
        "Make the last change again" if again else "Undo the last change",
        f"{done} {'To make it again' if again else 'To take it back'}: {takes}.{stays}{then}",
        verb,
        plan,
        destructive=bool(known),
        warning=f"Changed by others since: {several(known, 6)}." if known else "",
    )


def _if_there(step: Step, config: Callable[[], Config | None]) -> Step:
    """A step of a batch, hindered if its queue is gone."""

    def hindered() -> str:
        now = config()
        missing = _missing(step, now) if now is not None else None
        return missing.words if missing is not None else ""

    return step if step.group is None else replace(step, hindered=hindered)
