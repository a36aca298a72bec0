"""The costs of ``[cpu]`` from measured loads, and the bursts of queues from their drops.

Costs are a line through load, frames and interrupts per second. Bursts are not measured: a queue that runs
out of buffers while its processor has time got more frames at once than it has buffers. The length of such
bursts is the one at which the model drops the measured share.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np

from engine.advice.evidence import Evidence
from engine.counted import counted
from engine.measure.host import MeasuredHost
from engine.measure.twin_text import Value
from engine.scenario.keys import Tables, keys_of
from engine.scenario.model import CpuSpec
from engine.scenario.relations import inexact_key
from engine.view.rates import known_sum
from engine.view.rows import CpuView, QueueView

LEVELS: Final = 3
"""Levels of load that a calibration needs, each ``_APART`` above the one before."""
_APART: Final = 0.05
_LEAST_FRAMES: Final = 10_000
_INTERVALS: Final = 30
_FIT: Final = 0.9
"""Least share of the variance of load that frames and interrupts must explain."""
_FRAME_NS: Final = (50.0, 100_000.0)
_MOST_INTERRUPT_NS: Final = 100_000.0
_MODERATED_LOAD: Final = 0.8
_LEAST_PPS: Final = 100.0
_MOST_MODERATION_US: Final = 10_000.0

_DEFAULT: Final = CpuSpec()


class _Point(NamedTuple):
    """A processor in one interval: its load, and per second its frames, bytes and interrupts."""

    load: float
    frames: float
    bytes: float | None
    interrupts: float | None
    received: float
    """Frames in the whole interval."""
    share: float
    """The share of the clock that it has beside its hyper-thread sibling, if that serves queues."""


@dataclass(frozen=True)
class Calibration:
    """The values of ``[cpu]``, and in sentences what was done. ``why_not``: why costs don't come from
    measured loads; "" if they do."""

    values: dict[str, Value]
    sentences: Sequence[str]
    why_not: str = ""

    @property
    def done(self) -> bool:
        """Whether costs come from measured loads, or are those of a model."""
        return not self.why_not


def calibrate(measured: MeasuredHost, *, hyperthreading: bool) -> Calibration:
    """Return the costs of ``[cpu]``: the model's, for a recording of one; calibrated if processors that serve
    queues had at least ``LEVELS`` levels of load; else the defaults.

    ``hyperthreading``: whether the twin has it, so that a busy sibling makes a processor slower.
    """
    if measured.config.cpu_model:
        return _of_model(measured.config.cpu_model)
    whole = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    moderation = _moderation(whole)
    points = [
        point
        for evidence in _intervals(measured)
        for cpu in evidence.cpus
        if (point := _point(cpu, evidence, hyperthreading)) is not None
    ]
    cost, why_not = _fitted(points, moderation)
    if cost is None:
        values = {key: Value(getattr(_DEFAULT, key), "assumed") for key in _COSTS}
        sentences = [f"Costs are defaults: {why_not}."]
    else:
        values, sentences = _costs(cost, points)
    if moderation is not None:
        values["moderation_us"] = Value(moderation, "derived", "from interrupts and frames of queues")
    return Calibration(values, sentences, why_not)


_COSTS: Final = ("clock_ghz", "cycles_per_interrupt", "cycles_per_dpc", "cycles_per_frame", "cycles_per_byte")


def _of_model(model: Mapping[str, object]) -> Calibration:
    """Return the costs of a recorded model, without those that don't fit a scenario."""
    values = {}
    for name, key in keys_of(CpuSpec).items():
        assert not isinstance(key, Tables)
        try:
            value = key.read(model[name])
        except (KeyError, ValueError):
            continue
        values[name] = Value(value if isinstance(value, int) else float(str(value)), "measured")
    spec = CpuSpec(**{name: one.value for name, one in values.items()})  # type: ignore[arg-type]  # by name
    if inexact_key(spec) is not None:
        values = {}
    return Calibration(values, ["The recording is of a model, and these are its costs."])


