"""The parts of a task: fields and their checks, the requests made from them, the wording of answers.

A check converts typed text to the value to send, by the engine's rules, or raises ValueError with a sentence.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from engine.bus.messages import Response
from engine.scenario.processor_set import HostProcessors, parse_place
from engine.scenario.values import check_filter_vlan, check_name, check_vlan, check_whole, normal_mac
from engine.telemetry.config import AdapterConfig, Vlan
from engine.view.rows import FilterView, QueueView
from vmqtui.printable import printable
from vmqtui.state.rows import Row

Answers = dict[str, Response]
Values = dict[str, Any]


@dataclass(frozen=True)
class RowChoices:
    """The rows to choose from; ``table`` names their table in the column registry, ``rows`` returns the
    current ones."""

    table: str
    rows: Callable[[], Sequence[Row]]
    value: Callable[[Row], str]
    """Returns the value of a row, as text."""
    without: tuple[str, ...] = ()
    """Keys of columns that are left out."""
    first: str = ""
    """The value to begin at; "": the field's."""
    lines_beside: int = 14
    """Lines of the screen that are not for rows."""


@dataclass(frozen=True)
class Field:
    """A field of a form: a line of text, one of ``choices``, a text of ``several_lines``, or one of ``rows``.

    ``check`` returns the value to send, or raises ValueError with a sentence.
    """

    key: str
    label: str
    check: Callable[[str], Any]
    value: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    several_lines: bool = False
    rows: RowChoices | None = None
    known: Sequence[str] = ()
    """Values that exist, the likeliest first; what is typed is completed to the first one that fits."""


@dataclass(frozen=True)
class Foreseen:
    """The expected effect of a step, in a sentence; ``fits``: it is the intended effect."""

    words: str
    fits: bool = True


class Group(NamedTuple):
    """A row that steps of a batch are for: its name in a sentence, and the identities of the marked rows."""

    name: str
    rows: tuple[Hashable, ...]


class NewQueue(NamedTuple):
    """The identity of a queue just allocated: the engine's answer lacks the generation."""

    adapter: str
    queue_id: int
    name: str


@dataclass(frozen=True)
class Step:
    """One request. ``params`` makes its parameters from the answers of earlier steps."""

    key: str
    title: str
    op: str
    params: Callable[[Answers], dict[str, Any]]
    uses: tuple[str, ...] = ()
    """Keys of the fields it sends; they are locked once it is done."""
    foresee: dict[str, Any] | None = None
    """Parameters of its "what if" request; None: the engine can't answer it before other steps are done."""
    foreseen: "Foreseen | None" = None
    """Its effect computed here, if the engine can't compute it or ``foresee`` is about a stand-in queue."""
    undo: "Callable[[Answers], Step] | str | None" = None
    """Makes the step that undoes this one from the answers so far; or a sentence why it has no undo. None:
    the undo of the other steps undoes it too."""
    about: Hashable = None
    """The identity of the existing queue it changes, or a ``NewQueue``; None if it changes no such queue."""
    group: Group | None = None
    """In a batch: the row it is for. A failed step ends the steps of its group; without one, all steps."""
    hindered: Callable[[], str] | None = None
    """Returns why it can't be sent, in a sentence, or "". Called for the preview and before it is sent."""


@dataclass(frozen=True)
class Task:
    """The task of a dialog: its texts, its fields, and the requests made from their values.

    ``plan`` returns no step if nothing would change. It raises ValueError, with a sentence, if values
    contradict each other.
    """

    title: str
    explanation: str
    verb: str
    plan: Callable[[Values], Sequence[Step]]
    fields: Sequence[Field] = ()
    destructive: bool = False
    warning: str = ""
    """A sentence that the user must see before confirming."""
    remark: Callable[[Values], str] | None = None
    """Returns a sentence on valid values, from the current state."""
    proposed: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    """Returns texts for some fields from those of all; filled in as long as no such field is edited."""
    fixes: str | None = None
    """The rule of the finding whose fix it is."""
    unchanged: str = "nothing is changed yet"
    """The sentence on values that change nothing, once they are submitted."""

    @property
    def button(self) -> str:
        """The words on its button: the verb and the key that does it; several lines of text take Enter."""
        if any(field.several_lines for field in self.fields):
            return self.verb
        return f"{self.verb} ({'y' if self.destructive and not self.fields else '⏎'})"


@dataclass(frozen=True)
class Ending:
    """The end of a dialog: its message, the completed steps with their answers, the unanswered steps, whether
    a step failed, and the groups of a batch that are done."""

    words: str
    done: tuple[tuple[Step, Response], ...] = ()
    unanswered: tuple[Step, ...] = ()
    failed: bool = False
    groups: tuple[Group, ...] = ()


def step(
    key: str,
    title: str,
    op: str,
    params: dict[str, Any],
    *,
    uses: tuple[str, ...] = (),
    undo: Callable[[Answers], Step] | str | None = None,
    about: Hashable = None,
) -> Step:
    """A step that is independent of other answers, so it can be previewed."""
    return Step(key, title, op, lambda answers: params, uses, params, undo=undo, about=about)


def in_group(one: Step, group: Group, hindered: Callable[[], str] | None = None) -> Step:
    """A step as part of a batch; its undo is part of the same group."""
    undo = one.undo
    if callable(undo):
        make = undo
        undo = lambda answers: in_group(make(answers), group)  # noqa: E731  # a def here would hide the name
    return replace(one, group=group, hindered=hindered, undo=undo)


