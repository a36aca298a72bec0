"""Tasks on marked rows. Each row has its own steps; one that can't be changed is refused, with the reason."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from engine.counted import counted
from engine.scenario.values import MAX_BUFFERS
from engine.view.rates import known_sum
from engine.view.rows import FilterView, QueueView
from vmqtui.numbers import grouped, percent
from vmqtui.printable import printable
from vmqtui.state.placement import load_with
from vmqtui.state.rows import Row
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.filters import clear_row, clear_step, filter_called
from vmqtui.tasks.host_changes import VERBS, Verb, known_vms, vm_step
from vmqtui.tasks.queues import LEAVES, change_queue, complete_step, cpu_of, free_steps, move_queue
from vmqtui.tasks.task import (
    Answers,
    Field,
    Group,
    Present,
    RowChoices,
    Step,
    Task,
    Values,
    called,
    in_group,
    several,
    whole,
)

Marked = Mapping[Hashable, str]
"""The names of marked rows, by identity."""
Now = Callable[[], Snapshot]
"""Returns the newest snapshot."""
R = TypeVar("R", QueueView, FilterView)

_GONE = "it is gone since it was marked"
_NAMED = 3
"""Most marked rows that a text names."""


def name_of(row: Row) -> str:
    """The name of a row that can be marked, in a sentence."""
    return filter_called(row) if isinstance(row, FilterView) else called(row)  # type: ignore[arg-type]  # only these can be marked


def _names(marked: Marked, rows: Sequence[QueueView] | Sequence[FilterView]) -> str:
    """The names of marked rows as they are now; of one that is gone, that of its mark."""
    present = {row.identity: name_of(row) for row in rows if row.identity in marked}
    return several([present.get(identity, name) for identity, name in marked.items()], _NAMED, ", ")


def _steps(
    marked: Marked, present: Callable[[], Sequence[R]], steps_of: Callable[[R], Sequence[Step] | str]
) -> list[Step]:
    """The steps of every marked row; ``steps_of`` returns a sentence for a row that can't be changed.

    A row that goes before its turn is refused then.
    """
    rows = {row.identity: row for row in present()}
    there = Present(present, _GONE)
    made: list[Step] = []
    for identity, name in marked.items():
        row = rows.get(identity)
        group = Group(name if row is None else name_of(row), (identity,))
        steps = _GONE if row is None else steps_of(row)
        if isinstance(steps, str):
            made.append(_refused(group, steps))
        else:
            made += [in_group(one, group, partial(there.why_not, identity)) for one in steps]
    return made


def _refused(group: Group, why: str) -> Step:
    """A step that is never sent."""

    def params(answers: Answers) -> dict[str, Any]:
        raise KeyError(why)

    return Step(f"refused-{group.rows}", group.name, "", params, group=group, hindered=lambda: why)


def move_marked(marked: Marked, now: Now) -> Task:
    """Move the marked queues to a processor chosen from a list."""

    def plan(values: Values) -> list[Step]:
        cpu: int | None = values["cpu"]
        if cpu is None:
            return []
        there = {row.identity for row in now().queues if row.cpu == cpu}
        others = {identity: name for identity, name in marked.items() if identity not in there}
        return _steps(others, lambda: now().queues, lambda row: [move_queue(row, cpu)])

    def remark(values: Values) -> str:
        return _load_after(marked, now(), values["cpu"])

    served = {row.cpu for row in now().queues if row.identity in marked}
    here = str(served.pop()) if len(served) == 1 else ""
    rows = RowChoices("cpus", lambda: now().cpus, cpu_of, ("core", "trend"), lines_beside=18)
    return Task(
        f"Move {counted(len(marked), 'marked queue')}",
        f"{_names(marked, now().queues)}. Choose the processor that shall serve them.",
        "Move",
        plan,
        [Field("cpu", "", lambda text: int(text) if text else None, here, rows=rows)],
        remark=remark,
        unchanged="they are served there now: there is nothing to move; choose another processor",
    )


def _load_after(marked: Marked, snapshot: Snapshot, cpu: int | None) -> str:
    """The load and the queues of a processor, now and with all marked queues, in words."""
    target = next((one for one in snapshot.cpus if one.cpu == cpu), None)
    if target is None:
        return ""
    queues = [row for row in snapshot.queues if row.identity in marked]
    moving = [row for row in queues if row.cpu != target.cpu]
    there = f"{target.processor}, now at {percent(target.load)} with {counted(len(target.queues), 'queue')}"
    if not moving:
        return f"{there}: they are served there now, nothing to move"
    after = load_with(snapshot, moving, target)
    already = (
        f"; {counted(len(queues) - len(moving), 'is', 'are')} there already"
        if len(queues) > len(moving)
        else ""
    )
    return (
        f"{there} → about {percent(after)} with {counted(len(target.queues) + len(moving), 'queue')}{already}"
    )


def resize_marked(marked: Marked, now: Now) -> Task:
    """Give each of the marked queues the same number of receive buffers."""

    def plan(values: Values) -> list[Step]:
        buffers = values["buffers"]
        so = {
            row.identity for row in now().queues if row.config is not None and row.config.buffers == buffers
        }
        others = {identity: name for identity, name in marked.items() if identity not in so}

        def resize(row: QueueView) -> Sequence[Step] | str:
            before = row.config.buffers if row.config is not None else None
            if before is None:
                return "how many buffers it has is not known"
            return [change_queue(row, {"buffers": buffers}, {"buffers": before})]

        return _steps(others, lambda: now().queues, resize)

    return Task(
        f"Resize {counted(len(marked), 'marked queue')}",
        f"{_names(marked, now().queues)}. Each gets as many: growing takes buffers that are left on the "
        "adapter, shrinking gives them back as they become free.",
        "Resize",
        plan,
        [Field("buffers", "Buffers each", whole(1, MAX_BUFFERS))],
        remark=lambda values: _buffers_after(marked, now(), values["buffers"]),
    )


def _buffers_after(marked: Marked, snapshot: Snapshot, buffers: int) -> str:
    """How many buffers the marked queues take or give back in all, and how many are left, by adapter."""
    words = []
    for adapter in snapshot.adapters:
        rows = [row for row in adapter.queues if row.identity in marked]
        before = [row.config.buffers if row.config is not None else None for row in rows]
        if not rows or None in before:
            continue
        more = buffers * len(rows) - (known_sum(before) or 0)
        total = adapter.config.buffers if adapter.config is not None else None
        left = None if total is None or adapter.buffers_given is None else total - adapter.buffers_given
        if more <= 0:
            words.append(f"{printable(adapter.adapter)}: {counted(-more, 'buffer')} given back")
        else:
            short = ", which is not enough for all" if left is not None and more > left else ""
            words.append(
                f"{printable(adapter.adapter)}: {counted(more, 'buffer')} more of {grouped(left)} left{short}"
            )
    return "; ".join(words)


def complete_marked(marked: Marked, now: Now) -> Task:
    """Complete the allocation of the marked queues."""
    return Task(
        f"Complete {counted(len(marked), 'marked queue')}",
        f"{_names(marked, now().queues)}: give each its receive buffers; those with a filter run then.",
        "Complete",
        lambda values: _steps(marked, lambda: now().queues, lambda row: [complete_step(row)]),
    )


def free_marked(marked: Marked, now: Now) -> Task:
    """Clear the filters of the marked queues and free them, after confirmation."""

    def free(row: QueueView) -> Sequence[Step] | str:
        return "the default queue can't be freed" if row.queue_id == 0 else free_steps(row)

    count = sum(len(row.filters) for row in now().queues if row.identity in marked and row.queue_id != 0)
    filters = f" Their {counted(count, 'filter is', 'filters are')} cleared first.{LEAVES}" if count else ""
    filters = filters.replace("Its frames", "Their frames")
    return Task(
        f"Free {counted(len(marked), 'marked queue')}",
        f"Free {_names(marked, now().queues)}?{filters} This can't be taken back.",
        "Free queues",
        lambda values: _steps(marked, lambda: now().queues, free),
        destructive=True,
    )


def clear_queues(marked: Marked, now: Now) -> Task:
    """Clear all filters of the marked queues, after confirmation."""

    def clear(row: QueueView) -> Sequence[Step] | str:
        steps = [clear_step(row.adapter, one, called(row), row.identity) for one in row.filters]
        return steps or "it has no filter"

    count = sum(len(row.filters) for row in now().queues if row.identity in marked)
    return Task(
        f"Clear filters of {counted(len(marked), 'marked queue')}",
        f"Clear {counted(count, 'filter')} of {_names(marked, now().queues)}? A queue without a filter "
        "pauses and discards what it holds.",
        "Clear filters",
        lambda values: _steps(marked, lambda: now().queues, clear),
        destructive=True,
    )


def clear_marked(marked: Marked, now: Now) -> Task:
    """Clear the marked filters, after confirmation."""

    def clear(row: FilterView) -> Sequence[Step] | str:
        of_adapter = (queue for queue in now().queues if queue.adapter == row.adapter)
        return [clear_row(row, next((one for one in of_adapter if one.queue_id == row.queue_id), None))]

    return Task(
        f"Clear {counted(len(marked), 'marked filter')}",
        f"Clear {_names(marked, now().filters)}? A queue without a filter pauses and discards what it holds.",
        "Clear filters",
        lambda values: _steps(marked, lambda: now().filters, clear),
        destructive=True,
    )


def change_vms(marked: Marked, now: Now, verb: Verb) -> Task:
    """Apply one of ``VERBS`` to the VMs of the marked queues."""
    lasting = verb in ("migrate", "remove")
    does = verb.capitalize()

    def plan(values: Values) -> list[Step]:
        rows = {row.identity: row for row in now().queues}
        known = {(vm.adapter, vm.name): vm for vm in known_vms(now().config)}
        of: dict[tuple[str, str], list[Hashable]] = {}
        made = []
        for identity, name in marked.items():
            row = rows.get(identity)
            place = (row.adapter, row.vm or "") if row is not None else ("", "")
            if place in known:
                of.setdefault(place, []).append(identity)
            else:
                why = _GONE if row is None else "it belongs to no VM"
                made.append(_refused(Group(name if row is None else name_of(row), (identity,)), why))
        for place, its in of.items():
            group = Group(f"VM {printable(place[1])}", tuple(its))
            made.append(in_group(vm_step(known[place], verb), group))
        return made

    return Task(
        f"{does} the VMs of {counted(len(marked), 'marked queue')}",
        f"{does} the VMs of {_names(marked, now().queues)}{'?' if lasting else ':'} of each, {VERBS[verb]}."
        + (" What was in flight to them is discarded; this can't be taken back." if lasting else ""),
        does + " VMs",
        plan,
        destructive=lasting,
    )
