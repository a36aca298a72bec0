"""Tasks that allocate, complete, move, change and free queues."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.counted import counted
from engine.scenario.values import MAX_BUFFERS, check_name
from engine.telemetry.config import AdapterConfig, PortConfig
from engine.view.pairs import NearMissView, PairView
from engine.view.rows import CpuView, PortView, QueueView
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.placement import Forecast, forecast
from vmqtui.state.rows import Row
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.filters import (
    clear_step,
    filter_of,
    filter_params,
    known_addresses,
    own_address,
    vlan_field,
    vlan_typed,
)
from vmqtui.tasks.foresight import buffers_of_new, taken_by_new, without_filter
from vmqtui.tasks.host_changes import vms_of
from vmqtui.tasks.task import (
    Answers,
    Field,
    Foreseen,
    NewQueue,
    RowChoices,
    Step,
    Task,
    Values,
    called,
    number_in,
    optional_mac,
    optional_name,
    processor,
    step,
    whole,
)

LEAVES = " Its frames go to the default queue, but for those that another queue's filter takes."
_GONE = "a freed queue is gone, and its counters with it; n allocates a new one"


def move_queue(row: QueueView, cpu: int, away_from: int | None = None) -> Step:
    """Move a queue to processor ``cpu``, by default from its present one; the undo moves it back."""
    here = row.cpu if away_from is None else away_from
    origin = row.processor_name(here) if here is not None else "where it is"
    return step(
        f"move-{row.adapter}-{row.queue_id}-{cpu}",
        f"move {called(row)} from {origin} to {row.processor_name(cpu)}",
        "set_queue_parameters",
        {"adapter": row.adapter, "queue_id": row.queue_id, "cpu": cpu},
        undo="where it was is not known" if here is None else lambda answers: move_queue(row, here, cpu),
        about=row.identity,
    )


def choose_processor(row: QueueView, now: Callable[[], Snapshot], first: int | None = None) -> Task:
    """Move a queue to a processor chosen from a list, which begins at ``first``, by default its own; ``now``
    returns the newest snapshot."""

    def plan(values: Values) -> Sequence[Step]:
        cpu: int | None = values["cpu"]
        return [] if cpu in (None, row.cpu) else [move_queue(row, cpu)]

    def remark(values: Values) -> str:
        if values["cpu"] == row.cpu:
            return "it is served there now, nothing to move"
        found = None if values["cpu"] is None else forecast(now(), row, values["cpu"])
        if found is None:
            return ""
        here, there = found.source, found.target
        return (
            f"{here.processor}, now at {percent(here.before)} → about {percent(here.after)}; "
            f"{there.processor}, now at {percent(there.before)} with {counted(there.queues_before, 'queue')}"
            f" → about {percent(there.after)} with {counted(there.queues_after, 'queue')}"
        )

    of = f" of {printable(row.adapter)}" if len(now().adapter_names) > 1 else ""
    begin = "" if first is None else str(first)
    rows = RowChoices("cpus", lambda: now().cpus, cpu_of, ("core", "trend"), begin)
    return Task(
        f"Move {called(row)}{of}",
        f"Now on processor {printable(str(row.processor))}, {compact(row.pps)} pkt/s."
        " Choose the one that shall serve it; no frame is lost or reordered.",
        "Move",
        plan,
        [Field("cpu", "", lambda text: int(text) if text else None, str(row.cpu), rows=rows)],
        remark=remark,
        unchanged="it is served there now: there is nothing to move; choose another processor",
    )


def cpu_of(row: Row) -> str:
    """The processor of a row to choose from, as text."""
    return str(row.cpu) if isinstance(row, CpuView) else ""


def move_to(proposal: Forecast) -> Task:
    """Move a queue to the processor proposed in the matrix, after confirmation."""
    queue, source, target = proposal.queue, proposal.source, proposal.target
    return Task(
        f"Move {called(queue)}",
        f"{source.processor} at {percent(source.before)} → about {percent(source.after)}, "
        f"{target.processor} at {percent(target.before)} → about {percent(target.after)}.",
        "Move",
        lambda values: [move_queue(queue, target.cpu)],
    )


def edit_queue(row: QueueView) -> Task:
    """Resize or rename a queue."""
    name = row.name or ""
    buffers = row.config.buffers if row.config else None

    def plan(values: Values) -> Sequence[Step]:
        wanted: dict[str, Any] = {}
        if values["buffers"] != buffers:
            wanted["buffers"] = values["buffers"]
        if values.get("name", name) != name:
            wanted["name"] = values["name"]
        before = {"buffers": buffers, "name": name}
        return [change_queue(row, wanted, {key: before[key] for key in wanted})] if wanted else []

    fields = [Field("buffers", "Buffers", whole(1, MAX_BUFFERS), "" if buffers is None else str(buffers))]
    if row.queue_id != 0:
        fields.append(Field("name", "Name", check_name, name))
    return Task(
        f"Resize or rename queue {row.queue_id}",
        f"{called(row).capitalize()} of {printable(row.adapter)}: growing takes buffers that are left on the "
        "adapter, shrinking gives them back as they become free.",
        "Change",
        plan,
        fields,
    )


def change_queue(row: QueueView, wanted: dict[str, Any], before: dict[str, Any]) -> Step:
    """Set values of a queue; the undo sets those ``before``."""
    words = " and ".join(
        f"name it {printable(str(value))}" if key == "name" else f"give it {counted(value, 'buffer')}"
        for key, value in wanted.items()
    )
    return step(
        f"edit-{row.adapter}-{row.queue_id}-" + "-".join(map(str, wanted.values())),
        f"change {called(row)}: {words}",
        "set_queue_parameters",
        {"adapter": row.adapter, "queue_id": row.queue_id, **wanted},
        undo=lambda answers: change_queue(row, before, wanted),
        about=row.identity,
    )


def complete_queue(row: QueueView) -> Task:
    """Complete the allocation of a queue, which gives it its buffers."""
    asked = counted(row.config.buffers, "receive buffer") if row.config else "its receive buffers"
    return Task(
        "Complete allocation",
        f"Give {called(row)} {asked}; it runs if it has a filter, else it is paused.",
        "Complete",
        lambda values: [complete_step(row)],
    )


def complete_step(row: QueueView) -> Step:
    """Complete the allocation of a queue."""
    return step(
        f"complete-{row.adapter}-{row.queue_id}",
        f"complete {called(row)}",
        "complete_allocation",
        {"adapter": row.adapter, "queue_ids": [row.queue_id]},
        undo="a completed allocation can't be taken back; d frees the queue",
    )


def free_steps(row: QueueView) -> list[Step]:
    """Clear a queue's filters, then free it."""
    base = {"adapter": row.adapter, "queue_id": row.queue_id}
    clears = [clear_step(row.adapter, one, called(row), row.identity) for one in row.filters]
    free = Step(
        f"free-{row.adapter}-{row.queue_id}",
        f"free {called(row)}",
        "free_queue",
        lambda answers: base,
        foresee=base,
        undo=_GONE,
    )
    return [*clears, free]


