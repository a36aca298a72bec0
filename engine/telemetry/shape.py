"""How many rows and cells a message holds, found without building them.

A message of 16 MiB may hold 16 million numbers, which take forty times as much once they are decoded. Columns
are read as the bytes they are: only the length at their beginning is used.
"""

from typing import Any

import msgspec

from engine.telemetry.bounds import (
    MAX_CELLS,
    MAX_FILTER_ROWS,
    MAX_PORT_ROWS,
    MAX_QUEUE_ROWS,
    SETTINGS_LIMIT_BYTES,
)
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

_Column = msgspec.Raw
_NOTHING = _Column(b"\x90")
_FIXED, _SHORT, _LONG = 0x90, 0xDC, 0xDD
"""How MessagePack begins an array: up to 15 elements, a length of two bytes, a length of four."""


class _AdapterStats(msgspec.Struct):
    queues: dict[str, _Column] = {}
    filters: dict[str, _Column] = {}
    default_queue_top: dict[str, _Column] | None = None


class _Stats(msgspec.Struct):
    cpus: dict[str, _Column] = {}
    adapters: dict[str, _AdapterStats] = {}


class _AdapterConfig(msgspec.Struct):
    queues: _Column = _NOTHING
    filters: _Column = _NOTHING
    ports: _Column = _NOTHING


class _Config(msgspec.Struct):
    cpu_model: _Column = _NOTHING
    balancer: _Column = _NOTHING
    adapters: list[_AdapterConfig] = []


_SMALLEST_BYTES = min(MAX_CELLS, MAX_QUEUE_ROWS, MAX_FILTER_ROWS, MAX_PORT_ROWS)
"""A smaller message has room for none of the bounds: an element takes a byte at least."""

_stats_decoder = msgspec.msgpack.Decoder(_Stats)
_config_decoder = msgspec.msgpack.Decoder(_Config)


def check_shape(kind: type[Any], payload: bytes) -> None:
    """Raise ``ValueError`` where a message of ``kind`` has more rows or cells than the bounds allow, and what
    msgspec raises where it is not well formed."""
    if len(payload) <= _SMALLEST_BYTES:
        return
    if kind is Stats:
        _check_stats(_stats_decoder.decode(payload))
    elif kind is Config:
        config = _config_decoder.decode(payload)
        settings_bytes = max(len(memoryview(one)) for one in (config.cpu_model, config.balancer))
        if settings_bytes > SETTINGS_LIMIT_BYTES:
            raise ValueError(f"settings of {settings_bytes} bytes (at most {SETTINGS_LIMIT_BYTES})")
        adapters = config.adapters
        _check("queues", sum(_length(one.queues) for one in adapters), MAX_QUEUE_ROWS)
        _check("filters", sum(_length(one.filters) for one in adapters), MAX_FILTER_ROWS)
        _check("ports", sum(_length(one.ports) for one in adapters), MAX_PORT_ROWS)


def _check_stats(stats: _Stats) -> None:
    adapters = stats.adapters.values()
    _check("queues", sum(_rows(one.queues) for one in adapters), MAX_QUEUE_ROWS)
    _check("filters", sum(_rows(one.filters) for one in adapters), MAX_FILTER_ROWS)
    tables = [stats.cpus, *(table for one in adapters for table in (one.queues, one.filters))]
    tables += [one.default_queue_top for one in adapters if one.default_queue_top is not None]
    _check("cells", sum(_length(column) for table in tables for column in table.values()), MAX_CELLS)


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"{count} {what} of all adapters (at most {most})")


def _rows(table: dict[str, _Column]) -> int:
    return max(map(_length, table.values()), default=0)


def _length(column: _Column) -> int:
    """Elements of an array; 0 of anything else, which the decoder of the message refuses."""
    head = bytes(memoryview(column)[:5])
    if head[0] == _SHORT:
        return int.from_bytes(head[1:3], "big")
    if head[0] == _LONG:
        return int.from_bytes(head[1:5], "big")
    return head[0] & 0x0F if head[0] & 0xF0 == _FIXED else 0
