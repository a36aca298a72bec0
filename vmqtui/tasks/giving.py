"""Giving a queue to what lands in the default queue."""

from collections.abc import Callable

from engine.telemetry.config import PortConfig
from vmqtui.state.rows import PortRow, Row
from vmqtui.state.snapshot import Snapshot
from vmqtui.state.top import NearMissRow, TopRow
from vmqtui.tasks.queues import new_queue
from vmqtui.tasks.task import Task


def give_queue(row: Row | None, now: Callable[[], Snapshot]) -> Task | str:
    """Allocate a queue for the MAC and VLAN of a row, set their filter and complete it.

    It is served by the processor with least to do. A sentence where there is nothing to be given.
    """
    pair = row.pair if isinstance(row, NearMissRow) else row
    if not isinstance(pair, (PortRow, TopRow)):
        return "the cursor is on no MAC and VLAN; Tab goes to the next panel"
    if isinstance(pair, PortRow):
        port = pair.config
    elif pair.steerable:
        port = PortConfig(vm=pair.vm or "", mac=pair.mac, vlan=pair.vlan)
    else:
        return f"{pair.mac} is a {pair.reason} address: a filter takes unicast addresses only"
    known = now().index.adapters.get(pair.adapter)
    if known is None:
        return f"adapter {pair.adapter} is not known yet"
    return new_queue(known.settings, now, port)
