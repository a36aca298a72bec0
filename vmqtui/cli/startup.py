"""First steps of the process: prepare its standard streams, and hide passwords in its arguments.

Afterwards all streams are open, and writing a character that the encoding lacks is no error. Every user of
the machine can read a process's arguments, and a broker's URL in them may contain a password: it is
overwritten at once if the system allows it (Linux). The environment and files are safer.
"""

import codecs
import ctypes
import io
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PASSWORD: Final = re.compile(rb"\bmqtts?://[^\s/:@]*:([^\s]+)@", re.IGNORECASE)
_ARG_START: Final = 45  # field 48 of /proc/PID/stat (proc_pid_stat(5)), counted from the third
_DEGRADE: Final = "vmqtui.degrade"
_PLAIN: Final = {
    **dict.fromkeys("●█▇▆■", "#"),
    **dict.fromkeys("○◌◍", "o"),
    **dict.fromkeys("▅▄▃▂▁▒╌", "."),
    **dict.fromkeys("–—─−", "-"),
    **dict.fromkeys("│║", "|"),
    **dict.fromkeys("△▲", "!"),
    **dict.fromkeys("·•", "."),
    **dict.fromkeys("→▶", ">"),
    "…": "~",
    "×": "x",
    "µ": "u",
    "Δ": "d",
    "≤": "<",
    "≥": ">",
}
"""Substitutes for characters that an encoding lacks, one for one, so that columns stay aligned."""


def has_terminal() -> bool:
    """Return whether all standard streams are a terminal."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def prepare_streams() -> None:
    """Open closed standard streams on the null device, and substitute characters that an encoding lacks."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # uses the lowest free number: this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    codecs.register_error(_DEGRADE, _degraded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_DEGRADE)


def _degraded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end


def has_password(arguments: Iterable[str]) -> bool:
    """Whether any argument contains a broker's password."""
    return any(_PASSWORD.search(argument.encode(errors="surrogateescape")) for argument in arguments)


def conceal() -> bool:
    """Overwrite brokers' passwords in this process's arguments; return False if that is not possible."""
    if sys.platform != "linux":
        return False
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    except (OSError, ValueError, IndexError):
        return False
    if not 0 < start < end:
        return False
    at = 0
    for argument in ctypes.string_at(start, end - start).split(b"\0"):
        if (password := _PASSWORD.search(argument)) is not None:
            ctypes.memset(start + at + password.start(1), ord("x"), len(password[1]))
        at += len(argument) + 1
    return True
