"""Tasks and steps that set and clear filters."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from engine.bus.messages import Response
from engine.scenario.values import normal_mac
from engine.telemetry.config import AdapterConfig, FilterConfig, Vlan
from engine.view.rows import FilterView, QueueView
from vmqtui.columns.column import vlan_text
from vmqtui.printable import printable
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.task import Field, Step, Task, Values, called, number_in, step, vlan_test


class Addresses(NamedTuple):
    """The MACs and VLANs that are known of an adapter, the likeliest for a new filter first, as typed."""

    macs: Sequence[str] = ()
    vlans: Sequence[str] = ()


_NO_ADDRESSES = Addresses()


def known_addresses(snapshot: Snapshot, adapter: str) -> Addresses:
    """Return the addresses of an adapter: those seen in its default queue, busiest first, then those of ports
    without a queue, of other ports, and of filters."""
    seen = [
        (one.mac, one.vlan)
        for one in snapshot.top
        if one.adapter == adapter and one.steerable and one.queue_id is None
    ]
    ports = [one for one in snapshot.ports if one.adapter == adapter]
    ports.sort(key=lambda one: one.queue is not None)
    filters = (one.config for one in snapshot.filters if one.adapter == adapter)
    pairs = [
        *seen,
        *((one.config.mac, one.config.vlan) for one in ports),
        *((one.mac, one.vlan) for one in filters if one is not None),
    ]
    vlans = dict.fromkeys(str(vlan) for _, vlan in pairs if vlan is not None)
    return Addresses(list(dict.fromkeys(mac for mac, _ in pairs)), list(vlans))


def own_address(snapshot: Snapshot, adapter: str, vm: str) -> tuple[str, str]:
    """Return MAC and VLAN, as typed, of the VM's port without a queue that gets the most frames; "" if it has
    none."""
    rates = {(one.mac, one.vlan): one.pps or 0.0 for one in snapshot.top if one.adapter == adapter}
    ports = [
        (one.config.mac, one.config.vlan)
        for one in snapshot.ports
        if one.adapter == adapter and one.config.vm == vm and one.queue is None
    ]
    if not vm or not ports:
        return "", ""
    mac, vlan = max(ports, key=lambda port: rates.get(port, 0.0))
    return mac, vlan_typed(vlan)


def vlan_typed(vlan: Vlan) -> str:
    """A VLAN test as it is typed."""
    return "" if vlan is None else str(vlan)


def mac_field(value: str = "", known: Sequence[str] = ()) -> Field:
    """The field for the MAC of a new filter."""
    return Field("mac", "MAC", normal_mac, value, hint="six bytes in hex, between colons", known=known)


def vlan_field(settings: AdapterConfig | None, value: str = "", known: Sequence[str] = ()) -> Field:
    """The field for a filter's VLAN test, limited to what the adapter supports."""
    hint = "1..4094, untagged, or empty for any"
    return Field("vlan", "VLAN", vlan_test(settings), value, hint, known=known)


def filter_params(adapter: str, queue_id: int, mac: str, vlan: Vlan) -> dict[str, Any]:
    """The parameters of ``set_filter``."""
    params = {"adapter": adapter, "queue_id": queue_id, "mac": mac}
    return params if vlan is None else params | {"vlan": vlan}


def set_step(adapter: str, queue_id: int, mac: str, vlan: Vlan, on: str, about: Hashable) -> Step:
    """Set a filter; ``on`` is the queue's name in a sentence, ``about`` its identity (``Step.about``)."""
    key = f"set-{adapter}-{queue_id}-{mac}-{vlan}"
    return step(
        key,
        f"set filter {mac}, VLAN {vlan_text(vlan)} on {on}",
        "set_filter",
        filter_params(adapter, queue_id, mac, vlan),
        undo=lambda answers: clear_step(adapter, filter_of(answers[key], queue_id, mac, vlan), on, about),
        about=about,
    )


def clear_step(adapter: str, one: FilterConfig, on: str, about: Hashable) -> Step:
    """Clear a filter; ``on`` and ``about`` as for ``set_step``."""
    return step(
        f"clear-{adapter}-{one.filter_id}",
        f"clear filter {one.filter_id} ({one.mac}, VLAN {vlan_text(one.vlan)}) of {on}",
        "clear_filter",
        {"adapter": adapter, "queue_id": one.queue_id, "filter_id": one.filter_id},
        undo=lambda answers: set_step(adapter, one.queue_id, one.mac, one.vlan, on, about),
        about=about,
    )


def filter_of(response: Response, queue_id: int, mac: str, vlan: Vlan) -> FilterConfig:
    """The filter that ``set_filter`` made, with the id in its answer; without one, KeyError or TypeError."""
    filter_id = number_in(response, "filter_id")
    return FilterConfig(filter_id=filter_id, queue_id=queue_id, mac=mac, vlan=vlan, driver="")


def set_filter(row: QueueView, known: Addresses = _NO_ADDRESSES, mac: str = "", vlan: str = "") -> Task:
    """Steer a MAC and VLAN to a queue; ``known`` are those that the fields complete."""

    def plan(values: Values) -> Sequence[Step]:
        return [set_step(row.adapter, row.queue_id, values["mac"], values["vlan"], called(row), row.identity)]

    waits = row.state in ("allocated", "set")
    return Task(
        "Set a filter",
        f"Frames for this MAC and VLAN go to {called(row)} of {printable(row.adapter)}"
        f"{' once its allocation is completed' if waits else ''}.",
        "Set filter",
        plan,
        [mac_field(mac, known.macs), vlan_field(row.settings, vlan, known.vlans)],
    )


def filter_called(row: FilterView) -> str:
    """The name of a filter in a sentence: its id, MAC and VLAN."""
    config = row.config
    tests = f" ({config.mac}, VLAN {vlan_text(config.vlan)})" if config else ""
    return f"filter {row.filter_id}{tests}"


def clear_row(row: FilterView, queue: QueueView | None) -> Step:
    """Clear a filter; ``queue`` is its queue."""
    if row.config is not None:
        on = f"queue {row.queue_id} ({printable(row.label)})"
        return clear_step(row.adapter, row.config, on, queue.identity if queue is not None else None)
    return step(
        f"clear-{row.adapter}-{row.filter_id}",
        f"clear filter {row.filter_id}",
        "clear_filter",
        {"adapter": row.adapter, "queue_id": row.queue_id, "filter_id": row.filter_id},
        undo="what it tested was not known",
    )


def clear_filter(row: FilterView, queue: QueueView | None) -> Task:
    """Clear one filter, after confirmation; ``queue`` is the filter's queue."""
    what = filter_called(row)
    last = queue is not None and queue.queue_id != 0 and len(queue.filters) == 1
    return Task(
        "Clear a filter",
        f"Clear {what} of queue {row.queue_id} ({printable(row.label)})?"
        + (" It is the queue's last: the queue pauses and discards what it holds." if last else ""),
        "Clear filter",
        lambda values: [clear_row(row, queue)],
        destructive=True,
    )