def _intervals(measured: MeasuredHost) -> list[Evidence]:
    """Cut the readings into up to ``_INTERVALS`` intervals of at least a second; a shorter run is one."""
    readings = measured.readings
    if len(readings) < 2:
        return []
    span_s = (readings[-1].sim_time_ns - readings[0].sim_time_ns) / 1e9
    count = min(max(int(span_s), 1), _INTERVALS, len(readings) - 1)
    marks = [readings[round(n * (len(readings) - 1) / count)] for n in range(count + 1)]
    return [Evidence(measured.config, later, earlier) for earlier, later in pairwise(marks)]


def _point(cpu: CpuView, evidence: Evidence, hyperthreading: bool) -> _Point | None:
    """Return a processor's interval as a point; None if something else than its frames made its load, or
    its frames are not known."""
    if not cpu.queues or cpu.load is None:
        return None
    nodes = {one.settings.numa_node for one in cpu.queues if one.settings is not None}
    if cpu.config is not None and nodes - {cpu.config.numa_node, None}:
        return None
    rates = [one.rate("received_frames") for one in cpu.queues]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates) or not evidence.span_s:
        return None
    of_bytes = [one.rate("steered_bytes") for one in cpu.queues]
    bytes_known = None if None in of_bytes else known_sum(of_bytes)
    interrupts = cpu.rate("interrupts")
    if interrupts is None and all(one.rate("interrupts") is not None for one in cpu.queues):
        interrupts = known_sum(one.rate("interrupts") for one in cpu.queues)
    shared = hyperthreading and any(one.queues for one in evidence.cpus if _is_sibling(one, cpu))
    share = _DEFAULT.smt_share if shared else 1.0
    return _Point(cpu.load, sum(known), bytes_known, interrupts, sum(known) * evidence.span_s, share)


def _is_sibling(one: CpuView, other: CpuView) -> bool:
    return (
        one.cpu != other.cpu
        and one.config is not None
        and other.config is not None
        and one.config.core == other.config.core
    )


def _levels(points: Sequence[_Point]) -> int:
    """Return how many loads there are of which each is ``_APART`` above the one before."""
    levels, last = 0, -_APART
    for load in sorted(one.load for one in points if one.frames > 0):
        if load >= last + _APART:
            levels, last = levels + 1, load
    return levels


class _Cost(NamedTuple):
    """Nanoseconds per frame and interrupt, and the load without frames."""

    frame_ns: float
    interrupt_ns: float | None
    idle_load: float
    explained: float
    points: int
    levels: int


def _fitted(points: Sequence[_Point], moderation_us: float | None) -> tuple[_Cost | None, str]:
    """Fit costs to points by least squares, none below 0; or return why that can't be done."""
    if not points:
        return None, "no processor's load is known together with the frames of all its queues"
    levels = _levels(points)
    if levels < LEVELS:
        return None, f"{counted(levels, 'level')} of load measured, and {LEVELS} are needed to tell costs"
    frames = sum(one.received for one in points)
    if frames < _LEAST_FRAMES:
        return None, f"{counted(frames, 'frame')} measured, and {_LEAST_FRAMES:,} are needed to tell costs"
    loads = np.array([one.load for one in points])
    columns = {
        "idle": np.ones(len(points)),
        "frames": np.array([one.frames / one.share for one in points]) * 1e-9,
    }
    known_interrupts = all(one.interrupts is not None for one in points)
    taken = np.zeros(len(points))
    if known_interrupts:
        columns["interrupts"] = np.array([(one.interrupts or 0.0) / one.share for one in points]) * 1e-9
    else:
        per_s = np.array([_expected_interrupts(one.frames, one.load, moderation_us) for one in points])
        taken = np.minimum(per_s * _default_interrupt_ns() * 1e-9, 0.5 * loads)
    costs = _least_squares(columns, loads - taken)
    if costs is None:
        return None, "load did not grow with frames"
    fitted = sum(costs[name] * column for name, column in columns.items()) + taken
    explained = 1 - float(np.square(loads - fitted).sum() / np.square(loads - loads.mean()).sum())
    if explained < _FIT:
        return (
            None,
            f"frames explain {max(0.0, explained):.0%} of the differences of load, less than {_FIT:.0%}",
        )
    cost = _Cost(costs["frames"], costs.get("interrupts"), costs["idle"], explained, len(points), levels)
    low, high = _FRAME_NS
    if not low <= cost.frame_ns <= high or (cost.interrupt_ns or 0.0) > _MOST_INTERRUPT_NS:
        return (
            None,
            f"a frame would cost {cost.frame_ns:,.0f} ns, which is no cost of one ({low:g}..{high:,.0f})",
        )
    return cost, ""


