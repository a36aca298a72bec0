"""Encodes and decodes messages as MessagePack, with limits on size, values and nesting depth."""

import hashlib
from typing import Any, TypeVar

import msgspec

from engine.advice.finding import Advice
from engine.bus.errors import BadMessage
from engine.bus.messages import Request, Response, Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.shape import check_shape, check_values
from engine.telemetry.stats import Stats
from engine.telemetry.summary import Summary

REQUEST_LIMIT_BYTES = 1 << 20
MESSAGE_LIMIT_BYTES = 16 << 20
REQUEST_ID_LIMIT_BYTES = 64

Message = Status | Config | Stats | Summary | Event | Advice | Request | Response
T = TypeVar("T", Status, Config, Stats, Summary, Event, Advice, Response)

_encoder = msgspec.msgpack.Encoder()
_ordered_encoder = msgspec.msgpack.Encoder(order="deterministic")


class _Envelope(msgspec.Struct, frozen=True):
    """A request of which only ``id`` is decoded, so that an invalid one can be answered."""

    id: str
    op: msgspec.Raw = msgspec.Raw(b"\xc0")
    params: msgspec.Raw = msgspec.Raw(b"\x80")


_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)
_op_decoder = msgspec.msgpack.Decoder(str)
_params_decoder = msgspec.msgpack.Decoder(dict[str, Any])

_decoders: dict[type[Any], msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in (Status, Config, Stats, Summary, Event, Advice, Response)
}

_OF_ANY_VALUES = (Response, Advice)
"""Messages with free-form fields: results of requests, and parameters of the requests of a fix."""

# msgspec raises RecursionError on deep nesting, and ValueError or OverflowError on invalid timestamps.
_UNDECODABLE = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)


class BadRequest(BadMessage):
    """An invalid request that can be answered; ``fingerprint`` is a digest of its op and params."""

    def __init__(self, id: str, fingerprint: bytes, message: str) -> None:
        super().__init__(message)
        self.id = id
        self.fingerprint = fingerprint


def encode(message: Message) -> bytes:
    """Return the payload of a message. Raises ``BadMessage`` above 16 MiB."""
    payload = _encoder.encode(message)
    if len(payload) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(
            f"a {type(message).__name__} of {len(payload)} bytes (at most {MESSAGE_LIMIT_BYTES})"
        )
    return payload


def decode(kind: type[T], payload: bytes) -> T:
    """Decode a message of ``kind``; unknown keys are ignored. Raises ``BadMessage``."""
    if len(payload) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(f"a {kind.__name__} of {len(payload)} bytes (at most {MESSAGE_LIMIT_BYTES})")
    try:
        if kind in _OF_ANY_VALUES:
            check_values(payload)
        check_shape(kind, payload)
        message: T = _decoders[kind].decode(payload)
    except _UNDECODABLE as error:
        raise BadMessage(f"not a {kind.__name__}: {_reason(error)}") from None
    return message


def decode_request(payload: bytes) -> Request:
    """Decode a request; keys other than ``id``, ``op`` and ``params`` are ignored.

    Raises ``BadRequest`` if the request has a valid ``id`` to answer to, otherwise ``BadMessage``.
    """
    if len(payload) > REQUEST_LIMIT_BYTES:
        raise BadMessage(f"a request of {len(payload)} bytes (at most {REQUEST_LIMIT_BYTES})")
    try:
        envelope = _envelope_decoder.decode(payload)
    except _UNDECODABLE as error:
        raise BadMessage(f"not a request: {_reason(error)}") from None
    id_bytes = len(envelope.id.encode())
    if id_bytes > REQUEST_ID_LIMIT_BYTES:
        raise BadMessage(f"not a request: id of {id_bytes} bytes (at most {REQUEST_ID_LIMIT_BYTES})")
    try:
        op = _op_decoder.decode(envelope.op)
    except _UNDECODABLE:
        raise _bad_request(envelope, "op: it must be a string that names an operation") from None
    try:
        params = _params_decoder.decode(envelope.params)
    except _UNDECODABLE as error:
        raise _bad_request(envelope, f"params: {_reason(error)}; it must be a map with string keys") from None
    return Request(id=envelope.id, op=op, params=params)


def fingerprint(request: Request) -> bytes:
    """Return a 16-byte digest of op and params that does not depend on the order of keys."""
    try:
        ordered = _ordered_encoder.encode((request.op, request.params))
    except (TypeError, *_UNDECODABLE):  # keys of different types can't be sorted
        ordered = _encoder.encode((request.op, request.params))
    return _digest(ordered)


def _bad_request(envelope: _Envelope, message: str) -> BadRequest:
    return BadRequest(envelope.id, _digest(bytes(envelope.op) + bytes(envelope.params)), message)


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error) or type(error).__name__
