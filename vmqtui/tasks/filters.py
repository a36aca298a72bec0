"""Setting and clearing filters."""

from collections.abc import Sequence
from typing import Any

from engine.scenario.values import normal_mac
from engine.telemetry.config import AdapterConfig
from vmqtui.columns.shared import vlan_text
from vmqtui.printable import printable
from vmqtui.state.rows import FilterRow, QueueRow
from vmqtui.tasks.checks import vlan_test
from vmqtui.tasks.task import Field, Step, Task, Values, called


def mac_field() -> Field:
    return Field("mac", "MAC", normal_mac, hint="00:15:5d:00:00:01")


def vlan_field(settings: AdapterConfig | None, value: str = "") -> Field:
    return Field("vlan", "VLAN", vlan_test(settings), value, "1..4094, untagged, or empty for any")


def filter_params(adapter: str, queue_id: int, values: Values) -> dict[str, Any]:
    params = {"adapter": adapter, "queue_id": queue_id, "mac": values["mac"]}
    return params if values["vlan"] is None else params | {"vlan": values["vlan"]}


def set_filter(row: QueueRow) -> Task:
    """Steer a MAC and VLAN to a queue."""

    def plan(values: Values) -> Sequence[Step]:
        title = f"set filter {values['mac']}, VLAN {vlan_text(values['vlan'])} on {called(row)}"
        params = filter_params(row.adapter, row.queue_id, values)
        return [Step("set", title, "set_filter", lambda answers: params)]

    return Task(
        "Set a filter",
        f"Frames for this MAC and VLAN go to {called(row)} of {printable(row.adapter)}.",
        "Set filter",
        plan,
        [mac_field(), vlan_field(row.settings)],
    )


def clear_filter(row: FilterRow) -> Task:
    """Clear one filter, after asking."""
    config = row.config
    what = f"filter {row.filter_id}"
    tests = f" ({config.mac}, VLAN {vlan_text(config.vlan)})" if config else ""
    last = row.queue is not None and row.queue_id != 0
    params = {"adapter": row.adapter, "queue_id": row.queue_id, "filter_id": row.filter_id}
    return Task(
        "Clear a filter",
        f"Clear {what}{tests} of queue {row.queue_id} ({printable(row.label)})?"
        + (" If it is the queue's last, the queue pauses and discards what it holds." if last else ""),
        "Clear filter (y)",
        lambda values: [Step("clear", f"clear {what}", "clear_filter", lambda answers: params)],
        destructive=True,
    )
