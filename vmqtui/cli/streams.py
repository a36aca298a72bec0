"""Standard streams as commands need them: open, and never an error for a character that they can't write."""

import codecs
import io
import os
import sys
from typing import Final

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
"""What stands for a character in an encoding without it, one for one, so that columns stay aligned."""


def prepare_streams() -> None:
    """Open standard streams that are closed, on the null device, and let text degrade where an encoding lacks
    its characters."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    codecs.register_error(_DEGRADE, _degraded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_DEGRADE)


def write_in_utf8() -> None:
    """Write what follows on standard output in UTF-8, as TOML and CSV are whatever the locale; on a terminal
    as the terminal wants it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def is_utf8() -> bool:
    """Whether standard output takes every character."""
    return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"


def _degraded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end
