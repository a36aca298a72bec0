"""Tasks that change a host: adapter settings, the balancer, VMs, restart of a worker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from engine.counted import counted, noun
from engine.scenario.keys import Key, keys_of
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import CHANGEABLE, SET_KEYS, AdapterSpec, BalancerSpec
from engine.telemetry.config import AdapterConfig, Config
from engine.view.rows import CpuView
from vmqtui.printable import printable
from vmqtui.tasks.task import Field, Step, Task, Values, number_as_typed, step

_ADAPTER_LABELS: Final = {
    "link_gbps": "Link Gbit/s",
    "max_queues": "Queues",
    "max_filters": "Filters",
    "vlan_filtering": "VLAN tests",
    "vmq": "VMQ",
    "base_processor": "Set from",
    "max_processor": "Set to",
    "max_processors": "At most",
    "preferred_numa_node": "On node",
}
_HINTS: Final = {
    "base_processor": "group:number; empty: not known",
    "max_processor": "group:number, 63 at most",
    "max_processors": "processors of the set",
    "preferred_numa_node": "the preferred node",
}
FLAGS: Final = ("on", "off")


def set_adapter(settings: AdapterConfig) -> Task:
    """Change an adapter's link, limits, VLAN filtering, VMQ or processor set; only changes are sent."""
    before = {key: getattr(settings, key) for key in CHANGEABLE}
    if before["vmq"] is None:
        del before["vmq"]  # an older engine has no such key

    def plan(values: Values) -> Sequence[Step]:
        wanted = {key: value for key, value in values.items() if value != before[key]}
        return (
            [_adapter_change(settings.name, wanted, {key: before[key] for key in wanted})] if wanted else []
        )

    return Task(
        f"Settings of {printable(settings.name)}",
        "Limits stay between what is in use and what the engine was started with, which is what its memory is"
        " for. A new set moves no queue. VMQ off frees the queues.",
        "Change",
        plan,
        [_adapter_field(key, before[key]) for key in before],
    )


def _adapter_field(key: str, value: Any) -> Field:
    entry = keys_of(AdapterSpec)[key]
    assert isinstance(entry, Key)
    if isinstance(value, bool):
        return Field(
            key,
            _ADAPTER_LABELS[key],
            lambda text: entry.read(text == "on"),
            "on" if value else "off",
            choices=FLAGS,
        )
    if key in SET_KEYS:
        read = _typed(entry.read)
        return Field(
            key,
            _ADAPTER_LABELS[key],
            lambda text: read(text) if text else None,
            "" if value is None else str(value),
            _HINTS[key],
        )
    return Field(key, _ADAPTER_LABELS[key], _typed(entry.read), f"{value:.12g}", entry.fits)


def _typed(read: Callable[[object], object]) -> Callable[[str], object]:
    return lambda text: read(number_as_typed(text))


def _adapter_change(adapter: str, wanted: dict[str, Any], before: dict[str, Any]) -> Step:
    words = ", ".join(f"{key} = {_shown(value)}" for key, value in wanted.items())
    return step(
        f"set-{words}",
        f"set {words} of {printable(adapter)}",
        "set_adapter",
        {"adapter": adapter, **wanted},
        undo="the queues that it freed are gone; n allocates new ones"
        if wanted.get("vmq") is False
        else lambda answers: _adapter_change(adapter, before, wanted),
    )


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:.12g}"


_BALANCER_LABELS: Final = {
    "mode": "Balancer",
    "interval_ms": "Every, ms",
    "scale_out": "Scale out at",
    "scale_in": "Scale in at",
    "cooldown_ms": "Rests, ms",
    "max_moves": "Most moves",
}
MODES: Final = ("off", "dynamic")


def set_balancer(config: Config) -> Task | str:
    """Turn the balancer on or off, or change its settings; a sentence if the engine has none."""
    told = {key: value for key, value in config.balancer.items() if key in keys_of(BalancerSpec)}
    try:
        before = msgspec.to_builtins(read_balancer(told, BalancerSpec()))
    except ScenarioError as error:
        return f"what the engine says of its balancer can't be: {error}"
    if not told:
        return "this engine has no balancer"

    def plan(values: Values) -> Sequence[Step]:
        wanted = {key: value for key, value in values.items() if value != before[key]}
        try:
            read_balancer(before | wanted, BalancerSpec())
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        return [_balancer_change(wanted, {key: before[key] for key in wanted})] if wanted else []

    return Task(
        "Balancer",
        "Queues move away from processors with much to do, and home when there is little. Loads are shares of"
        " a processor's cycles. Turned off, it leaves queues where they are.",
        "Set",
        plan,
        [_balancer_field(key, before[key]) for key in _BALANCER_LABELS],
    )


