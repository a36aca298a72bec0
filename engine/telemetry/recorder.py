"""Writes a recording of limited size, which is valid up to its last record at any time."""

import errno
import os
import stat
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import msgpack

from engine import __version__
from engine.files import try_lock
from engine.telemetry.packing import pack_delta, pack_key
from engine.telemetry.recording import CHAIN_LIMIT, END, FORMAT, MESSAGES, Head
from engine.telemetry.stats import Stats

AtLimit = Literal["stop", "keep-newest"]


def old_path(path: Path) -> Path:
    """Return the path of a recording's older half, for "keep-newest"."""
    return path.with_name(f"{path.name}.old")


class LostFileError(OSError):
    """The file that is being written was deleted, replaced or changed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.ESTALE, f"{what} while it was being recorded", str(path))


class Recorder:
    """Writes a recording; a context manager. Raises OSError if the file can't be written or another recorder
    is writing it.

    At ``limit_bytes`` it stops (``full``). With "keep-newest" it continues instead: at half of that size it
    renames the file to FILE.old, which replaces an older one, and starts a new file, which can be read alone.
    """

    def __init__(
        self, path: Path, *, limit_bytes: int, at_limit: AtLimit = "stop", replace: bool = False
    ) -> None:
        self.path = path
        self.readings = 0
        self.events = 0
        self.hosts: set[str] = set()
        self.full = False
        self._limit_bytes = limit_bytes
        self._at_limit = at_limit
        self._size = 0
        self._packer = msgpack.Packer()
        self._last: dict[str, tuple[Stats, int]] = {}
        """Each host's last reading, and the number of readings from its last key frame on, inclusive."""
        self._known: dict[tuple[str, str], bytes] = {}
        """The latest status and configuration of each host; each new file begins with them."""
        self._file = self._open(replace)
        self._begin()

    @property
    def size(self) -> int:
        """The number of bytes written to the current file."""
        return self._size

    def message(self, host: str, kind: str, payload: bytes) -> None:
        """Record the payload of a received status, configuration or event; do nothing if ``full``."""
        if kind not in MESSAGES:
            raise ValueError(f"no message of kind {kind!r}")
        if kind != "event":
            self._known[host, kind] = payload
        if self._room():
            self.hosts.add(host)
            self.events += kind == "event"
            self._put(Head(kind, host, time.time_ns()), zlib.compress(payload))

    def reading(self, host: str, stats: Stats) -> None:
        """Record a reading as a delta if possible, else as a key frame; do nothing if ``full``."""
        if not self._room():
            return
        last, chained = self._last.get(host, (None, CHAIN_LIMIT))
        packed = pack_delta(last, stats) if last is not None and chained < CHAIN_LIMIT else None
        kind = "delta" if packed is not None else "stats"
        head = Head(kind, host, stats.time_ns, 0, stats.sim_time_ns, stats.seq)
        self._put(head, pack_key(stats) if packed is None else packed)
        chained = 0 if packed is None else chained
        self._last[host] = stats, chained + 1
        self.hosts.add(host)
        self.readings += 1

    def check(self) -> None:
        """Check that the file still exists as it was written. Raises ``LostFileError``."""
        mine = os.fstat(self._file.fileno())
        if not stat.S_ISREG(mine.st_mode):
            return
        try:
            found = self.path.stat()
        except OSError:
            raise LostFileError(self.path, "was deleted or renamed") from None
        if not os.path.samestat(found, mine):
            raise LostFileError(self.path, "was replaced")
        if mine.st_size != self._size:
            raise LostFileError(self.path, "was changed by another program")

    def close(self) -> None:
        """Write the end record and close the file."""
        try:
            self._put(Head(END, "", time.time_ns()), b"")
        finally:
            self._file.close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            self._file.close()
        else:
            self.close()

    def _room(self) -> bool:
        """Return whether the limit permits a record. With "keep-newest", start a new file when needed."""
        if self._at_limit == "stop":
            self.full = self._size >= self._limit_bytes
        elif self._size >= self._limit_bytes // 2:
            self.close()
            self.path.replace(old_path(self.path))
            self._file = self._open(replace=False)
            self._begin()
        return not self.full

    def _open(self, replace: bool) -> BinaryIO:
        """Create and lock an empty file; ``replace`` allows an existing one, which is truncated."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | (0 if replace else os.O_EXCL)
        file = os.fdopen(os.open(self.path, flags, 0o666), "r+b", buffering=0)
        try:
            if not try_lock(file):
                raise OSError(errno.EBUSY, "is being written by another recorder")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.truncate()
        except BaseException:
            file.close()
            raise
        return file

    def _begin(self) -> None:
        self._size = 0
        self._last.clear()
        head = {"format": FORMAT, "version": __version__, "time_ns": time.time_ns()}
        self._write(self._packer.pack(head))
        for (host, kind), payload in self._known.items():
            self._put(Head(kind, host, time.time_ns()), zlib.compress(payload))

    def _put(self, head: Head, data: bytes) -> None:
        self._write(self._packer.pack(head.sealed(data)) + self._packer.pack(data))

    def _write(self, record: bytes) -> None:
        """Write a whole record. On a full disk, one write of an unbuffered file may write only a part."""
        self.check()
        done = 0
        while done < len(record):
            written = self._file.write(record[done:])
            done += written
            self._size += written
