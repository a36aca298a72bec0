"""Turning the balancer on and off, and what it goes by."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from engine.scenario.keys import KEYS, Key
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import BalancerSpec
from engine.telemetry.config import Config
from vmqtui.tasks.checks import number_as_typed
from vmqtui.tasks.task import Field, Step, Task, Values, step

_LABELS: Final = {
    "mode": "Balancer",
    "interval_ms": "Every, ms",
    "scale_out": "Scale out at",
    "scale_in": "Scale in at",
    "cooldown_ms": "Rests, ms",
    "max_moves": "Most moves",
}
MODES: Final = ("off", "dynamic")


def set_balancer(config: Config) -> Task | str:
    """Turn it on or off, or change what it goes by; a sentence where the engine has none."""
    told = {key: value for key, value in config.balancer.items() if key in KEYS[BalancerSpec]}
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
        return [_change(wanted, {key: before[key] for key in wanted})] if wanted else []

    return Task(
        "Balancer",
        "Queues move away from processors with much to do, and home when there is little. Loads are shares of"
        " a processor's cycles. Turned off, it leaves queues where they are.",
        "Set",
        plan,
        [_field(key, before[key]) for key in _LABELS],
    )


def _field(key: str, value: Any) -> Field:
    entry = KEYS[BalancerSpec][key]
    assert isinstance(entry, Key)
    if key == "mode":
        return Field(key, _LABELS[key], entry.read, value, choices=MODES)
    return Field(key, _LABELS[key], _typed(entry.read), f"{value:.12g}", entry.fits)


def _typed(read: Callable[[object], object]) -> Callable[[str], object]:
    return lambda text: read(number_as_typed(text))


def _change(wanted: dict[str, Any], before: dict[str, Any]) -> Step:
    words = ", ".join(f"{key} = {value}" for key, value in wanted.items())
    return step(
        f"balancer-{words}",
        f"set the balancer's {words}",
        "set_balancer",
        wanted,
        undo=lambda answers: _change(before, wanted),
    )
