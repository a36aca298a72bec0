"""How well colours can be told apart: WCAG contrast, and what people with other colour vision see; pure."""

import math
from collections.abc import Mapping

TEXT = ("text", "strong", "dim", "accent", "title", "header", "good", "warn", "bad")
"""Roles that words and figures are written in."""
GRAPHICS = ("bar", "bar2", "trend", "reason1", "reason2", "reason3", "reason4", "reason5")
"""Roles that bars and lines are drawn in. What is left (faint, track, border) only decorates."""
GROUNDS = ("background", "surface", "panel", "cursor", "cursor_idle")
"""What both may stand on."""
REVERSED = ("accent", "warn", "bad")
"""Roles that are a ground themselves, of words in the colour of the cursor or of the background."""

_SIMULATED = {  # Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
_Rgb = tuple[float, float, float]


def contrast(one: str, other: str) -> float:
    """The WCAG 2 contrast ratio of two colours (#rrggbb), 1..21."""
    light, dark = sorted((_luminance(_linear(one)), _luminance(_linear(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def shortfalls(colours: Mapping[str, str], text: float = 4.5, graphics: float = 3.0) -> list[str]:
    """The pairs of a theme (roles and grounds by name) whose contrast is too low, a sentence each."""
    pairs = [(role, ground, text) for role in TEXT for ground in GROUNDS]
    pairs += [(role, ground, graphics) for role in GRAPHICS for ground in GROUNDS if ground != "panel"]
    pairs += [(ground, role, text) for role in REVERSED for ground in ("cursor", "background")]
    return [
        f"{front} on {back}: {found:.2f}, {least:g} needed"
        for front, back, least in pairs
        if (found := contrast(colours[front], colours[back])) < least
    ]


def difference(one: str, other: str, vision: str | None = None) -> float:
    """How far apart two colours look (CIE 1976, in Lab; 2.3 is just noticeable).

    ``vision`` is how they are seen: "protan", "deutan" (red-green), "tritan" (blue-yellow), or as by most.
    """
    labs = [_lab(_seen(_linear(colour), vision)) for colour in (one, other)]
    return math.dist(*labs)


def _linear(colour: str) -> _Rgb:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue


def _luminance(rgb: _Rgb) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def _seen(rgb: _Rgb, vision: str | None) -> _Rgb:
    if vision is None:
        return rgb
    rows = _SIMULATED[vision]
    red, green, blue = (
        min(1.0, max(0.0, sum(part * channel for part, channel in zip(row, rgb, strict=True))))
        for row in rows
    )
    return red, green, blue


def _lab(rgb: _Rgb) -> _Rgb:
    red, green, blue = rgb
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = _luminance(rgb)
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
