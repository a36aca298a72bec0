"""Checks of the arguments that a program gives to an engine, a replay or a plan, before anything starts.

A bad argument raises ``ValueError`` with one sentence: its name, its value, and the values that fit. Types
are checked too, because a test suite that calls the engine may not be type-checked.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.kernels.layout import NEVER_NS
from engine.scenario.keys import Key, keys_of
from engine.scenario.model import AdapterSpec, HostSpec, QueueSpec
from engine.scenario.values import check_choice, check_number, check_whole, one_line, show
from engine.service.pacing import ClockName
from engine.telemetry.stats import Stats
from engine.traffic.capture_file import CaptureFile
from engine.traffic.plan import Hardware

INTERVAL_S: Final = (0.001, 3600.0)
DEADLINE_S: Final = (0.05, 3600.0)
ADVANCE_LIMIT_S: Final = 10 * 365 * 86_400

_SHOWN: Final = 80
_NEEDED: Final = ("cpus", "hyperthreading", "numa_nodes", "numa_node", "base_cpu", "link_gbps")
_HARDWARE: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "cpus": (HostSpec, "cpus"),
    "hyperthreading": (HostSpec, "hyperthreading"),
    "numa_nodes": (HostSpec, "numa_nodes"),
    "numa_node": (AdapterSpec, "numa_node"),
    "base_cpu": (QueueSpec, "cpu"),
    "max_cpus": (HostSpec, "cpus"),
    "link_gbps": (AdapterSpec, "link_gbps"),
    "max_queues": (AdapterSpec, "max_queues"),
    "max_filters": (AdapterSpec, "max_filters"),
    "max_buffers": (AdapterSpec, "buffers"),
}
"""The keys of a scenario that the fields of a plan's hardware become."""


def seconds(name: str, value: object, low: float, high: float) -> float:
    """Check a number of seconds in low..high, NumPy's too; NaN does not fit. Raises ValueError."""
    is_python = isinstance(value, int | float)
    if isinstance(value, Real) and not is_python:
        value = float(value)
    checked: float = _checked(name, lambda: check_number(value, low, high))
    return checked


def whole(name: str, value: object, low: int, high: int) -> int:
    """Check an integer in low..high, NumPy's too. Raises ValueError."""
    is_python = isinstance(value, int)
    if isinstance(value, Integral) and not is_python:
        value = int(value)
    checked: int = _checked(name, lambda: check_whole(value, low, high))
    return checked


def interval_ns(value: object) -> int:
    """Check the simulated time between readings, in seconds; return it in ns. Raises ValueError."""
    return round(seconds("interval_s", value, *INTERVAL_S) * 1e9)


def deadline_s(value: object) -> float:
    """Check the time that a worker may take for a round, in seconds. Raises ValueError."""
    return seconds("worker_deadline_s", value, *DEADLINE_S)


def choice(name: str, value: object, choices: tuple[str, ...]) -> Any:
    """Check that a value is one of ``choices``. Raises ValueError."""
    return _checked(name, lambda: check_choice(value, choices))


def an(name: str, value: object, kind: type | tuple[type, ...], fits: str) -> Any:
    """Check that a value is None or of a type; ``fits`` names the type in the error. Raises ValueError."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name}: {shown(value)} is not {fits}")
    return value


def capture(value: object, name: str = "capture") -> CaptureFile | Path | None:
    """Check a capture: a path, or a ``CaptureFile``. Raises ValueError."""
    an(name, value, (os.PathLike, str, CaptureFile), "a capture (a path fits)")
    return value if value is None or isinstance(value, CaptureFile) else Path(str(value))


def function(name: str, value: Any) -> Any:
    """Check that a value can be called. Raises ValueError."""
    if not callable(value):
        raise ValueError(f"{name}: {shown(value)} is not a function")
    return value


def patterns(name: str, value: object) -> tuple[str, ...]:
    """Check a sequence of strings, which is no string itself. Raises ValueError."""
    one_by_one = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (None,)
    for one in one_by_one:
        if not isinstance(one, str):
            raise ValueError(f"{name}: {shown(value)} is not a list of client ids, or patterns of some")
    return tuple(one_by_one)


def run_to(clock: ClockName, value: object) -> int | Callable[[Stats], bool]:
    """Check where a fast clock stops; return a simulated time in ns or a condition. Raises ValueError."""
    if value is None:
        return NEVER_NS
    if clock != "fast":
        raise ValueError(f'run_to: the clock is "{clock}", and only clock="fast" has an end')
    if not callable(value):
        return round(seconds("run_to", value, 0.0, ADVANCE_LIMIT_S) * 1e9)

    def holds(reading: Stats) -> bool:
        try:
            return bool(value(reading))
        except Exception as error:
            raise RuntimeError(f"run_to raised {type(error).__name__}: {error}") from error

    return holds


def check_hardware(hardware: Hardware) -> None:
    """Check each value of a plan's hardware by itself; the plan checks them against each other.

    Raises ValueError.
    """
    an("hardware.host_name", hardware.host_name, str, "a host's name")
    for name, (row, key_name) in _HARDWARE.items():
        value, key = getattr(hardware, name), keys_of(row)[key_name]
        assert isinstance(key, Key)
        if value is not None or name in _NEEDED:
            _checked(f"hardware.{name}", partial(key.read, value))


def shown(value: object) -> str:
    """Format any value for an error message: on one line, shortened; never raises."""
    if value is None or isinstance(value, int | float | str | bytes | dict | list | tuple):
        return show(value)
    try:
        text = repr(value)
    except Exception:  # the error message is about the value, not about its repr
        text = f"a {type(value).__name__}"
    return one_line(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _checked(name: str, check: Any) -> Any:
    try:
        return check()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
