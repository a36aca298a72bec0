"""The bytes of a capture file, plain or decompressed from gzip, in bounded memory."""

import os
import stat
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

from engine.traffic.capture_formats import GZIP, FormatError

DECOMPRESSED_LIMIT: Final = 16 << 30
"""Limit of a capture's decompressed bytes: gzip compresses by up to 1,032 to 1."""

_GZIP_BITS: Final = 31  # makes zlib expect a gzip header and trailer
_COMPRESSED_BYTES: Final = 1 << 16


class CaptureFile(msgspec.Struct, frozen=True):
    """A capture: its path, and its name in messages."""

    path: str
    name: str

    def __str__(self) -> str:
        return self.name


def capture_file(capture: "CaptureFile | Path | str") -> CaptureFile:
    """Return a capture; one given by its path is named by that path."""
    return capture if isinstance(capture, CaptureFile) else CaptureFile(str(capture), str(capture))


class CaptureBytes(Protocol):
    """The bytes of a capture. Raises OSError, and FormatError if compressed data are malformed."""

    total_bytes: int
    """Size of the file when it was opened."""

    @property
    def file_bytes(self) -> int:
        """Bytes of the file read so far; of a compressed file, those decompressed."""

    def readinto(self, room: memoryview) -> int:
        """Read some of the next bytes into ``room``; return their number, 0 at the end."""

    def place(self, position: int) -> str:
        """Return the words for a byte's position in messages ("at byte 24")."""

    def rewind(self) -> None:
        """Go back to the first byte."""

    def close(self) -> None:
        """Close the file."""


def open_capture(capture: CaptureFile) -> CaptureBytes:
    """Open a regular file. Raises OSError, FormatError."""
    path = Path(capture.path)
    if path.is_dir():
        raise FormatError("this is a directory; a pcap or pcapng file fits")
    if path.exists() and not path.is_file():
        raise FormatError("this is not a regular file, and a capture is read more than once; a file fits")
    plain = _Plain(path)
    try:
        is_gzip = plain.read(len(GZIP)) == GZIP
        plain.rewind()
    except BaseException:
        plain.close()
        raise
    return _Gzip(plain) if is_gzip else plain


class _Plain:
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        status = os.fstat(self._file.fileno())
        self.total_bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.file_bytes = 0

    def read(self, most: int) -> bytes:
        read = self._file.read(most) or b""
        self.file_bytes += len(read)
        return read

    def readinto(self, room: memoryview) -> int:
        count = self._file.readinto(room) or 0
        self.file_bytes += count
        return count

    def place(self, position: int) -> str:
        return f"at byte {position}"

    def rewind(self) -> None:
        self._file.seek(0)
        self.file_bytes = 0

    def close(self) -> None:
        self._file.close()


class _Gzip:
    """Decompresses gzip data of one or several members; zeros after a member are padding."""

    def __init__(self, file: _Plain) -> None:
        self._file = file
        self.total_bytes = file.total_bytes
        self._begin()

    def _begin(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_BITS)
        self._within_member = False
        self._waiting = b""  # read from the file, not decompressed yet
        self._decompressed = 0

    @property
    def file_bytes(self) -> int:
        return self._file.file_bytes - len(self._waiting)

    def place(self, position: int) -> str:
        return f"at decompressed byte {position}"

    def rewind(self) -> None:
        self._file.rewind()
        self._begin()

    def close(self) -> None:
        self._file.close()

    def readinto(self, room: memoryview) -> int:
        while True:
            if not self._waiting:
                self._waiting = self._file.read(_COMPRESSED_BYTES)
            at_end = not self._waiting
            if not self._within_member:
                self._waiting = self._waiting.lstrip(b"\0")
                if self._waiting and not GZIP.startswith(self._waiting[:2]):
                    raise FormatError("what follows the compressed data is no gzip member")
                if at_end:
                    return 0
                self._within_member = bool(self._waiting)
                continue
            found = self._decompress(len(room))
            if found:
                room[: len(found)] = found
                self._decompressed += len(found)
                if self._decompressed > DECOMPRESSED_LIMIT:
                    raise FormatError(f"decompresses to more than {DECOMPRESSED_LIMIT >> 30} GiB")
                return len(found)
            if at_end:
                raise FormatError("the compressed data are cut short")

    def _decompress(self, most: int) -> bytes:
        """Return up to ``most`` decompressed bytes, or those before damaged data."""
        before = self._decoder.copy()
        try:
            found = self._decoder.decompress(self._waiting, most)
        except zlib.error:
            return self._before_damage(before, most)
        self._waiting = self._decoder.unconsumed_tail
        if self._decoder.eof:
            self._waiting = self._decoder.unused_data
            self._decoder = zlib.decompressobj(_GZIP_BITS)
            self._within_member = False
        return found

    def _before_damage(self, decoder: "zlib._Decompress", most: int) -> bytes:
        """Decompress byte by byte up to the damage, because a zlib call that fails returns no bytes."""
        found = bytearray()
        used = 0
        try:
            while len(found) < most:
                found += decoder.decompress(self._waiting[used : used + 1], most - len(found))
                used += 1 - len(decoder.unconsumed_tail)
        except zlib.error as error:
            if not found:
                reason = str(error).rpartition(": ")[2]
                raise FormatError(f"the compressed data are damaged ({reason})") from None
        self._decoder, self._waiting = decoder, self._waiting[used:]
        return bytes(found)
