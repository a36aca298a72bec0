"""The bus's own messages: status, request, response. Telemetry messages are in ``engine.telemetry``."""

from typing import Any, Final, Literal

import msgspec

from engine.ndis.outcome import NdisStatus
from engine.telemetry.bounds import Count, Name, Nanoseconds, Number
from engine.telemetry.summary import Kind

_STATUSES: Final[dict[str, NdisStatus]] = {str(one): one for one in NdisStatus}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an engine is online. The engine's will is a status with ``state`` "offline".

    ``kind``: whether its numbers come from the model or from a real host. ``controls``: whether it accepts
    requests.
    """

    state: Literal["online", "offline"]
    version: Name = ""
    started_at: Number = 0.0
    interval_ns: Nanoseconds = 0
    kind: Kind = "model"
    controls: bool = True
    schema: Literal["vmq.status/1"] = "vmq.status/1"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request for one operation; ``id`` has up to 64 bytes and is never used for another request."""

    id: str
    op: str
    params: dict[str, Any] = {}
    schema: Literal["vmq.request/1"] = "vmq.request/1"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the request with the same ``id``."""

    id: str
    status: Literal["ok", "error"]
    ndis_status: Name
    message: str = ""
    result: dict[str, Any] = {}
    revision: Count = 0
    schema: Literal["vmq.response/1"] = "vmq.response/1"

    @property
    def code(self) -> NdisStatus:
        """The NDIS status. A status that this version does not know counts as SUCCESS or FAILURE."""
        unknown = NdisStatus.SUCCESS if self.status == "ok" else NdisStatus.FAILURE
        return _STATUSES.get(self.ndis_status, unknown)

    def checked(self, op: str) -> "Response":
        """Return this response if the request was carried out or is pending. Raises ``RequestError``."""
        if self.status != "ok":
            raise RequestError(op, self)
        return self


class RequestError(Exception):
    """An engine refused a request: its sentence, its NDIS status as ``code``, and the whole ``response``."""

    def __init__(self, op: str, response: Response) -> None:
        super().__init__(f"{op}: {response.message or 'refused'} ({response.ndis_status})")
        self.op = op
        self.response = response

    @property
    def code(self) -> NdisStatus:
        """The NDIS status of the response."""
        return self.response.code

    def __reduce__(self) -> tuple[type["RequestError"], tuple[str, Response]]:
        return type(self), (self.op, self.response)