def _least_squares(columns: dict[str, "np.ndarray"], loads: "np.ndarray") -> dict[str, float] | None:
    """Return the coefficients that fit best, none below 0 and that of frames above 0; None if none do."""
    best: tuple[float, dict[str, float]] | None = None
    others = [name for name in columns if name != "frames"]
    for size in range(len(others), -1, -1):
        for chosen in combinations(others, size):
            names = ["frames", *chosen]
            matrix = np.stack([columns[name] for name in names], axis=1)
            scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
            found = np.linalg.lstsq(matrix / scale, loads, rcond=1e-9)[0] / scale
            if found[0] <= 0 or (found < 0).any():
                continue
            error = float(np.square(matrix @ found - loads).sum())
            if best is None or error < best[0]:
                best = error, dict.fromkeys(columns, 0.0) | dict(zip(names, found.tolist(), strict=True))
    return None if best is None else best[1]


def _default_interrupt_ns() -> float:
    return (_DEFAULT.cycles_per_interrupt + _DEFAULT.cycles_per_dpc) / _DEFAULT.clock_ghz


def _expected_interrupts(pps: float, load: float, moderation_us: float | None) -> float:
    """Return the interrupts per second of a queue: each waits for its moderation time after a frame, which
    comes while the processor is idle."""
    wait_s = (_DEFAULT.moderation_us if moderation_us is None else moderation_us) * 1e-6
    return (1 - load) * pps / (1 + pps * wait_s)


def _moderation(whole: Evidence) -> float | None:
    """Return the median time, in µs, by which interrupts came later than frames; None if not known."""
    found: list[tuple[float, float]] = []
    for cpu in whole.cpus:
        if cpu.load is None or cpu.load > _MODERATED_LOAD:
            continue
        for queue in cpu.queues:
            frames, interrupts = queue.rate("received_frames"), queue.rate("interrupts")
            if frames is not None and interrupts and frames >= _LEAST_PPS:
                wait_us = max(0.0, (1 - cpu.load) * 1e6 / interrupts - 1e6 / frames)
                found.append((min(wait_us, _MOST_MODERATION_US), interrupts))
    if not found:
        return None
    found.sort()
    half, reached = sum(weight for _, weight in found) / 2, 0.0
    for wait_us, weight in found:
        reached += weight
        if reached >= half:
            return round(wait_us, 1)
    return round(found[-1][0], 1)


def _costs(cost: _Cost, points: Sequence[_Point]) -> tuple[dict[str, Value], list[str]]:
    """Return the values of ``[cpu]`` for fitted costs, and sentences on how they came about."""
    ghz = _DEFAULT.clock_ghz
    sizes = [one.bytes / one.frames for one in points if one.bytes is not None and one.frames > 0]
    frame_cycles = cost.frame_ns * ghz
    per_byte = 0.0
    if sizes:
        mean_bytes = fmean(sizes)
        per_byte = float(f"{min(_DEFAULT.cycles_per_byte, 0.5 * frame_cycles / mean_bytes):.4g}")
        frame_cycles -= per_byte * mean_bytes
    values = {
        "clock_ghz": Value(ghz, "assumed", "costs are measured times, at this clock"),
        "cycles_per_frame": Value(round(frame_cycles), "derived", f"{cost.frame_ns:,.0f} ns a frame in all"),
        "cycles_per_byte": Value(
            per_byte, "assumed", "its part of a frame's cost" if sizes else "sizes of frames are not known"
        ),
    }
    if cost.interrupt_ns is None:
        known = "interrupts are not known"
        values["cycles_per_interrupt"] = Value(_DEFAULT.cycles_per_interrupt, "assumed", known)
        values["cycles_per_dpc"] = Value(_DEFAULT.cycles_per_dpc, "assumed", known)
    else:
        both = cost.interrupt_ns * ghz
        share = _DEFAULT.cycles_per_interrupt / (_DEFAULT.cycles_per_interrupt + _DEFAULT.cycles_per_dpc)
        of_both = f"{cost.interrupt_ns:,.0f} ns an interrupt in all"
        values["cycles_per_interrupt"] = Value(round(both * share), "derived", of_both)
        values["cycles_per_dpc"] = Value(round(both * (1 - share)), "derived", of_both)
    sentences = [
        f"Costs are calibrated by least squares: {counted(cost.points, 'interval')} of processors that serve"
        f" queues, {counted(cost.levels, 'level')} of load;",
        f"frames and interrupts explain {cost.explained:.1%} of the differences of load.",
    ]
    if cost.idle_load >= 0.005:
        sentences.append(
            f"A load of {cost.idle_load:.1%} was there without frames: the twin does not have it."
        )
    return {key: values[key] for key in _COSTS}, sentences


