"""Checks of the number of rows, cells and values in a message, without decoding them.

A message of 16 MiB may have 16 million numbers, which take forty times as much memory when decoded. Columns
stay raw bytes: only the length at the start of each is read. For a repeated key, a decoder builds every value
and discards all but the last, so a map that repeats a key is refused.
"""

from typing import Any, Final

import msgspec

from engine.counted import counted
from engine.scenario.keys import MAX_ADAPTERS
from engine.telemetry.bounds import (
    MAX_CELLS,
    MAX_DEPTH,
    MAX_FILTER_ROWS,
    MAX_KEYS,
    MAX_PORT_ROWS,
    MAX_QUEUE_ROWS,
    MAX_VALUES,
    SETTINGS_LIMIT_BYTES,
)
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

_Map = dict[str, msgspec.Raw]
_NULL: Final = msgspec.Raw(b"\xc0")
_ARRAY: Final = (0x90, 0xDC, 0xDD)
_MAP: Final = (0x80, 0xDE, 0xDF)
"""First bytes of MessagePack arrays and maps: up to 15 elements, a 2-byte length, a 4-byte length."""

_SMALLEST_BYTES: Final = min(MAX_CELLS, MAX_QUEUE_ROWS, MAX_FILTER_ROWS, MAX_PORT_ROWS)
"""A message of up to this size can't exceed a bound on rows or cells, because each takes at least a byte."""

_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Size of the length field by a value's first byte, for binary values, extensions and strings."""
_EXTENSIONS: Final = (0xC7, 0xC8, 0xC9)
_FIXED_BYTES: Final = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC3, *range(0x80), *range(0xE0, 0x100)), 1),
    **{0xA0 + length: 1 + length for length in range(32)},
    **{0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9},
    **{0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18},
}
"""Size of a value by its first byte, for values whose first byte determines it."""
_SIZES: Final = [_FIXED_BYTES.get(first, 0) for first in range(256)]

_map_decoder = msgspec.msgpack.Decoder(_Map)
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def check_shape(kind: type[Any], payload: bytes) -> None:
    """Raise ``ValueError`` if a message of ``kind`` repeats a key or exceeds the bounds on keys, rows or
    cells, or msgspec's error if it is malformed. Messages of up to ``_SMALLEST_BYTES`` are not checked."""
    if len(payload) <= _SMALLEST_BYTES:
        return
    if kind is Stats:
        _check_stats(_map(msgspec.Raw(payload)))
    elif kind is Config:
        _check_config(_map(msgspec.Raw(payload)))


def check_pairs(adapters: msgspec.Raw) -> None:
    """Raise as ``check_shape`` if the ``default_queue_top`` of a list of adapters have too many cells."""
    tables = (_map(one.get("default_queue_top", _NULL)) for one in _list_of_maps(adapters))
    _check("cells", sum(map(_cells, tables)), MAX_CELLS)


def check_values(payload: bytes) -> None:
    """Raise ``ValueError`` if a message has more than ``MAX_VALUES`` values, keys included, or more than
    ``MAX_DEPTH`` nested levels. The decoder detects malformed bytes."""
    at, count, left = 0, 1, 1
    outer: list[int] = []
    """The number of values left in each list or map that encloses the current one."""
    try:
        while True:
            left -= 1
            first = payload[at]
            if size := _SIZES[first]:
                at += size
            elif first in _LENGTH_BYTES:
                begin = at + 1 + _LENGTH_BYTES[first]
                at = begin + int.from_bytes(payload[at + 1 : begin], "big") + (first in _EXTENSIONS)
            else:
                length, at = _inside(payload, at)
                count += length
                if count > MAX_VALUES:
                    raise ValueError(f"more than {MAX_VALUES} values")
                outer.append(left)
                if len(outer) > MAX_DEPTH:
                    raise ValueError(f"nested more than {MAX_DEPTH} deep")
                left = length
            while not left:
                left = outer.pop()
    except IndexError:
        return  # the end of the message


def _inside(payload: bytes, at: int) -> tuple[int, int]:
    """Return the number of values, keys included, in a list or map, and the offset of the first one."""
    first = payload[at]
    if first < 0xA0:
        return (first & 0x0F) * (1 if first & 0x10 else 2), at + 1
    begin = at + (3 if first in (0xDC, 0xDE) else 5)
    length = int.from_bytes(payload[at + 1 : begin], "big")
    return length * (1 if first in (0xDC, 0xDD) else 2), begin


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
    """Return a map with raw values. Other types give an empty map: the message's decoder refuses them."""
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
    """Return the number of elements of an array (``_ARRAY``) or map (``_MAP``); 0 for any other type."""
    fixed, short, long = heads
    head = bytes(memoryview(value)[:5])
    if head[0] == short:
        return int.from_bytes(head[1:3], "big")
    if head[0] == long:
        return int.from_bytes(head[1:5], "big")
    return head[0] & 0x0F if head[0] & 0xF0 == fixed else 0
