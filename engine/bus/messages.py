"""The bus's own messages: status, request, response. Telemetry messages are in ``engine.telemetry``."""

from typing import Any, Literal

import msgspec

from engine.telemetry.bounds import Count, Name, Nanoseconds, Number
from engine.telemetry.summary import Kind


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
