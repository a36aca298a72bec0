"""How many rows and cells a message holds, found without building them.

A message of 16 MiB may hold 16 million numbers, which take forty times as much once they are decoded. Columns
are read as the bytes they are: only the length at their beginning is used. A decoder builds every value of a
repeated key and keeps the last, so a map that repeats a key is refused.
"""

from typing import Any, Final

import msgspec

from engine.counted import counted
from engine.scenario.keys import MAX_ADAPTERS
from engine.telemetry.bounds import (
    MAX_CELLS,
    MAX_FILTER_ROWS,
    MAX_KEYS,
    MAX_PORT_ROWS,
    MAX_QUEUE_ROWS,
    SETTINGS_LIMIT_BYTES,
)
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

_Map = dict[str, msgspec.Raw]
_NULL: Final = msgspec.Raw(b"\xc0")
_ARRAY: Final = (0x90, 0xDC, 0xDD)
_MAP: Final = (0x80, 0xDE, 0xDF)
"""How MessagePack begins an array, and a map: up to 15 elements, a length of two bytes, a length of four."""

_SMALLEST_BYTES: Final = min(MAX_CELLS, MAX_QUEUE_ROWS, MAX_FILTER_ROWS, MAX_PORT_ROWS)
"""A smaller message has room for none of the bounds: an element takes a byte at least."""

_map_decoder = msgspec.msgpack.Decoder(_Map)
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def check_shape(kind: type[Any], payload: bytes) -> None:
    """Raise ``ValueError`` where a message of ``kind`` repeats a key or has more keys, rows or cells than the
    bounds allow, and what msgspec raises where it is not well formed."""
    if len(payload) <= _SMALLEST_BYTES:
        return
    if kind is Stats:
        _check_stats(_map(msgspec.Raw(payload)))
    elif kind is Config:
        _check_config(_map(msgspec.Raw(payload)))


def check_pairs(adapters: msgspec.Raw) -> None:
    """Raise as ``check_shape`` where the ``default_queue_top`` of a list of adapters have too many cells."""
    tables = (_map(one.get("default_queue_top", _NULL)) for one in _list_of_maps(adapters))
    _check("cells", sum(map(_cells, tables)), MAX_CELLS)


def _check_stats(stats: _Map) -> None:
    adapters = [_map(one) for one in _map(stats.get("adapters", _NULL)).values()]
    queues, filters, pairs = (
        [_map(one.get(name, _NULL)) for one in adapters]
        for name in ("queues", "filters", "default_queue_top")
    )
    _check("queues", sum(map(_rows, queues)), MAX_QUEUE_ROWS)
    _check("filters", sum(map(_rows, filters)), MAX_FILTER_ROWS)
    tables = (_map(stats.get("cpus", _NULL)), *queues, *filters, *pairs)
    _check("cells", sum(map(_cells, tables)), MAX_CELLS)


def _check_config(config: _Map) -> None:
    settings_bytes = max(len(memoryview(config.get(name, _NULL))) for name in ("cpu_model", "balancer"))
    if settings_bytes > SETTINGS_LIMIT_BYTES:
        raise ValueError(f"settings of {settings_bytes} bytes (at most {SETTINGS_LIMIT_BYTES})")
    adapters = _list_of_maps(config.get("adapters", _NULL))
    for name, most in (("queues", MAX_QUEUE_ROWS), ("filters", MAX_FILTER_ROWS), ("ports", MAX_PORT_ROWS)):
        _check(name, sum(_length(one.get(name, _NULL), _ARRAY) for one in adapters), most)


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"{count} {what} of all adapters (at most {most})")


def _rows(table: _Map) -> int:
    return max((_length(column, _ARRAY) for column in table.values()), default=0)


def _cells(table: _Map) -> int:
    return sum(_length(column, _ARRAY) for column in table.values())


def _map(value: msgspec.Raw) -> _Map:
    """A map by its keys; empty for null and for anything else, which the decoder of the message refuses."""
    length = _length(value, _MAP)
    if length > MAX_KEYS:
        raise ValueError(f"a map of {length} keys (at most {MAX_KEYS})")
    read = _map_decoder.decode(value) if length else {}
    if len(read) != length:
        raise ValueError("a map that repeats a key")
    return read


def _list_of_maps(value: msgspec.Raw) -> list[_Map]:
    length = _length(value, _ARRAY)
    if length > MAX_ADAPTERS:
        raise ValueError(f"{counted(length, 'adapter')} (at most {MAX_ADAPTERS})")
    return [_map(one) for one in _list_decoder.decode(value)] if length else []


def _length(value: msgspec.Raw, heads: tuple[int, int, int]) -> int:
    """Elements of an array or of a map; 0 of anything else."""
    fixed, short, long = heads
    head = bytes(memoryview(value)[:5])
    if head[0] == short:
        return int.from_bytes(head[1:3], "big")
    if head[0] == long:
        return int.from_bytes(head[1:5], "big")
    return head[0] & 0x0F if head[0] & 0xF0 == fixed else 0
