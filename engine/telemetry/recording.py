"""The format of a recording, and its reader. A recording is a MessagePack stream; heads and data alternate:

    {"format": "vmq.recording/1", "version": ..., "time_ns": ...}
    [kind, host, time_ns, checksum, sim_time_ns, seq], data (bin, zlib)                for each record
    ["end", "", time_ns, checksum, 0, 0], b""                          at the end, unless the file was cut

Kinds are ``status``, ``config`` and ``event`` (the payload as received), ``stats`` (a complete reading) and
``delta`` (the difference from the host's previous reading; ``engine.telemetry.packing``). A head and its data
are written together, so a file cut anywhere is valid up to its last complete record.
"""

import zlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import msgpack

from engine.telemetry.packing import PackingError, inflate, unpack_delta, unpack_key
from engine.telemetry.stats import Stats

FORMAT: Final = "vmq.recording/1"
MESSAGES: Final = ("status", "config", "event")
READINGS: Final = ("stats", "delta")
END: Final = "end"
CHAIN_LIMIT: Final = 16
"""Limit of readings in a chain: a complete reading and the deltas after it. To read one, up to this many are
unpacked."""
LIMIT_BYTES: Final = 17 << 20
"""Limit of a record, packed or unpacked; a message has up to 16 MiB."""
SMALL_LIMIT_BYTES: Final = 1 << 20
"""Limit of an unpacked status or event."""


class RecordingError(ValueError):
    """A file is not a recording; the message is a sentence that names the file."""


class Head(NamedTuple):
    """The head of a record.

    For a reading, ``time_ns`` (Unix time), ``sim_time_ns`` and ``seq`` are the reading's own. For any other
    record, ``time_ns`` is the time at which it was recorded, and the other two are 0.
    """

    kind: str
    host: str
    time_ns: int
    checksum: int = 0
    sim_time_ns: int = 0
    seq: int = 0

    def sealed(self, data: bytes) -> "Head":
        """Return the head with the CRC-32 of its other fields and its data as ``checksum``."""
        said = f"{self.kind}\0{self.host}\0{self.time_ns}\0{self.sim_time_ns}\0{self.seq}"
        return self._replace(checksum=zlib.crc32(data, zlib.crc32(said.encode())))

    def fits(self, data: bytes) -> bool:
        """Return whether ``checksum`` is right for the head and its data."""
        return self.sealed(data).checksum == self.checksum


_CHUNK_BYTES: Final = 1 << 18
_BEGINNING_BYTES: Final = 512
_HOST_LIMIT: Final = 1024
_UNPACKED: Final = 4
"""Limit of cached unpacked readings; a dashboard reads the same few repeatedly."""
_UNPACKED_CELLS: Final = 1 << 20
"""Limit of cells in all cached readings; if they exceed it, the next reading replaces them all."""


@dataclass
class HostIndex:
    """Offsets of a host's records. Readings are numbered from 0; ``since`` has, for each message, the number
    of the reading that follows it."""

    times_ns: "array[int]" = field(default_factory=lambda: array("q"))
    sim_times_ns: "array[int]" = field(default_factory=lambda: array("q"))
    runs: "array[int]" = field(default_factory=lambda: array("l"))
    """For each reading, the number of the engine run, which grows when the engine restarts."""
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    keys: bytearray = field(default_factory=bytearray)
    """For each reading, 1 if it is complete and 0 if it is a delta."""
    last_seq: int = 0
    chained: int = 0
    """The number of readings from the last complete one on, inclusive."""
    messages: dict[str, "array[int]"] = field(default_factory=lambda: {kind: array("q") for kind in MESSAGES})
    since: dict[str, "array[int]"] = field(default_factory=lambda: {kind: array("q") for kind in MESSAGES})


