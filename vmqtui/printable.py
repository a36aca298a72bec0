"""Text from the network made safe to show: control characters are shown, never obeyed."""

import json
from typing import Any

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

    ESC becomes ␛, a newline ␊; characters that would reorder or hide others become �. Longer text than
    ``limit`` characters ends in an ellipsis.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return shown(text)


def shown(text: str) -> str:
    """The last gate before the screen, for text of any length: whoever drew it may have forgotten a name."""
    return text if text.isprintable() else text.translate(_SHOWN)


def as_json(document: Any, indent: int | None = None) -> str:
    """A document as JSON that is safe on a terminal: what would move a cursor or hide text is escaped."""
    return json.dumps(document, ensure_ascii=False, indent=indent).translate(_ESCAPED)
