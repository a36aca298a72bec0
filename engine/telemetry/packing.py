"""Lossless packing of readings: a key frame is a complete reading, a delta the change since the previous one.

Counters of consecutive readings differ by small numbers, and some columns can be computed from others
(contract 2): a delta of 1,024 queues takes about 7 KB, the message 45 KB. If no delta is possible (other
rows, numbers beyond 64 bits, a cell that became known or unknown), the reading becomes a key frame.
"""

import sys
import zlib
from array import array
from collections.abc import Iterator
from operator import add, sub
from types import GenericAlias
from typing import Any, Final

import msgspec

from engine.telemetry.shape import check_pairs, check_shape
from engine.telemetry.stats import AdapterStats, Cell, Columns, Stats

LIMIT_BYTES: Final = 17 << 20
"""Limit of an unpacked reading: the largest message plus the overhead of packing."""

_LEVEL: Final = 3
_SAME: Final = 0
_IMPLIED: Final = 1
_WIDTHS: Final = {"b": 8, "h": 16, "i": 32, "q": 64}
"""Bits of the integers for a column's growth, by type code of ``array``, which is also the column's kind."""
_DERIVED_FROM: Final = {
    "received_frames": ("steered_frames", ("dropped_no_buffer",)),
    "indicated_frames": ("received_frames", ("discarded_frames", "lost_frames", "pending")),
    "returned_frames": ("indicated_frames", ("outstanding",)),
    "free_buffers": ("total_buffers", ("pending", "outstanding")),
}
"""Columns that, by contract 2, equal one column minus the sum of others; the same holds for their growth."""

_TABLES: Final = ("port", "queues", "filters", "freed", "default_queue")
"""Fields of an adapter that are packed as growth. All other fields are packed unchanged."""


def _beside(kind: type[msgspec.Struct], tables: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Return a type with the fields of a message except its tables, and the names of these fields."""
    fields = [one for one in msgspec.structs.fields(kind) if one.name not in tables]
    made = [(one.name, one.type, one.default) for one in fields]
    return msgspec.defstruct(f"{kind.__name__}Beside", made, frozen=True, kw_only=True), [
        one.name for one in fields
    ]


_StatsBeside, _OF_STATS = _beside(Stats, ("cpus", "adapters", "schema"))
_AdapterBeside, _OF_ADAPTER = _beside(AdapterStats, _TABLES)


class _Delta(msgspec.Struct, frozen=True):
    stats: msgspec.Raw
    adapters: msgspec.Raw
    kinds: bytes
    planes: bytes


_encoder = msgspec.msgpack.Encoder()
_stats_decoder = msgspec.msgpack.Decoder(Stats)
_stats_beside_decoder = msgspec.msgpack.Decoder(_StatsBeside)
_adapters_beside_decoder = msgspec.msgpack.Decoder(GenericAlias(list, (_AdapterBeside,)))
_delta_decoder = msgspec.msgpack.Decoder(_Delta)


class PackingError(ValueError):
    """Packed bytes can't be unpacked to a reading."""


def pack_key(stats: Stats) -> bytes:
    """Pack a complete reading."""
    return zlib.compress(_encoder.encode(stats), _LEVEL)


def unpack_key(packed: bytes) -> Stats:
    """Unpack a reading from ``pack_key``. Raises ``PackingError``."""
    try:
        payload = inflate(packed)
        check_shape(Stats, payload)
        return _stats_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
        raise PackingError(str(error)) from None


def pack_delta(before: Stats, now: Stats) -> bytes | None:
    """Pack the difference of two readings; return None if the second one needs a key frame."""
    kinds, planes = bytearray(), bytearray()
    if list(before.adapters) != list(now.adapters):
        return None
    for old, new in zip(_tables(before), _tables(now), strict=True):
        if not _pack_table(old, new, kinds, planes):
            return None
    try:
        stats = {name: getattr(now, name) for name in _OF_STATS}
        adapters = [{name: getattr(one, name) for name in _OF_ADAPTER} for one in now.adapters.values()]
        delta = _Delta(
            msgspec.Raw(_encoder.encode(stats)),
            msgspec.Raw(_encoder.encode(adapters)),
            bytes(kinds),
            bytes(planes),
        )
        data = _encoder.encode(delta)
    except OverflowError:  # a number beyond MessagePack's 64 bits
        return None
    return zlib.compress(data, _LEVEL) if len(data) <= LIMIT_BYTES else None


def unpack_delta(before: Stats, packed: bytes) -> Stats:
    """Return the reading ``now`` of ``pack_delta``. Raises ``PackingError``."""
    try:
        delta = _delta_decoder.decode(inflate(packed))
        stats = _stats_beside_decoder.decode(delta.stats)
        check_pairs(delta.adapters)
        adapters = _adapters_beside_decoder.decode(delta.adapters)
        reader = _Reader(delta.kinds, delta.planes)
        reading = msgspec.structs.replace(
            before,
            **{name: getattr(stats, name) for name in _OF_STATS},
            cpus=reader.table(before.cpus),
            adapters={
                name: AdapterStats(
                    port=_single(reader.table(_column_each(adapter.port))),
                    queues=reader.table(adapter.queues),
                    filters=reader.table(adapter.filters),
                    freed=_single(reader.table(_column_each(adapter.freed))),
                    default_queue=_single(reader.table(_column_each(adapter.default_queue))),
                    **{field: getattr(beside, field) for field in _OF_ADAPTER},
                )
                for (name, adapter), beside in zip(before.adapters.items(), adapters, strict=True)
            },
        )
        reader.check_end()
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError) as error:
        raise PackingError(str(error)) from None
    return reading


