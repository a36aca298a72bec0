"""What a control is: fields and their checks, the requests they make, the words for an answer.

A check turns typed text into the value to send, by the rules of the engine, or raises ValueError with a
sentence.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.bus.messages import Response
from engine.scenario.values import check_filter_vlan, check_name, check_vlan, check_whole, normal_mac
from engine.telemetry.config import AdapterConfig, Vlan
from engine.view.rows import QueueView
from vmqtui.printable import printable
from vmqtui.state.rows import Row

Answers = dict[str, Response]
Values = dict[str, Any]


@dataclass(frozen=True)
class RowChoices:
    """The rows to choose from: those of a ``table`` of the column registry as they are now."""

    table: str
    rows: Callable[[], Sequence[Row]]
    value: Callable[[Row], str]
    """The value of a row, as text."""
    without: tuple[str, ...] = ()
    """Columns that are left out."""


@dataclass(frozen=True)
class Field:
    """A field of a form: a line; one of ``choices``; a text of ``several_lines``; or one of ``rows``.

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


@dataclass(frozen=True)
class Foreseen:
    """The effect of a step in a sentence, and whether it is the intended one."""

    words: str
    fits: bool = True


class NewQueue(NamedTuple):
    """A queue as it was allocated: an answer does not say its generation."""

    adapter: str
    queue_id: int
    name: str


@dataclass(frozen=True)
class Step:
    """One request. ``params`` may use the answers of the steps before it."""

    key: str
    title: str
    op: str
    params: Callable[[Answers], dict[str, Any]]
    uses: tuple[str, ...] = ()
    """Fields it sends: once it is done they can't be changed any more."""
    foresee: dict[str, Any] | None = None
    """Parameters of its ``what_if``; None: the engine can't tell before the others are done."""
    foreseen: "Foreseen | None" = None
    """Its effect as worked out here, where the engine can't tell or ``foresee`` asks about a stand-in."""
    undo: "Callable[[Answers], Step] | str | None" = None
    """Makes of its answer, and those before it, the step that takes it back, or says why there is none;
    None: nothing is needed, because what takes back the others takes back this one."""
    about: Hashable = None
    """The identity of the queue it changes, where it changes one that was there; or a ``NewQueue``."""


@dataclass(frozen=True)
class Task:
    """The task of a dialog: its words, its fields, and the requests that the values make.

    ``plan`` makes no request where nothing would change. It raises ValueError, with a sentence, for values
    that don't fit each other.
    """

    title: str
    explanation: str
    verb: str
    plan: Callable[[Values], Sequence[Step]]
    fields: Sequence[Field] = ()
    destructive: bool = False
    warning: str = ""
    """A sentence that must be seen before it is done."""
    remark: Callable[[Values], str] | None = None
    """A sentence on values that fit, as things are now."""
    at_once: bool = False
    """Sent when the dialog opens: its values were chosen before. The dialog stays only after a refusal."""


@dataclass(frozen=True)
class Ending:
    """How a dialog ended: its message, the steps that were carried out, each with its answer, the
    title of one whose answer did not come, and whether one was not done."""

    words: str
    done: tuple[tuple[Step, Response], ...] = ()
    unanswered: str = ""
    failed: bool = False


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
    """A step that needs no answer of another, and so can be foreseen."""
    return Step(key, title, op, lambda answers: params, uses, params, undo=undo, about=about)


def number_in(response: Response, key: str) -> int:
    """A whole number of an answer's result. Raises KeyError or TypeError where there is none."""
    number = response.result[key]
    if not isinstance(number, int):
        raise TypeError(f"{key} is no number")
    return number


def refusal(asked: Step, response: Response) -> str | None:
    """Why a request was refused, in words with the NDIS status; None when it was not.

    ``complete_allocation`` answers per queue; one queue refused is a refusal here.
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
    """An NDIS status with what it means here."""
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
    """The name of a queue in a sentence."""
    return f"queue {row.queue_id} ({printable(row.label)})"


def whole(low: int, high: int) -> Callable[[str], int]:
    """A check for a whole number in low..high."""

    def check(text: str) -> int:
        digits = text.replace(",", "").replace("_", "")
        number = digits.isascii() and digits.isdigit() and len(digits) < 20
        return check_whole(int(digits) if number else text, low, high)

    return check


def processor(cpus: int) -> Callable[[str], int]:
    """A check for a processor of the host, as a number or group:number."""

    def check(text: str) -> int:
        group, colon, number = text.partition(":")
        parts = (group, number) if colon else (group,)
        if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
            raise ValueError(
                f"{printable(text, 80) or 'nothing'} is not a processor (0..{cpus - 1}, or group:number)"
            )
        return check_whole(int(group) * 64 + int(number) if colon else int(group), 0, cpus - 1)

    return check


def vlan_test(settings: AdapterConfig | None) -> Callable[[str], Vlan]:
    """A check for a VLAN test that this adapter can set; nothing or "any" means no test."""

    def check(text: str) -> Vlan:
        given: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text.lower()
        vlan = check_vlan(None if given in ("", "any") else given)
        if settings is not None:
            minor = settings.ndis_version.partition(".")[2]
            check_filter_vlan(vlan, int(minor) if minor.isdigit() else 30, settings.vlan_filtering)
        return vlan

    return check


def optional_mac(text: str) -> str | None:
    """A MAC address, or nothing."""
    return normal_mac(text) if text else None


def optional_name(text: str) -> str | None:
    """A name, or nothing."""
    return check_name(text) if text else None


def number_as_typed(text: str) -> int | float | str:
    """A number as it was typed, with or without commas; the text itself where it is none."""
    digits = text.replace(",", "").replace("_", "")
    try:
        return int(digits) if digits.isascii() and digits.isdigit() else float(digits)
    except ValueError:
        return text
