"""What the same frames cost without this engine: Python code that people write, on one core.

Each does a part of what the engine does: rules 1 to 4 of the contract (port checks, tag, filter), and counts
frames and bytes by queue. Nothing is copied, queued, indicated or returned.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from engine.service.bench import RUNS, BenchFailedError, Progress, Settings, spread

_FRAMES: Final = 20_000
_MAX_FRAME_BYTES: Final = 1518

Filters = dict[tuple[bytes, int | None], int]
"""Queue by MAC and VLAN id, None for untagged."""
Counts = dict[int, list[int]]
"""Frames and bytes by queue."""


def _plain(frames: list[bytes], filters: Filters, longest: int) -> Counts:
    """Slices and a dictionary."""
    counts: Counts = {}
    for frame in frames:
        size = len(frame)
        if size < 14 or size > longest:
            continue
        vlan = None
        if frame[12:14] == b"\x81\x00":
            if size < 16:
                continue
            vlan = (frame[14] << 8 | frame[15]) & 0xFFF or None
        count = counts.setdefault(filters.get((frame[:6], vlan), 0), [0, 0])
        count[0] += 1
        count[1] += size
    return counts


def _dpkt(frames: list[bytes], filters: Filters, longest: int) -> Counts:
    """A parser made for it, and a dictionary; raises ImportError."""
    from dpkt import UnpackError
    from dpkt.ethernet import Ethernet

    counts: Counts = {}
    for frame in frames:
        size = len(frame)
        if size > longest:
            continue
        try:
            parsed = Ethernet(frame)
        except UnpackError:
            continue
        tags = getattr(parsed, "vlan_tags", None)
        vlan = tags[0].id or None if tags else None
        count = counts.setdefault(filters.get((parsed.dst, vlan), 0), [0, 0])
        count[0] += 1
        count[1] += size
    return counts


def baselines(
    settings: Settings, engine_rate: float, steering_rate: float, progress: Progress
) -> list[dict[str, Any]]:
    """A row for each, with its ``name``; frames a second and their spread, and how many times slower that is
    than the engine's whole path and than its steering on one core; or why it ``is_missing``."""
    frames = [frame.tobytes() for frame in settings.frames(_FRAMES)]
    filters: Filters = {
        (frame[:6], None): 1 + number % settings.queues
        for number, frame in enumerate(frames[: settings.filters])
    }
    longest = max(_MAX_FRAME_BYTES, settings.frame_bytes)
    rows: list[dict[str, Any]] = []
    for name, count in (("plain Python, slice + dict", _plain), ("dpkt + dict", _dpkt)):
        progress(name)
        try:
            rates = _rates(count, frames, filters, longest)
        except ImportError:
            rows.append({"name": name, "is_missing": "dpkt is not installed (pip install 'vmqtui[bench]')"})
            continue
        rate = statistics.median(rates)
        rows.append(
            {
                "name": name,
                "is_missing": None,
                "frames_per_second": rate,
                "frames_per_second_spread": spread(rates),
                "times_slower": engine_rate / rate,
                "times_slower_than_steering": steering_rate / rate,
            }
        )
    return rows


def _rates(
    count: Callable[[list[bytes], Filters, int], Counts], frames: list[bytes], filters: Filters, longest: int
) -> list[float]:
    counts = count(frames, filters, longest)  # warms up, too
    expected: Counts = {}
    for frame in frames:
        one = expected.setdefault(filters[frame[:6], None], [0, 0])
        one[0] += 1
        one[1] += len(frame)
    if counts != expected:
        raise BenchFailedError(f"{count.__name__}: frames went to other queues than the engine's")
    rates = []
    for _ in range(RUNS):
        began = time.perf_counter()
        count(frames, filters, longest)
        rates.append(len(frames) / (time.perf_counter() - began))
    return rates
