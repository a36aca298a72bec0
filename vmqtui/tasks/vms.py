"""Pausing, resuming, migrating and removing VMs."""

from dataclasses import dataclass
from typing import Literal

from engine.counted import noun
from engine.telemetry.config import AdapterConfig, Config
from vmqtui.printable import printable
from vmqtui.tasks.task import Step, Task, step

Verb = Literal["pause", "resume", "migrate", "remove"]
VERBS: dict[Verb, str] = {
    "pause": "it returns no buffer until it is resumed",
    "resume": "it returns its buffers again",
    "migrate": "it is paused, then its queues are freed and its ports go",
    "remove": "its queues are freed and its ports go",
}
"""What can be done with a VM, and what comes of it."""


@dataclass(frozen=True)
class Vm:
    """A VM of an adapter: it has ports of the switch, queues, or both. ``paused`` is None where no queue
    tells."""

    adapter: str
    name: str
    queue_ids: tuple[int, ...]
    paused: bool | None

    @property
    def words(self) -> str:
        """Its queues and whether it is paused."""
        queues = (
            f"{noun(len(self.queue_ids), 'queue')} {', '.join(map(str, self.queue_ids[:8]))}"
            if self.queue_ids
            else "no queue"
        )
        return queues + (", …" if len(self.queue_ids) > 8 else "") + (", paused" if self.paused else "")


def known_vms(config: Config | None, adapter: str | None = None) -> list[Vm]:
    """The VMs of one adapter or of all, by name."""
    adapters = config.adapters if config is not None else []
    return [vm for one in adapters if adapter in (None, one.name) for vm in _vms_of(one)]


def _vms_of(adapter: AdapterConfig) -> list[Vm]:
    queues: dict[str, list[int]] = {port.vm: [] for port in adapter.ports}
    paused: dict[str, bool] = {}
    for queue in adapter.queues:
        if queue.vm is not None:
            queues.setdefault(queue.vm, []).append(queue.queue_id)
            paused[queue.vm] = queue.vm_paused
    return [Vm(adapter.name, name, tuple(ids), paused.get(name)) for name, ids in sorted(queues.items())]


def change_vm(vm: Vm, verb: Verb) -> Task:
    """Do one of ``VERBS`` with a VM; what can't be taken back asks first."""
    lasting = verb in ("migrate", "remove")
    name = printable(vm.name)
    return Task(
        f"{verb.capitalize()} VM {name}",
        f"{verb.capitalize()} {name} ({vm.words}) of {printable(vm.adapter)}{'?' if lasting else ':'}"
        f" {VERBS[verb]}."
        + (" What was in flight to it is discarded; this can't be taken back." if lasting else ""),
        f"{verb.capitalize()} VM{' (y)' if lasting else ''}",
        lambda values: [_vm_step(vm, verb)],
        destructive=lasting,
    )


_OPPOSITE: dict[Verb, Verb] = {"pause": "resume", "resume": "pause"}


def _vm_step(vm: Vm, verb: Verb) -> Step:
    opposite = _OPPOSITE.get(verb)
    return step(
        verb,
        f"{verb} VM {printable(vm.name)}",
        f"{verb}_vm",
        {"adapter": vm.adapter, "vm": vm.name},
        undo=f"a VM that is {verb}d is gone from this switch, and its queues with it"
        if opposite is None
        else lambda answers: _vm_step(vm, opposite),
    )
