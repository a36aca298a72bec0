"""Allocating, completing, moving, changing and freeing queues."""

from collections.abc import Sequence
from typing import Any

from engine.scenario.values import MAX_BUFFERS, check_name
from engine.telemetry.config import AdapterConfig, PortConfig
from vmqtui.printable import printable
from vmqtui.state.rows import QueueRow, processor_name
from vmqtui.tasks.checks import optional_mac, optional_name, processor, whole
from vmqtui.tasks.filters import filter_params, vlan_field
from vmqtui.tasks.task import Answers, Field, Step, Task, Values, called


def move_queue(row: QueueRow, cpu: int) -> Step:
    """Let another processor serve a queue."""
    params = {"adapter": row.adapter, "queue_id": row.queue_id, "cpu": cpu}
    title = f"move {called(row)} from {row.processor} to {processor_name(cpu)}"
    return Step(f"move-{cpu}", title, "set_queue_parameters", lambda answers: params)


def edit_queue(row: QueueRow) -> Task:
    """Rename or resize a queue."""
    name = row.name or ""
    buffers = row.config.buffers if row.config else 0

    def plan(values: Values) -> Sequence[Step]:
        params: dict[str, Any] = {"adapter": row.adapter, "queue_id": row.queue_id}
        if values["buffers"] != buffers:
            params["buffers"] = values["buffers"]
        if values.get("name", name) != name:
            params["name"] = values["name"]
        return [Step("edit", f"change {called(row)}", "set_queue_parameters", lambda answers: params)]

    fields = [Field("buffers", "Buffers", whole(1, MAX_BUFFERS), str(buffers))]
    if row.queue_id != 0:
        fields.insert(0, Field("name", "Name", check_name, name))
    return Task(
        f"Rename or resize queue {row.queue_id}",
        f"{called(row).capitalize()} of {printable(row.adapter)}: growing takes buffers that are left on the "
        "adapter, shrinking gives them back as they become free.",
        "Change",
        plan,
        fields,
    )


def complete_queue(row: QueueRow) -> Task:
    """Give an allocated queue its buffers."""
    params = {"adapter": row.adapter, "queue_ids": [row.queue_id]}
    asked = row.config.buffers if row.config else "its"
    return Task(
        "Complete allocation",
        f"Give {called(row)} {asked} receive buffers; it runs if it has a filter, else it is paused.",
        "Complete",
        lambda values: [
            Step("complete", f"complete {called(row)}", "complete_allocation", lambda answers: params)
        ],
    )


def free_queue(row: QueueRow) -> Task:
    """Clear a queue's filters and free it, after asking."""
    base = {"adapter": row.adapter, "queue_id": row.queue_id}

    def plan(values: Values) -> Sequence[Step]:
        clears = [
            Step(
                f"clear-{one.filter_id}",
                f"clear filter {one.filter_id}",
                "clear_filter",
                lambda answers, filter_id=one.filter_id: base | {"filter_id": filter_id},  # type: ignore[misc]
            )
            for one in row.filters
        ]
        return [*clears, Step("free", f"free {called(row)}", "free_queue", lambda answers: base)]

    count = len(row.filters)
    filters = "" if not count else f" Its {count} filter{'s are' if count > 1 else ' is'} cleared first."
    outstanding = row.count("outstanding") or 0
    held = (
        f" {outstanding} buffers are outstanding: it is gone when they are returned." if outstanding else ""
    )
    return Task(
        "Free a queue",
        f"Free {called(row)} of {printable(row.adapter)}?{filters}"
        f" Its frames fall to the default queue.{held}",
        "Free queue (y)",
        plan,
        destructive=True,
    )


def new_queue(settings: AdapterConfig, cpus: int, port: PortConfig | None = None) -> Task:
    """Allocate a queue, set its filter if one is given, and complete it; for ``port``, if one is given."""
    splits = settings.max_lookahead_bytes > 0
    fields = [
        Field("vm", "VM", check_name, port.vm if port else "", hint="the VM it belongs to"),
        Field("name", "Name", optional_name, hint="the VM's if left empty"),
        Field("cpu", "Processor", processor(cpus), "0", hint=f"0..{cpus - 1}"),
        Field("buffers", "Buffers", whole(1, MAX_BUFFERS), "512"),
    ]
    if splits:
        fields.append(Field("lookahead", "Lookahead", whole(0, settings.max_lookahead_bytes), "0"))
    fields += [
        Field("mac", "MAC", optional_mac, port.mac if port else "", "empty: allocate without a filter"),
        vlan_field(settings, "" if port is None or port.vlan is None else str(port.vlan)),
    ]
    allocated = tuple(field.key for field in fields if field.key not in ("mac", "vlan"))

    def plan(values: Values) -> Sequence[Step]:
        params: dict[str, Any] = {
            "adapter": settings.name,
            "cpu": values["cpu"],
            "buffers": values["buffers"],
        }
        params |= {"vm": values["vm"], "name": values["name"] or values["vm"]}
        if splits:
            params["lookahead_bytes"] = values["lookahead"]
        label = printable(values["name"] or values["vm"])
        steps = [Step("allocate", f"allocate {label}", "allocate_queue", lambda answers: params, allocated)]
        if values["mac"] is not None:
            steps.append(
                Step(
                    "filter",
                    f"set filter {values['mac']}",
                    "set_filter",
                    lambda answers: filter_params(settings.name, _queue_id(answers), values),
                    ("mac", "vlan"),
                )
            )
        steps.append(
            Step(
                "complete",
                f"complete {label}",
                "complete_allocation",
                lambda answers: {"adapter": settings.name, "queue_ids": [_queue_id(answers)]},
            )
        )
        return steps

    return Task(
        f"New queue on {printable(settings.name)}",
        "Allocates the queue, sets its filter and completes the allocation, one request after the other.",
        "Allocate",
        plan,
        fields,
    )


def _queue_id(answers: Answers) -> int:
    return int(answers["allocate"].result["queue_id"])