def is_recording(path: Path) -> bool:
    """Whether a file begins as a recording does, of whatever version. Raises OSError if it can't be read."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return FORMAT.partition("/")[0].encode() in file.read(_BEGINNING_BYTES)


class Recording:
    """A recording opened for reading; a context manager.

    Opening it reads the whole file once and checks every record. Records after a cut or damage are ignored,
    and ``broken`` describes this in a sentence. Raises ``RecordingError`` if the file is not a recording,
    OSError if it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hosts: dict[str, HostIndex] = {}
        self.version = ""
        self.broken: str | None = None
        self._unpacked: dict[tuple[str, int], tuple[Stats, int]] = {}
        """Cached readings by host and number, each with its number of cells."""
        self._file = path.open("rb")
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def stats(self, host: str, number: int) -> Stats:
        """Return a reading of a host by its number. Raises IndexError, or ``PackingError`` if the file has
        changed."""
        index = self.hosts[host]
        first = range(len(index.offsets))[number]
        while not index.keys[first] and (host, first) not in self._unpacked:
            first -= 1
        kept = self._unpacked.get((host, first))
        if sum(cells for _, cells in self._unpacked.values()) > _UNPACKED_CELLS:
            self._unpacked.clear()
        stats = unpack_key(self._data(index.offsets[first])) if kept is None else kept[0]
        for place in range(first + 1, number + 1):
            stats = unpack_delta(stats, self._data(index.offsets[place]))
        self._unpacked.pop((host, number), None)
        self._unpacked[host, number] = stats, _cells(stats)
        if len(self._unpacked) > _UNPACKED:
            del self._unpacked[next(iter(self._unpacked))]
        return stats

    def message(self, host: str, kind: str, place: int) -> bytes:
        """Return the payload of a message, by its place among the host's messages of that kind. Raises as
        ``stats``."""
        limit_bytes = LIMIT_BYTES if kind == "config" else SMALL_LIMIT_BYTES
        return inflate(self._data(self.hosts[host].messages[kind][place]), limit_bytes)

    def _data(self, offset: int) -> bytes:
        self._file.seek(offset)
        unpacker = _unpacker()
        while True:
            chunk = self._file.read(_CHUNK_BYTES)
            unpacker.feed(chunk)
            try:
                head, data = _head(unpacker.unpack()), unpacker.unpack()
            except msgpack.OutOfData:
                if chunk:
                    continue
                raise PackingError("the file has become shorter") from None
            except _UNREADABLE as error:
                raise PackingError(f"the file has changed: {error}") from None
            if not isinstance(data, bytes) or not head.fits(data):
                raise PackingError("the file has changed")
            return data

    def _scan(self) -> None:
        """Index and check every record."""
        unpacker, ended, whole = _unpacker(), False, 0
        begun: Any = None
        head: Head | None = None
        try:
            while chunk := self._file.read(_CHUNK_BYTES):
                unpacker.feed(chunk)
                for part in unpacker:
                    if begun is None:
                        begun = part
                        self._check_format(begun)
                        whole = unpacker.tell()
                    elif head is None:
                        head = _head(part)
                    else:
                        ended = self._take(head, part, whole)
                        head, whole = None, unpacker.tell()
        except RecordingError:
            raise
        except _UNREADABLE as error:
            if begun is None:
                raise RecordingError(f"{self.path}: not a recording of vmqtui") from None
            self.broken = f"{self.path} is damaged after byte {whole:,} ({error})"
        if begun is None:
            raise RecordingError(f"{self.path}: not a recording of vmqtui")
        if self.broken is None and not ended:
            self.broken = f"{self.path} was cut after byte {whole:,}"

    def _check_format(self, begun: Any) -> None:
        if not isinstance(begun, dict) or not isinstance(begun.get("format"), str):
            raise RecordingError(f"{self.path}: not a recording of vmqtui")
        if begun["format"] != FORMAT:
            raise RecordingError(f"{self.path}: is a {begun['format'][:60]!r}; this program reads {FORMAT!r}")
        self.version = str(begun.get("version", ""))[:60]

    def _take(self, head: Head, data: Any, offset: int) -> bool:
        """Index a record, unless its kind is unknown; return whether it is the end record. Raises ValueError
        if it is damaged."""
        if not isinstance(data, bytes) or not head.fits(data):
            raise ValueError("a checksum does not fit")
        if head.kind not in (*MESSAGES, *READINGS):
            return head.kind == END
        index = self.hosts.get(head.host)
        if index is None:
            if len(self.hosts) >= _HOST_LIMIT:
                raise ValueError(f"more than {_HOST_LIMIT} hosts")
            index = self.hosts[head.host] = HostIndex()
        if head.kind in MESSAGES:
            index.messages[head.kind].append(offset)
            index.since[head.kind].append(len(index.offsets))
            return False
        if head.kind == "delta" and not index.keys:
            raise ValueError("a reading hangs on none")
        index.chained = 1 if head.kind == "stats" else index.chained + 1
        if index.chained > CHAIN_LIMIT:
            raise ValueError(f"more than {CHAIN_LIMIT} readings hang on one")
        began = bool(index.keys) and (head.sim_time_ns < index.sim_times_ns[-1] or head.seq <= index.last_seq)
        index.runs.append(index.runs[-1] + began if index.keys else 0)
        index.last_seq = head.seq
        index.times_ns.append(head.time_ns)
        index.sim_times_ns.append(head.sim_time_ns)
        index.offsets.append(offset)
        index.keys.append(head.kind == "stats")
        return False


def _cells(stats: Stats) -> int:
    adapters = stats.adapters.values()
    tables = [stats.cpus, *(table for one in adapters for table in (one.queues, one.filters))]
    return sum(len(column) for table in tables for column in table.values())


_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


def _unpacker() -> Any:
    """Return an unpacker to feed with chunks; for a file object, msgpack ignores these limits."""
    return msgpack.Unpacker(
        max_buffer_size=LIMIT_BYTES + _CHUNK_BYTES,
        max_bin_len=LIMIT_BYTES,
        max_str_len=4096,
        max_array_len=16,
        max_map_len=64,
        strict_map_key=False,
    )


def _head(part: Any) -> Head:
    if isinstance(part, list) and len(part) >= len(Head._fields):
        head = Head(*part[: len(Head._fields)])
        numbers = (head.time_ns, head.checksum, head.sim_time_ns, head.seq)
        texts = isinstance(head.kind, str) and isinstance(head.host, str)
        if texts and all(type(one) is int and 0 <= one < 1 << 63 for one in numbers):
            return head
    raise ValueError("no head where one should be")
