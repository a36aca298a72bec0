"""Every column of every table, once: the screen, ``vmqtui get`` and the reference pages read this.

Nothing here needs Textual. What a row is stands in ``vmqtui.state.rows``.
"""

from typing import Any

from vmqtui.columns.column import Column, Level, Value, export_row, ordered, visible
from vmqtui.columns.cpus import CPUS
from vmqtui.columns.events import EVENTS
from vmqtui.columns.filters import FILTERS, PORTS
from vmqtui.columns.hosts import ADAPTERS, HOSTS
from vmqtui.columns.queues import BUFFERS, QUEUES

COLUMNS: dict[str, tuple[Column[Any], ...]] = {
    "queues": QUEUES,
    "filters": FILTERS,
    "buffers": BUFFERS,
    "cpus": CPUS,
    "ports": PORTS,
    "adapters": ADAPTERS,
    "hosts": HOSTS,
    "events": EVENTS,
}

__all__ = ["COLUMNS", "Column", "Level", "Value", "export_row", "ordered", "visible"]