def inflate(packed: bytes, limit: int = LIMIT_BYTES) -> bytes:
    """Decompress zlib data. Raises ``PackingError`` if it is damaged or gives more than ``limit`` bytes."""
    inflator = zlib.decompressobj()
    try:
        data = inflator.decompress(packed, limit)
    except zlib.error as error:
        raise PackingError(str(error)) from None
    if not inflator.eof:
        raise PackingError(f"more than {limit} bytes, or cut short")
    return data


def _tables(stats: Stats) -> Iterator[Columns]:
    """Yield all tables of a reading, with single counters as tables of one row."""
    yield stats.cpus
    for adapter in stats.adapters.values():
        yield _column_each(adapter.port)
        yield adapter.queues
        yield adapter.filters
        yield _column_each(adapter.freed)
        yield _column_each(adapter.default_queue)


def _column_each(counters: dict[str, Cell]) -> Columns:
    return {name: [value] for name, value in counters.items()}


def _single(columns: Columns) -> dict[str, Cell]:
    return {name: values[0] for name, values in columns.items()}


def _in_order(columns: Columns) -> list[str]:
    """Return the names of columns; the columns in ``_DERIVED_FROM`` come last."""
    free = [name for name in columns if name not in _DERIVED_FROM]
    return free + [name for name in _DERIVED_FROM if name in columns]


def _implied(column: str, grown: dict[str, list[int]], length: int) -> list[int] | None:
    """Compute a column's growth from that of others; ``grown`` omits columns without growth. None if lengths
    differ."""
    plus, minus = _DERIVED_FROM[column]
    total = grown.get(plus) or [0] * length
    for name in minus:
        if name in grown:
            if len(grown[name]) != length:
                return None
            total = list(map(sub, total, grown[name]))
    return total if len(total) == length else None


def _pack_table(old: Columns, new: Columns, kinds: bytearray, planes: bytearray) -> bool:
    if list(old) != list(new):
        return False
    grown: dict[str, list[int]] = {}
    for column in _in_order(old):
        before, now = old[column], new[column]
        if len(before) != len(now):
            return False
        if before == now:
            kinds.append(_SAME)
            continue
        growth = _growth(before, now)
        if growth is None:
            return False
        grown[column] = growth
        if column in _DERIVED_FROM and growth == _implied(column, grown, len(growth)):
            kinds.append(_IMPLIED)
            continue
        most = max(max(growth), -1 - min(growth))
        code = next((code for code, bits in _WIDTHS.items() if most < 1 << (bits - 1)), None)
        if code is None:
            return False
        kinds.append(ord(code))
        values = array(code, growth)
        if sys.byteorder == "big":
            values.byteswap()
        raw = values.tobytes()
        # Small numbers compress better byte by byte: first the lowest byte of each, then the next.
        for place in range(values.itemsize):
            planes += raw[place :: values.itemsize]
    return True


def _growth(before: list[Cell], now: list[Cell]) -> list[int] | None:
    """Return the growth of each cell, 0 of one that is unknown; None if a cell became known or unknown."""
    if None not in before and None not in now:
        return list(map(sub, now, before))
    growth = []
    for old, new in zip(before, now, strict=True):
        if (old is None) is not (new is None):
            return None
        growth.append(0 if old is None or new is None else new - old)
    return growth


class _Reader:
    """Reads the tables of a delta, in the order in which they were packed."""

    def __init__(self, kinds: bytes, planes: bytes) -> None:
        self._kinds = iter(kinds)
        self._planes = planes
        self._at = 0

    def table(self, before: Columns) -> Columns:
        grown: dict[str, list[int]] = {}
        now: Columns = {name: [] for name in before}
        for column in _in_order(before):
            old = before[column]
            kind = next(self._kinds, None)
            if kind == _SAME:
                now[column] = old
                continue
            if kind == _IMPLIED:
                growth = _implied(column, grown, len(old)) if column in _DERIVED_FROM else None
                if growth is None:
                    raise ValueError(f"{column} does not follow from other columns")
            else:
                growth = self._numbers(kind, len(old))
            grown[column] = growth
            if None in old:
                both = zip(old, growth, strict=True)
                now[column] = [None if one is None else one + more for one, more in both]
            else:
                now[column] = list(map(add, old, growth))
        return now

    def check_end(self) -> None:
        """Raise ``ValueError`` if bytes are left, because then the delta belongs to other rows."""
        if next(self._kinds, None) is not None or self._at != len(self._planes):
            raise ValueError("more columns than the reading before it has")

    def _numbers(self, kind: int | None, count: int) -> list[int]:
        code = chr(kind or 0)
        if code not in _WIDTHS:
            raise ValueError(f"no column of kind {kind}")
        values = array(code)
        size = values.itemsize
        raw = bytearray(size * count)
        for place in range(size):
            raw[place::size] = self._planes[self._at : self._at + count]
            self._at += count
        values.frombytes(raw)
        if sys.byteorder == "big":
            values.byteswap()
        return values.tolist()
