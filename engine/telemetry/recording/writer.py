"""Writing a recording: bounded, and whole up to its last record at any moment."""

import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal

import msgpack

from engine import __version__
from engine.telemetry.packing import pack_delta, pack_key
from engine.telemetry.recording.form import END, FORMAT, MESSAGES, Head
from engine.telemetry.stats import Stats

AtLimit = Literal["stop", "keep-newest"]
CHAIN: Final = 16
"""Readings from one that stands alone to the next: what is unpacked, at most, to see one of them."""


class Recorder:
    """Writes a recording; a context manager. Raises OSError when the file can't be written.

    At ``limit_bytes`` it stops (``full``), or with "keep-newest" goes on: whenever the file has half of that
    it becomes FILE.old, in place of an older one, and a new one begins, which needs nothing of the old.
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
        """Each host's last reading, and how many hang on the last that stands alone."""
        self._known: dict[tuple[str, str], bytes] = {}
        """The latest status and configuration of each host: what a new file begins with."""
        self._file: BinaryIO = path.open("wb" if replace else "xb", buffering=0)
        self._begin()

    @property
    def old_path(self) -> Path:
        """Where the older half is, with "keep-newest"."""
        return self.path.with_name(self.path.name + ".old")

    @property
    def size(self) -> int:
        """Bytes written to the present file."""
        return self._size

    def message(self, host: str, kind: str, payload: bytes) -> None:
        """Take a status, a configuration or an event in, as it came."""
        if kind not in MESSAGES:
            raise ValueError(f"no message of kind {kind!r}")
        if kind != "event":
            self._known[host, kind] = payload
        if self._room():
            self.hosts.add(host)
            self.events += kind == "event"
            self._put(Head(kind, host, time.time_ns()), zlib.compress(payload))

    def reading(self, host: str, stats: Stats) -> None:
        """Take a reading in."""
        if not self._room():
            return
        last, chained = self._last.get(host, (None, CHAIN))
        packed = pack_delta(last, stats) if last is not None and chained < CHAIN else None
        kind = "delta" if packed is not None else "stats"
        head = Head(kind, host, stats.time_ns, 0, stats.sim_time_ns, stats.seq)
        self._put(head, pack_key(stats) if packed is None else packed)
        chained = 0 if packed is None else chained
        self._last[host] = stats, chained + 1
        self.hosts.add(host)
        self.readings += 1

    def close(self) -> None:
        """End the recording, so that a reader knows it was not cut."""
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
        """Whether there is room for a record; makes it, where that is what shall be done."""
        if self._at_limit == "stop":
            self.full = self._size >= self._limit_bytes
        elif self._size >= self._limit_bytes // 2:
            self.close()
            self.path.replace(self.old_path)
            self._file = self.path.open("xb", buffering=0)
            self._begin()
        return not self.full

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
        """In one piece: an unbuffered file may take less at a time, on a full disk."""
        done = 0
        while done < len(record):
            done += self._file.write(record[done:])
        self._size += done
