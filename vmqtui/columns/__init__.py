"""The registry of all columns of all tables: the screen, ``vmqtui get`` and the reference pages read it.

Nothing here needs Textual. Rows are defined in ``engine.view`` and ``vmqtui.state.rows``.
"""

from collections.abc import Mapping
from typing import Any, Final

from vmqtui.columns.advice import ADVICE
from vmqtui.columns.column import Column, Level, Value, export_row, ordered
from vmqtui.columns.filters import FILTERS, PORTS
from vmqtui.columns.hardware import ADAPTERS, CPUS
from vmqtui.columns.hosts import EVENTS, HOSTS
from vmqtui.columns.queues import BUFFERS, QUEUES
from vmqtui.columns.top import NEAR_MISSES, TOP

COLUMNS: dict[str, tuple[Column[Any], ...]] = {
    "queues": QUEUES,
    "filters": FILTERS,
    "buffers": BUFFERS,
    "cpus": CPUS,
    "ports": PORTS,
    "top": TOP,
    "near_misses": NEAR_MISSES,
    "adapters": ADAPTERS,
    "hosts": HOSTS,
    "events": EVENTS,
    "advice": ADVICE,
}

_CALLED: Final[Mapping[str, str]] = {
    "cpus": "processors",
    "top": "default queue",
    "near_misses": "near misses",
}


def name_of_table(table: str) -> str:
    """Return the name of a table for messages, titles and names of files: that of the view that has it."""
    return _CALLED.get(table, table)


_IN_DELTAS = {table: tuple(column.in_deltas() for column in of_it) for table, of_it in COLUMNS.items()}


def columns_of(table: str, deltas: bool) -> tuple[Column[Any], ...]:
    """Return the columns of a table; with ``deltas``, counters show their growth since the last reset."""
    return _IN_DELTAS[table] if deltas else COLUMNS[table]


__all__ = ["COLUMNS", "Column", "Level", "Value", "columns_of", "export_row", "name_of_table", "ordered"]
