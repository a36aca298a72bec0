"""Makes untrusted text safe to show: control characters become visible, so a terminal never executes them."""

import json
from typing import Any
from unicodedata import category

_BIDI = {*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C}
_ODD = {0x200B, 0x200C, 0x200D, 0x2028, 0x2029, 0x2060, 0xFEFF}
_SHOWN: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "␡",
    **dict.fromkeys(range(0x80, 0xA0), "�"),
    **dict.fromkeys(_BIDI | _ODD, "�"),
    **dict.fromkeys(range(0xD800, 0xE000), "�"),
}
_ESCAPED: dict[int, str] = {code: f"\\u{code:04x}" for code in _SHOWN if code >= 0x7F}


def printable(text: str, limit: int = 1024) -> str:
    """``text`` with control characters, escape sequences and direction overrides made visible.

    ESC becomes ␛, a newline ␊; characters that would reorder or hide others become �. Text longer than
    ``limit`` characters is cut and ends in an ellipsis.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return shown(text)


def shown(text: str) -> str:
    """``printable`` without a limit: the last check before the screen, in case a caller forgot it."""
    if text.isprintable():
        return text
    known = text.translate(_SHOWN)
    return known if is_plain(known) else "".join(one if is_plain(one) else "�" for one in known)


def is_plain(text: str) -> bool:
    """Whether every character is visible or a blank, not a control, hidden or unassigned character."""
    return text.isprintable() or all(one.isprintable() or category(one) == "Zs" for one in text)


def as_json(document: Any, indent: int | None = None, *, ascii_only: bool = False) -> str:
    """A document as JSON that is safe on a terminal: characters that move the cursor or hide text are
    escaped; with ``ascii_only``, every non-ASCII character is."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).translate(_ESCAPED)
    if is_plain(text):
        return text
    return "".join(one if one == "\n" or is_plain(one) else json.dumps(one)[1:-1] for one in text)
