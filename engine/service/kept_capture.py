"""A capture from a pipe or standard input: read once to its end, and kept in a temporary file meanwhile."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from engine.scenario.values import one_line
from engine.temporary import own_directory
from engine.traffic.capture import CaptureError
from engine.traffic.capture_file import CaptureFile
from engine.traffic.capture_forms import is_capture

STANDARD_INPUT: Final = "-"
KEPT_BYTES_LIMIT: Final = 4 << 30
"""Most bytes of a pipe that are kept."""

_CHUNK_BYTES: Final = 1 << 20
_MAGIC_BYTES: Final = 16


@contextmanager
def kept(
    path: Path, progress: Callable[[str, int], None] = lambda name, read_bytes: None
) -> Iterator[CaptureFile]:
    """A copy of what a pipe gives, until the end of the context; ``path`` "-" is standard input.

    ``progress`` is called with the name of what is read and the bytes so far, before the first and
    often. Raises CaptureError.
    """
    is_standard_input = str(path) == STANDARD_INPUT
    name = "standard input" if is_standard_input else str(path)
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(own_directory())
        except OSError as error:
            where = "set TMPDIR to a directory"
            raise CaptureError(f"{one_line(name)}: can't be kept: {error} ({where})") from None
        copy = directory / ("standard input" if is_standard_input else path.name)
        progress(name, 0)
        try:
            with _opened(path) as stream:
                _copy(stream, copy, name, lambda read_bytes: progress(name, read_bytes))
        except OSError as error:
            raise CaptureError(f"{one_line(name)}: {error.strerror or error}; a capture fits") from None
        yield CaptureFile(str(copy), name)


def _opened(path: Path) -> BinaryIO:
    if str(path) != STANDARD_INPUT:
        return path.open("rb", buffering=0)
    if sys.stdin is None or sys.stdin.closed:
        raise OSError("is closed")
    if sys.stdin.isatty():
        raise OSError("is a terminal")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _copy(stream: BinaryIO, copy: Path, name: str, progress: Callable[[int], None]) -> None:
    """Copy a stream to its end, or up to where it is plain that it is no capture, which its reader says."""
    read_bytes = 0
    start = b""
    with copy.open("wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            read_bytes += len(chunk)
            if read_bytes > KEPT_BYTES_LIMIT:
                raise CaptureError(
                    f"{one_line(name)}: is longer than the {KEPT_BYTES_LIMIT >> 30} GiB that are kept of a"
                    " pipe (save it, and name the file)"
                )
            try:
                file.write(chunk)
            except OSError as error:
                raise CaptureError(
                    f"{one_line(name)}: can't be kept in {copy.parent}: {error.strerror} (set TMPDIR to a"
                    " directory with room for it)"
                ) from None
            if len(start) < _MAGIC_BYTES:
                start += chunk[:_MAGIC_BYTES]
                if len(start) >= _MAGIC_BYTES and not is_capture(start):
                    return
            progress(read_bytes)
