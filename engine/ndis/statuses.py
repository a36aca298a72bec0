"""The statuses an NDIS request is answered with, by name and code (ndis.h, ntstatus.h)."""

from enum import StrEnum


class NdisStatus(StrEnum):
    """A status. Its value is its name on the wire; ``code`` is the 32-bit number NDIS gives it."""

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
        """Whether a request answered so was accepted."""
        return self in (NdisStatus.SUCCESS, NdisStatus.PENDING)


class NdisError(Exception):
    """A request that is refused: its status, and the sentence for the person who sent it."""

    def __init__(self, status: NdisStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message: str) -> NdisError:
    """The refusal most bad input gets."""
    return NdisError(NdisStatus.INVALID_PARAMETER, message)


def exhausted(message: str) -> NdisError:
    """The refusal for want of a queue, a filter or a buffer."""
    return NdisError(NdisStatus.RESOURCES, message)
