"""How the columns of a measured host are known, and the marks beside their headings that say so."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from engine.ndis.counters import (
    CPU,
    CPU_GAUGES,
    FILTER,
    PORT,
    QUEUE,
    QUEUE_GAUGES,
    QUEUE_LATENCY,
    QUEUE_OF_MEASURED,
    names,
)
from engine.telemetry.stats import Source, least_certain
from vmqtui.columns.column import Column

MARKS: Final[Mapping[Source, str]] = {"exact": "", "derived": "≈", "guessed": "?"}
WORDS: Final[Mapping[Source, str]] = {
    "exact": "read from the host",
    "derived": "computed from what was read",
    "guessed": "taken by a name or a habit that may be wrong",
}
NOTHING_SAID: Final[Mapping[str, Source]] = {}
"""The sources of the model's counters, which it knows exactly."""
_COUNTERS: Final = frozenset(
    name
    for table in (QUEUE, QUEUE_GAUGES, QUEUE_LATENCY, QUEUE_OF_MEASURED, CPU, CPU_GAUGES, PORT, FILTER)
    for name in names(table)
)
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def sources_of(columns: Iterable[Column[Any]], counters: Mapping[str, Source]) -> dict[str, Source]:
    """Return how columns are known, by key: each as the least certain of the counters that it is computed
    from. A column that lacks one of them, or of several alternatives all, is left out."""
    if not counters:
        return {}
    found: dict[str, Source] = {}
    for column in columns:
        read = _reads(column.computed) | {*column.facts}
        known = [counters[name] for name in read if name in counters]
        if known and (len(known) == len(read) or " or " in column.computed):
            found[column.key] = least_certain(known)
    return found


@lru_cache(maxsize=256)
def _reads(computed: str) -> frozenset[str]:
    """Return the counters in a column's computation."""
    return frozenset(_WORD.findall(computed)) & _COUNTERS


def marked(column: Column[Any], text: str, source: Source | None) -> str:
    """Return a heading of a column with the mark of its source, on the side away from the edge that its cells
    are aligned to."""
    mark = MARKS[source] if source is not None and text else ""
    return mark + text if column.right else text + mark