def free_queue(row: QueueView) -> Task:
    """Clear a queue's filters and free it, after confirmation."""
    count = len(row.filters)
    filters = "" if not count else f" Its {counted(count, 'filter is', 'filters are')} cleared first."
    outstanding = row.count("outstanding") or 0
    held = (
        f" It is gone when its {counted(outstanding, 'outstanding buffer is', 'outstanding buffers are')}"
        " returned."
        if outstanding
        else ""
    )
    return Task(
        "Free a queue",
        f"Free {called(row)} of {printable(row.adapter)}?{filters}"
        f"{LEAVES if count and row.state == 'running' else ''}{held}",
        "Free queue",
        lambda values: free_steps(row),
        destructive=True,
    )


def coolest(snapshot: Snapshot) -> int:
    """The least loaded processor; 0 if no load is known."""
    cpus = [(cpu.load, len(cpu.queues), cpu.cpu) for cpu in snapshot.cpus if cpu.load is not None]
    return min(cpus)[2] if cpus else 0


def new_queue(settings: AdapterConfig, now: Callable[[], Snapshot], port: PortConfig | None = None) -> Task:
    """Allocate a queue, set its filter if the user enters one, and complete it.

    The defaults of the fields: VM, MAC and VLAN of ``port``, if given, and the least loaded processor.
    MAC and VLAN follow the VM that the user enters, if it has a port without a queue.
    ``now`` returns the newest snapshot.
    """
    cpus, cpu, known = len(now().index.cpus), coolest(now()), known_addresses(now(), settings.name)
    vms = [one.name for one in sorted(vms_of(settings), key=lambda one: bool(one.queue_ids))]
    longest = settings.max_lookahead_bytes or 0
    fields = [
        Field("vm", "VM", check_name, port.vm if port else "", hint="the VM it belongs to", known=vms),
        Field("name", "Name", optional_name, hint="the VM's if left empty"),
        Field("cpu", "Processor", processor(now().processors), str(cpu), hint=f"0..{cpus - 1}"),
        Field("buffers", "Buffers", whole(1, MAX_BUFFERS), "512"),
    ]
    if longest:
        fields.append(Field("lookahead", "Lookahead", whole(0, longest), "0"))
    fields += [
        Field(
            "mac",
            "MAC",
            optional_mac,
            port.mac if port else "",
            "empty: allocate without a filter",
            known=known.macs,
        ),
        vlan_field(settings, vlan_typed(port.vlan if port else None), known.vlans),
    ]

    def proposed(texts: Mapping[str, str]) -> dict[str, str]:
        mac, vlan = own_address(now(), settings.name, texts["vm"])
        return {"mac": mac, "vlan": vlan}

    def remark(values: Values) -> str:
        name = printable(settings.name)
        ports = [one for one in now().ports if (one.adapter, one.config.vm) == (settings.name, values["vm"])]
        if not ports:
            return f"no port of {name} has a VM of this name"
        return "" if any(one.queue is None for one in ports) else f"its ports on {name} have queues already"

    allocated = tuple(field.key for field in fields if field.key not in ("mac", "vlan"))

    def plan(values: Values) -> Sequence[Step]:
        name = values["name"] or values["vm"]
        params: dict[str, Any] = {
            "adapter": settings.name,
            "cpu": values["cpu"],
            "buffers": values["buffers"],
            "vm": values["vm"],
            "name": name,
        }
        if longest:
            params["lookahead_bytes"] = values["lookahead"]
        steps = [
            step(
                "allocate",
                f"allocate {printable(name)}",
                "allocate_queue",
                params,
                uses=allocated,
                undo=lambda answers: _free_again(settings.name, _queue_id(answers), name),
            )
        ]
        if values["mac"] is not None:
            foreseen = taken_by_new(now(), settings.name, values["mac"], values["vlan"])
            steps.append(_filter_of_new(settings.name, values, name, foreseen))
        effect = buffers_of_new(now(), settings.name, values["buffers"])
        steps.append(
            Step(
                "complete",
                f"complete {printable(name)}",
                "complete_allocation",
                lambda answers: {"adapter": settings.name, "queue_ids": [_queue_id(answers)]},
                foreseen=without_filter(effect) if values["mac"] is None else effect,
            )
        )
        return steps

    return Task(
        f"New queue on {printable(settings.name)}",
        "Allocates the queue, sets its filter and completes the allocation, one request after the other.",
        "Allocate",
        plan,
        fields,
        remark=remark,
        proposed=proposed,
    )


