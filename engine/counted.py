"""Formats a number with its noun; all messages use it, so that they look the same."""


def counted(count: float | None, one: str, plural: str = "") -> str:
    """Return ``1 frame`` or ``8,431 frames``: a rounded number with thousands separators, and its noun.

    ``plural`` is for irregular plurals and for verbs: ``counted(n, "frame is", "frames are")``. An unknown
    number (None) is shown as "–".
    """
    return f"{'–' if count is None else f'{count:,.0f}'} {noun(count, one, plural)}"


def noun(count: float | None, one: str, plural: str = "") -> str:
    """The noun in singular or plural, for lists: ``queue 3``, ``queues 3, 5``."""
    return one if count == 1 else plural or one + "s"
