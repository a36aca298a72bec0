"""What commands that read a capture share: captures from pipes, and warnings about what is not covered."""

import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmqtui.cli.failures import DONE, FAILED, warn
from vmqtui.printable import printable

if TYPE_CHECKING:
    from engine.service.sources import Caveats
    from engine.traffic.capture_file import CaptureFile

_PROGRESS_S: Final = 2.0


def is_stream(path: Path) -> bool:
    """Whether a path is standard input ("-"), or anything else that can be read only once."""
    try:
        mode = path.stat().st_mode
    except OSError:  # opening it reports what is wrong
        return str(path) == "-"
    return str(path) == "-" or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def kept_capture(path: Path) -> "Iterator[CaptureFile]":
    """The capture; if it is a pipe, what that gives to its end, with progress on stderr.

    Raises CaptureError.
    """
    from engine.service.sources import piped_capture
    from engine.traffic.capture_file import capture_file

    if not is_stream(path):
        yield capture_file(path)
        return
    reported_s = 0.0

    def progress(name: str, read_bytes: int) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s < _PROGRESS_S:
            return
        reported_s = time.monotonic()
        so_far = f": {read_bytes / 1e6:,.1f} MB so far" if read_bytes else ", a pipe, to its end"
        print(f"reading {printable(name)}{so_far}", file=sys.stderr, flush=True)

    with piped_capture(path, progress) as capture:
        yield capture


def warn_of(caveats: "Caveats", covering: str) -> int:
    """Warn about what ``covering`` ("the report") does not cover of a capture; the exit status."""
    if caveats.skipped_frames:
        warn(f"frames of interfaces that are not Ethernet are left out: {caveats.skipped_frames:,}")
    if caveats.broken is None:
        return DONE
    warn(f"{caveats.broken}; {covering} covers the frames before it")
    return FAILED