def _balancer_field(key: str, value: Any) -> Field:
    entry = keys_of(BalancerSpec)[key]
    assert isinstance(entry, Key)
    if key == "mode":
        return Field(key, _BALANCER_LABELS[key], entry.read, value, choices=MODES)
    return Field(key, _BALANCER_LABELS[key], _typed(entry.read), f"{value:.12g}", entry.fits)


def _balancer_change(wanted: dict[str, Any], before: dict[str, Any]) -> Step:
    words = ", ".join(f"{key} = {value}" for key, value in wanted.items())
    return step(
        f"balancer-{words}",
        f"set the balancer's {words}",
        "set_balancer",
        wanted,
        undo=lambda answers: _balancer_change(before, wanted),
    )


Verb = Literal["pause", "resume", "migrate", "remove"]
VERBS: dict[Verb, str] = {
    "pause": "it returns no buffer until it is resumed",
    "resume": "it returns its buffers again",
    "migrate": "it is paused, then its queues are freed and its ports go",
    "remove": "its queues are freed and its ports go",
}
"""The operations on a VM, and their effects."""


@dataclass(frozen=True)
class Vm:
    """A VM of an adapter, with switch ports, queues, or both. ``paused`` is None if it has no queue, because
    only queues report it."""

    adapter: str
    name: str
    queue_ids: tuple[int, ...]
    paused: bool | None

    @property
    def words(self) -> str:
        """Its queues, and that it is paused, in words."""
        queues = (
            f"{noun(len(self.queue_ids), 'queue')} {', '.join(map(str, self.queue_ids[:8]))}"
            if self.queue_ids
            else "no queue"
        )
        return queues + (", …" if len(self.queue_ids) > 8 else "") + (", paused" if self.paused else "")


def known_vms(config: Config | None, adapter: str | None = None) -> list[Vm]:
    """The VMs of one adapter, or of all; sorted by name within each adapter."""
    adapters = config.adapters if config is not None else []
    return [vm for one in adapters if adapter in (None, one.name) for vm in vms_of(one)]


def vms_of(adapter: AdapterConfig) -> list[Vm]:
    """The VMs of an adapter, sorted by name: those of its ports and of its queues."""
    queues: dict[str, list[int]] = {port.vm: [] for port in adapter.ports if not port.management_os}
    paused: dict[str, bool] = {}
    for queue in adapter.queues:
        if queue.vm is not None and not queue.management_os:
            queues.setdefault(queue.vm, []).append(queue.queue_id)
            paused[queue.vm] = queue.vm_paused
    return [Vm(adapter.name, name, tuple(ids), paused.get(name)) for name, ids in sorted(queues.items())]


def change_vm(vm: Vm, verb: Verb) -> Task:
    """Apply one of ``VERBS`` to a VM; migrate and remove need confirmation, because they have no undo."""
    lasting = verb in ("migrate", "remove")
    name = printable(vm.name)
    return Task(
        f"{verb.capitalize()} VM {name}",
        f"{verb.capitalize()} {name} ({vm.words}) of {printable(vm.adapter)}{'?' if lasting else ':'}"
        f" {VERBS[verb]}."
        + (" What was in flight to it is discarded; this can't be taken back." if lasting else ""),
        f"{verb.capitalize()} VM",
        lambda values: [vm_step(vm, verb)],
        destructive=lasting,
    )


_OPPOSITE: dict[Verb, Verb] = {"pause": "resume", "resume": "pause"}


def vm_step(vm: Vm, verb: Verb) -> Step:
    """Apply one of ``VERBS`` to a VM."""
    opposite = _OPPOSITE.get(verb)
    return step(
        f"{verb}-{vm.adapter}-{vm.name}",
        f"{verb} VM {printable(vm.name)}",
        f"{verb}_vm",
        {"adapter": vm.adapter, "vm": vm.name},
        undo=f"a VM that is {verb}d is gone from this switch, and its queues with it"
        if opposite is None
        else lambda answers: vm_step(vm, opposite),
    )


def restart_worker(cpu: CpuView) -> Task:
    """Start a new worker for a processor that is down."""
    return Task(
        f"Restart the worker of {cpu.processor}",
        f"Start a worker for {cpu.processor}, which is down: its worker kept dying, and frames for its"
        f" {counted(len(cpu.queues), 'queue')} are lost. The events say what it died of.",
        "Start it",
        lambda values: [_restart_step(cpu)],
    )


def _restart_step(cpu: CpuView) -> Step:
    return step(
        "restart",
        f"start the worker of {cpu.processor}",
        "restart_worker",
        {"cpu": cpu.cpu},
        undo="a worker that was started is not ended again",
    )