# --- bursts -------------------------------------------------------------------------------------------

MOST_BURST_FRAMES: Final = 16_384
"""Most frames of a burst; a queue that needs more to drop its share has another trouble."""
_LEAST_DROPPED: Final = 0.001
_MOST_DROPPED: Final = 0.95
_FULL_LOAD: Final = 0.9
_WIRE_OVERHEAD_BYTES: Final = 20


def burst_frames(queue: QueueView, cpu: CpuView | None, frame_bytes: float, link_gbps: float) -> int | None:
    """Return the frames of a burst that explains the drops of a queue; None if there is no such burst."""
    drops, pps, buffers = queue.drops, queue.pps, queue.count("total_buffers")
    if not drops or not pps or not buffers or cpu is None or cpu.load is None or cpu.load >= _FULL_LOAD:
        return None
    if queue.known.vm_paused or not _LEAST_DROPPED <= drops / pps <= _MOST_DROPPED:
        return None
    wire_ns = (frame_bytes + _WIRE_OVERHEAD_BYTES) * 8 / link_gbps
    low, high = buffers, MOST_BURST_FRAMES
    if buffers >= high or _dropped(high, buffers, wire_ns, frame_bytes) < drops / pps:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _dropped(middle, buffers, wire_ns, frame_bytes) < drops / pps:
            low = middle
        else:
            high = middle
    return high


def holds_all(queue: QueueView) -> bool:
    """Return whether a queue dropped nearly all of its frames: then no buffer came back to it."""
    drops, pps = queue.drops, queue.pps
    return bool(drops and pps and drops / pps > _MOST_DROPPED)


def _dropped(frames: int, buffers: int, wire_ns: float, frame_bytes: float) -> float:
    """Return the share of a burst that an idle queue drops: its buffers are back when their DPC ends."""
    clock = _DEFAULT.clock_ghz
    frame_ns = (_DEFAULT.cycles_per_frame + frame_bytes * _DEFAULT.cycles_per_byte) / clock
    dpc_ns = _DEFAULT.cycles_per_dpc / clock
    start_ns = _DEFAULT.moderation_us * 1000 + _DEFAULT.cycles_per_interrupt / clock
    free, dropped = buffers, 0
    waiting: deque[float] = deque()
    """Arrivals of frames that no DPC has taken."""
    taken, end_ns = 0, start_ns
    """Frames of the DPC that runs until ``end_ns``, from which on the next may start."""
    for n in range(frames):
        now_ns = n * wire_ns
        while end_ns <= now_ns:
            free += taken
            taken = 0
            while waiting and taken < _DEFAULT.quota and waiting[0] <= end_ns:
                waiting.popleft()
                taken += 1
            if not taken:
                break
            end_ns += dpc_ns + taken * frame_ns
        if free:
            free -= 1
            waiting.append(now_ns)
            end_ns = max(end_ns, now_ns) if not taken else end_ns
        else:
            dropped += 1
    return dropped / frames