def _filter_of_new(adapter: str, values: Values, name: str, foreseen: Foreseen) -> Step:
    """Set the filter of the queue that an earlier step allocates."""
    mac, vlan = values["mac"], values["vlan"]

    def params(answers: Answers) -> dict[str, Any]:
        return filter_params(adapter, _queue_id(answers), mac, vlan)

    def undo(answers: Answers) -> Step:
        queue_id = _queue_id(answers)
        one = filter_of(answers["filter"], queue_id, mac, vlan)
        return clear_step(
            adapter, one, f"queue {queue_id} ({printable(name)})", NewQueue(adapter, queue_id, name)
        )

    return Step(
        "filter",
        f"set filter {mac}",
        "set_filter",
        params,
        ("mac", "vlan"),
        # The queue does not exist yet; "what if" on queue 0 checks that MAC and VLAN are free.
        foresee=filter_params(adapter, 0, mac, vlan),
        foreseen=foreseen,
        undo=undo,
    )


def _free_again(adapter: str, queue_id: int, name: str) -> Step:
    """Undo an allocation: free the queue, after the undo of its filter."""
    params = {"adapter": adapter, "queue_id": queue_id}
    title = f"free queue {queue_id} ({printable(name)})"
    return Step(
        "free",
        title,
        "free_queue",
        lambda answers: params,
        undo=_GONE,
        about=NewQueue(adapter, queue_id, name),
    )


def _queue_id(answers: Answers) -> int:
    return number_in(answers["allocate"], "queue_id")


def give_queue(row: Row | None, now: Callable[[], Snapshot]) -> Task | str:
    """Allocate a queue for the MAC and VLAN of a row, set their filter and complete it.

    The default processor is the least loaded one. Returns a sentence if a filter can't have the row's MAC.
    """
    pair = row.pair if isinstance(row, NearMissView) else row
    if not isinstance(pair, (PortView, PairView)):
        return "the cursor is on no MAC and VLAN; Tab goes to the next panel"
    if isinstance(pair, PortView):
        port = pair.config
    elif pair.steerable:
        port = PortConfig(vm=pair.vm or "", mac=pair.mac, vlan=pair.vlan)
    else:
        return f"{pair.mac} is a {pair.reason} address: a filter takes unicast addresses only"
    known = now().index.adapters.get(pair.adapter)
    if known is None:
        return f"adapter {pair.adapter} is not known yet"
    return new_queue(known.settings, now, port)
