"""From where on something is worth saying: every threshold of the rules, its default and why."""

from dataclasses import dataclass
from typing import Final

import msgspec


class AdviceThresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[advice]`` of the configuration file. Defaults stand here and nowhere else."""

    busy_load: float = 0.8
    idle_load: float = 0.3
    idle_pps: float = 1.0
    busy_vm_pps: float = 1000.0
    stray_pps: float = 10.0
    low_buffers_share: float = 0.05
    slow_link_gbps: float = 10.0
    free_pending_s: float = 2.0
    uncompleted_s: float = 2.0
    churn_moves: int = 4
    churn_s: float = 30.0
    window_s: float = 30.0


@dataclass(frozen=True)
class Threshold:
    """One of them: its bounds, unit and meaning."""

    name: str
    low: float
    high: float
    unit: str
    help: str

    @property
    def default(self) -> float:
        value: float = getattr(AdviceThresholds(), self.name)
        return value

    @property
    def whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return isinstance(self.default, int)


THRESHOLDS: Final = (
    Threshold(
        "busy_load",
        0.01,
        1,
        "share",
        "A processor this busy has no room for a burst. Microsoft's guides say 80 % in one place and 90 % in "
        "another; the lower one warns before frames are lost.",
    ),
    Threshold("idle_load", 0, 1, "share", "A processor at most this busy could take a queue."),
    Threshold(
        "idle_pps", 0, 1e9, "frames/s", "A queue with fewer frames a second holds its place for nothing."
    ),
    Threshold("busy_vm_pps", 0, 1e9, "frames/s", "A VM with so many frames a second deserves a queue."),
    Threshold(
        "stray_pps",
        0,
        1e9,
        "frames/s",
        "So many frames a second for one MAC in the default queue are no chance.",
    ),
    Threshold(
        "low_buffers_share",
        0,
        1,
        "share",
        "A queue that had at most this part of its buffers free was short.",
    ),
    Threshold("slow_link_gbps", 0, 1e4, "Gbit/s", "Below it Windows leaves VMQ off unless told otherwise."),
    Threshold("free_pending_s", 0, 3600, "s", "A free that waits longer for buffers is stuck."),
    Threshold(
        "uncompleted_s",
        0,
        3600,
        "s",
        "An allocation that waits longer for its completion was forgotten; one that the scenario's own start "
        "left so, at once.",
    ),
    Threshold("churn_moves", 1, 1000, "moves", "So many moves of one queue within ``churn_s`` are too many."),
    Threshold("churn_s", 1, 3600, "s", "The time in which the moves of a queue are counted."),
    Threshold(
        "window_s",
        2,
        3600,
        "s",
        "A finding is listed for this long after it was last seen; frames lost are counted over it.",
    ),
)


def read_threshold(threshold: Threshold, value: object) -> float:
    """A value for it. Raises ValueError, with what would fit."""
    kind = "integer" if threshold.whole else "number"
    value = int(value) if threshold.whole and isinstance(value, float) and value.is_integer() else value
    good = isinstance(value, int if threshold.whole else (int, float)) and not isinstance(value, bool)
    if not good or not threshold.low <= value <= threshold.high:  # type: ignore[operator]
        raise ValueError(f"{value!r} is not what fits ({kind} {threshold.low:g}..{threshold.high:g})")
    return value  # type: ignore[return-value]
