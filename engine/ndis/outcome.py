"""The answer to a request: an NDIS status, a sentence, a result, and effects; names and codes of statuses."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from engine.ndis.effects import Effect, Indication

_CHANGES_OF_STATE: Final = ("queue_state", "queue_freed")


class NdisStatus(StrEnum):
    """A status (ndis.h, ntstatus.h). Its value is its name in messages; ``code`` is its 32-bit number."""

    code: int

    def __new__(cls, wire: str, code: int) -> "NdisStatus":
        status = str.__new__(cls, wire)
        status._value_ = wire
        status.code = code
        return status

    SUCCESS = "NDIS_STATUS_SUCCESS", 0x00000000
    PENDING = "NDIS_STATUS_PENDING", 0x00000103
    NOT_ACCEPTED = "NDIS_STATUS_NOT_ACCEPTED", 0x00010003
    RECEIVE_QUEUE_STATE = "NDIS_STATUS_RECEIVE_QUEUE_STATE", 0x4002000D
    FAILURE = "NDIS_STATUS_FAILURE", 0xC0000001
    INVALID_PARAMETER = "NDIS_STATUS_INVALID_PARAMETER", 0xC000000D
    RESOURCES = "NDIS_STATUS_RESOURCES", 0xC000009A
    NOT_SUPPORTED = "NDIS_STATUS_NOT_SUPPORTED", 0xC00000BB
    REQUEST_ABORTED = "NDIS_STATUS_REQUEST_ABORTED", 0xC001000C
    INVALID_LENGTH = "NDIS_STATUS_INVALID_LENGTH", 0xC0010014
    FILE_NOT_FOUND = "NDIS_STATUS_FILE_NOT_FOUND", 0xC001001B

    @property
    def is_ok(self) -> bool:
        """Whether a request with this status was accepted: SUCCESS or PENDING."""
        return self in (NdisStatus.SUCCESS, NdisStatus.PENDING)


class NdisError(Exception):
    """A refused request: its status, and a sentence for the client that sent it."""

    def __init__(self, status: NdisStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message: str) -> NdisError:
    """Return the error for most bad input: INVALID_PARAMETER."""
    return NdisError(NdisStatus.INVALID_PARAMETER, message)


def exhausted(message: str) -> NdisError:
    """Return the error for a lack of queues, filters, buffers, ports or VM indices: RESOURCES."""
    return NdisError(NdisStatus.RESOURCES, message)


@dataclass(frozen=True)
class Outcome:
    """The answer to a request, the effects on the data plane, and the events to publish.

    ``message`` is a sentence for the client. The data plane carries out ``effects``, in order, before the
    next request is applied. ``changed``: the request changed the configuration, which gets a new revision.
    """

    ndis_status: NdisStatus
    message: str
    result: dict[str, Any] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    indications: tuple[Indication, ...] = ()
    changed: bool = False

    @property
    def status(self) -> Literal["ok", "error"]:
        """The answer's ``status``."""
        return "ok" if self.ndis_status.is_ok else "error"

    @property
    def code(self) -> NdisStatus:
        """The NDIS status, under the name that it has in the response of an engine."""
        return self.ndis_status

    @property
    def next_states(self) -> dict[int, str]:
        """The new state of each queue whose state changed, by queue id; "undefined": the queue is gone."""
        return {
            one.queue_id: one.state
            for one in self.indications
            if one.queue_id is not None and one.state is not None and one.event in _CHANGES_OF_STATE
        }


def answer(message: str, result: dict[str, Any]) -> Outcome:
    """Return the outcome of a query, which changes nothing."""
    return Outcome(NdisStatus.SUCCESS, message, result)


def done(
    message: str,
    *,
    result: dict[str, Any] | None = None,
    effects: list[Effect] | None = None,
    indications: list[Indication] | None = None,
    status: NdisStatus = NdisStatus.SUCCESS,
    changed: bool = True,
) -> Outcome:
    """Return the outcome of a request that was carried out."""
    return Outcome(status, message, result or {}, tuple(effects or ()), tuple(indications or ()), changed)