class Present:
    """Tells whether rows are still there; their identities are read once a snapshot. ``gone`` is why one that
    is not can't be changed."""

    def __init__(self, rows: Callable[[], Sequence[QueueView] | Sequence[FilterView]], gone: str) -> None:
        self._rows = rows
        self._gone = gone
        self._read: Sequence[QueueView] | Sequence[FilterView] = ()
        self._identities: frozenset[Hashable] = frozenset()

    def why_not(self, identity: Hashable) -> str:
        """Why a row can't be changed: it is gone; "" if it is there."""
        rows = self._rows()
        if rows is not self._read:
            self._read, self._identities = rows, frozenset(row.identity for row in rows)
        return "" if identity in self._identities else self._gone


def while_there(task: Task, there: Present, identity: Hashable) -> Task:
    """A task on one row as one that sends nothing once that is gone: what has its id by then is another."""

    def plan(values: Values) -> Sequence[Step]:
        return [replace(one, hindered=partial(there.why_not, identity)) for one in task.plan(values)]

    return replace(task, plan=plan)


def several(words: Sequence[str], most: int = 3, between: str = "; ") -> str:
    """The words in a row; beyond ``most`` only their number."""
    more = [f"and {len(words) - most:,} more"] if len(words) > most else []
    return between.join([*words[:most], *more])


def number_in(response: Response, key: str) -> int:
    """A whole number in an answer's result. Raises KeyError or TypeError if there is none."""
    number = response.result[key]
    if not isinstance(number, int):
        raise TypeError(f"{key} is no number")
    return number


def refusal(asked: Step, response: Response) -> str | None:
    """Why a request was refused, in words with the NDIS status; None if it was accepted.

    ``complete_allocation`` answers per queue; a single refused queue counts as a refusal.
    """
    if response.status != "ok":
        return in_words(response.ndis_status, response.message)
    queues = response.result.get("queues") if asked.op == "complete_allocation" else None
    for queue in queues if isinstance(queues, list) else ():
        status = str(queue.get("ndis_status", "")) if isinstance(queue, dict) else ""
        if status and status != "NDIS_STATUS_SUCCESS":
            return in_words(status, str(queue.get("message", "")) or response.message)
    return None


def in_words(status: str, message: str) -> str:
    """The engine's message, or else the meaning of the NDIS status, with the status."""
    return printable(f"{message} ({status})" if message else MEANINGS.get(status, "refused") + f" ({status})")


MEANINGS = {
    "NDIS_STATUS_INVALID_PARAMETER": "not possible for this queue as it stands",
    "NDIS_STATUS_INVALID_LENGTH": "too long",
    "NDIS_STATUS_NOT_SUPPORTED": "the adapter can't do that",
    "NDIS_STATUS_RESOURCES": "the adapter has no queue, filter or buffer left",
    "NDIS_STATUS_FILE_NOT_FOUND": "that filter is not on this queue",
    "NDIS_STATUS_NOT_ACCEPTED": "the engine is stopping",
    "NDIS_STATUS_REQUEST_ABORTED": "the engine stopped before it was done",
    "NDIS_STATUS_FAILURE": "the engine failed; its log says more",
}


def called(row: QueueView) -> str:
    """The name of a queue in a sentence: "queue 3 (web)"."""
    return f"queue {row.queue_id} ({printable(row.label)})"


def whole(low: int, high: int) -> Callable[[str], int]:
    """A check for a whole number in low..high."""

    def check(text: str) -> int:
        digits = text.replace(",", "").replace("_", "")
        number = digits.isascii() and digits.isdigit() and len(digits) < 20
        return check_whole(int(digits) if number else text, low, high)

    return check


def processor(known: HostProcessors) -> Callable[[str], int]:
    """A check for a processor of the host, as a number or group:number."""

    def check(text: str) -> int:
        last = len(known.places) - 1
        if (place := parse_place(text)) is not None:
            if place not in known.by_place:
                raise ValueError(f"{place} is not a processor of this host ({known.groups_in_words} fit)")
            return known.by_place[place]
        if not (text.isascii() and text.isdigit() and len(text) < 6):
            raise ValueError(
                f"{printable(text, 80) or 'nothing'} is not a processor (0..{last}, or group:number)"
            )
        return check_whole(int(text), 0, last)

    return check


def vlan_test(settings: AdapterConfig | None) -> Callable[[str], Vlan]:
    """A check for a VLAN test that this adapter supports; "" or "any" means no test."""

    def check(text: str) -> Vlan:
        given: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text.lower()
        vlan = check_vlan(None if given in ("", "any") else given)
        if settings is not None:
            minor = (settings.ndis_version or "").partition(".")[2]
            filtering = settings.vlan_filtering is not False
            check_filter_vlan(vlan, int(minor) if minor.isdigit() else 30, filtering)
        return vlan

    return check


def optional_mac(text: str) -> str | None:
    """A check for a MAC address; None if ``text`` is empty."""
    return normal_mac(text) if text else None


def optional_name(text: str) -> str | None:
    """A check for a name; None if ``text`` is empty."""
    return check_name(text) if text else None


def number_as_typed(text: str) -> int | float | str:
    """Typed text, with or without thousands separators, as a number; the text itself if it is not one."""
    digits = text.replace(",", "").replace("_", "")
    try:
        return int(digits) if digits.isascii() and digits.isdigit() else float(digits)
    except ValueError:
        return text
