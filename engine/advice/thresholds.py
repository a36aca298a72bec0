"""Every threshold of the rules, with its default and the reason for it."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final, get_args

import msgspec

from engine.scenario.keys import Described, Key


@dataclass(frozen=True)
class Threshold(Described):
    """A threshold: its bounds, unit and meaning. ``THRESHOLDS`` adds its name and default."""

    low: float
    high: float
    unit: str
    help: str
    name: str = ""
    default: float = 0

    @property
    def whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return isinstance(self.default, int)

    def key(self, held: Any) -> Key:
        """Return the key of the configuration file for this threshold; ``held()`` gives its default."""
        one = replace(self, default=held())
        kind = "integer" if one.whole else "number"
        help_ = one.help[0].lower() + one.help[1:].removesuffix(".")
        return Key(partial(read_threshold, one), f"{kind} {one.low:g}..{one.high:g}", f"{help_} ({one.unit})")


class AdviceThresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[advice]`` of the configuration file. Each key is described once, at its field."""

    busy_load: Annotated[
        float,
        Threshold(
            0.01,
            1,
            "share",
            "A processor this busy has no room for a burst. Microsoft's guides say 80 % in one place and "
            "90 % in another; the lower one warns before frames are lost.",
        ),
    ] = 0.8
    idle_load: Annotated[
        float, Threshold(0, 1, "share", "A processor at most this busy could take a queue.")
    ] = 0.3
    idle_pps: Annotated[
        float,
        Threshold(0, 1e9, "frames/s", "A queue with fewer frames a second holds its place for nothing."),
    ] = 1.0
    busy_vm_pps: Annotated[
        float, Threshold(0, 1e9, "frames/s", "A VM with so many frames a second deserves a queue.")
    ] = 1000.0
    stray_pps: Annotated[
        float,
        Threshold(
            0, 1e9, "frames/s", "So many frames a second for one MAC in the default queue are no chance."
        ),
    ] = 10.0
    low_buffers_share: Annotated[
        float, Threshold(0, 1, "share", "A queue that had at most this part of its buffers free was short.")
    ] = 0.05
    slow_link_gbps: Annotated[
        float, Threshold(0, 1e4, "Gbit/s", "Below it Windows leaves VMQ off unless told otherwise.")
    ] = 10.0
    free_pending_s: Annotated[
        float, Threshold(0, 3600, "s", "A free that waits longer for buffers is stuck.")
    ] = 2.0
    uncompleted_s: Annotated[
        float,
        Threshold(
            0,
            3600,
            "s",
            "An allocation that waits longer for its completion was forgotten; one that the scenario's own "
            "start left so, at once.",
        ),
    ] = 2.0
    churn_moves: Annotated[
        int, Threshold(1, 1000, "moves", "So many moves of one queue within ``churn_s`` are too many.")
    ] = 4
    churn_s: Annotated[
        float, Threshold(1, 3600, "s", "The time in which the moves of a queue are counted.")
    ] = 30.0
    window_s: Annotated[
        float,
        Threshold(
            2,
            3600,
            "s",
            "A finding is listed for this long after it was last seen; frames lost are counted over it.",
        ),
    ] = 30.0


THRESHOLDS: Final = tuple(
    replace(get_args(field.type)[1], name=field.name, default=field.default)
    for field in msgspec.structs.fields(AdviceThresholds)
)


def read_threshold(threshold: Threshold, value: object) -> float:
    """Return the value of a threshold. Raises ValueError, whose text names the valid values."""
    kind = "integer" if threshold.whole else "number"
    value = int(value) if threshold.whole and isinstance(value, float) and value.is_integer() else value
    if (
        isinstance(value, bool)
        or not isinstance(value, int if threshold.whole else (int, float))
        or not threshold.low <= value <= threshold.high
    ):
        raise ValueError(f"{value!r} is not what fits ({kind} {threshold.low:g}..{threshold.high:g})")
    return value
