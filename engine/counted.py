"""Numbers in sentences, with their nouns: every message counts in the same way."""


def counted(count: float | None, one: str, plural: str = "") -> str:
    """``1 frame``, ``8,431 frames``: a whole number with thousands separators, and its noun in that number.

    ``plural`` is for words that get more than an s, and for verbs: ``counted(n, "frame is", "frames are")``.
    "–" stands for an unknown number.
    """
    return f"{'–' if count is None else f'{count:,.0f}'} {noun(count, one, plural)}"


def noun(count: float | None, one: str, plural: str = "") -> str:
    """The noun alone, where what is counted is listed: ``queue 3``, ``queues 3, 5``."""
    return one if count == 1 else plural or one + "s"
