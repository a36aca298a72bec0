"""Changing what a running adapter lets itself be changed."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.ndis.settings import CHANGEABLE
from engine.scenario.keys import KEYS, Key
from engine.scenario.model import AdapterSpec
from engine.telemetry.config import AdapterConfig
from vmqtui.printable import printable
from vmqtui.tasks.checks import number_as_typed
from vmqtui.tasks.task import Field, Step, Task, Values, step

_LABELS: Final = {
    "link_gbps": "Link Gbit/s",
    "max_queues": "Queues",
    "max_filters": "Filters",
    "vlan_filtering": "VLAN tests",
}
FLAGS: Final = ("on", "off")


def set_adapter(settings: AdapterConfig) -> Task:
    """Change an adapter's link, limits or VLAN filtering; only what changed is sent."""
    before = {key: getattr(settings, key) for key in CHANGEABLE}

    def plan(values: Values) -> Sequence[Step]:
        wanted = {key: value for key, value in values.items() if value != before[key]}
        return [_change(settings.name, wanted, {key: before[key] for key in wanted})] if wanted else []

    return Task(
        f"Settings of {printable(settings.name)}",
        "What a running adapter lets itself be changed. Limits stay between what is in use and what the "
        "engine was started with, which is what its memory is for.",
        "Change",
        plan,
        [_field(key, before[key]) for key in CHANGEABLE],
    )


def _field(key: str, value: Any) -> Field:
    entry = KEYS[AdapterSpec][key]
    assert isinstance(entry, Key)
    if isinstance(value, bool):
        return Field(
            key, _LABELS[key], lambda text: entry.read(text == "on"), "on" if value else "off", choices=FLAGS
        )
    return Field(key, _LABELS[key], _typed(entry.read), f"{value:.12g}", entry.fits)


def _typed(read: Callable[[object], object]) -> Callable[[str], object]:
    return lambda text: read(number_as_typed(text))


def _change(adapter: str, wanted: dict[str, Any], before: dict[str, Any]) -> Step:
    words = ", ".join(f"{key} = {_shown(value)}" for key, value in wanted.items())
    return step(
        f"set-{words}",
        f"set {words} of {printable(adapter)}",
        "set_adapter",
        {"adapter": adapter, **wanted},
        undo=lambda answers: _change(adapter, before, wanted),
    )


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.12g}"
