"""A run of a comparison: executes it, and encodes its order (the job description) and result as MessagePack.

The result is the same in this process, in another one or on a machine of a cluster. As a program
(``python -m engine.service.compare.runs``) this module reads an order from standard input and writes the
result to standard output.
"""

import sys
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import numpy as np

from engine import __version__
from engine.dataplane.memory import NotEnoughMemoryError
from engine.scenario.model import Scenario
from engine.service.compare.measures import MEASURES, Observed, low_water
from engine.service.replay import FinishedRun, run
from engine.service.sources import CaptureFrames, Caveats, ChoiceError, capture_source, synthetic_source
from engine.traffic.batch import Filled, FrameBatch, Until
from engine.traffic.capture import CaptureError
from engine.traffic.capture_file import CaptureFile
from engine.workers.pool import WorkerDiedError

_LOWEST_QUEUES: Final = 5
_GAP_NS: Final = 1_000_000_000
_MOVES_TOLD: Final = 100
"""Number of balancer moves that a result lists; further ones are only counted."""

Progress = Callable[[float], None]
"""Callback with the finished share of a run, from 0 to 1; called often."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario to run, fed with a capture (on ``adapter``) or with its own traffic for ``seconds``.

    ``name`` and ``settings`` (key path and value, as typed) identify the run.
    """

    name: str
    settings: dict[str, str] = {}
    scenario: Scenario
    capture: CaptureFile | None = None
    adapter: str | None = None
    seconds: float = 0.0

    @property
    def words(self) -> list[str]:
        """The settings as ``key=value``; keys without table names if that leaves them unique."""
        names = [key.rpartition(".")[2] for key in self.settings]
        told_apart = len(set(names)) == len(names)
        keys = names if told_apart else list(self.settings)
        return [f"{key}={value}" for key, value in zip(keys, self.settings.values(), strict=True)]

    @property
    def label(self) -> str:
        """The name and settings, on one line."""
        return " ".join([self.name, *self.words])


class LowQueue(msgspec.Struct, frozen=True):
    """A queue, the lowest number of free buffers during the run, and its total number of buffers."""

    adapter: str
    queue: str
    low_free_buffers: int
    total_buffers: int


class Moved(msgspec.Struct, frozen=True):
    """A move by the balancer; ``queue`` is the VM's or queue's name, ``cause`` a sentence."""

    sim_time_ns: int
    adapter: str
    queue_id: int
    queue: str
    from_cpu: int
    to_cpu: int
    reason: str
    cause: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run.

    ``values`` by measure, None for unknown; ``cpus`` the load of each processor (0..1); ``latency`` the
    number of frames by bucket of ``engine.kernels.latency``; ``lowest`` the queues with the lowest share of
    free buffers; ``moves`` the balancer's first moves, None if it was off; ``broken`` a sentence on damage in
    the capture; ``skipped_frames`` the number of frames of non-Ethernet interfaces; ``idle_seconds`` the sum
    of a capture's gaps of over a second between frames.
    """

    sim_seconds: float
    wall_seconds: float
    values: dict[str, float | None]
    cpus: list[float]
    latency: list[int]
    lowest: list[LowQueue]
    moves: list[Moved] | None = None
    broken: str | None = None
    skipped_frames: int = 0
    idle_seconds: float = 0.0


class _IdleTime:
    """A capture; ``idle_ns`` is the sum of its gaps of over ``_GAP_NS`` between frames."""

    def __init__(self, source: CaptureFrames) -> None:
        self._source = source
        self._last_ns = 0
        self.idle_ns = 0

    @property
    def skipped_ns(self) -> int:
        return self._source.skipped_ns

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        filled = self._source.fill(batch, until_ns)
        if filled.frames:
            arrivals = batch.arrival_ns[: filled.frames]
            gaps = np.diff(arrivals, prepend=self._last_ns)
            self.idle_ns += int(gaps[gaps > _GAP_NS].sum())
            self._last_ns = int(arrivals[-1])
        return filled

    def close(self) -> None:
        self._source.close()


def carry_out(one: Run, progress: Progress = lambda share: None) -> Result:
    """Execute a run in this process.

    Raises CaptureError, ChoiceError, NotEnoughMemoryError, ValueError for an impossible scenario.
    """
    began = time.monotonic()
    caveats = Caveats()
    idle_seconds = 0.0
    if one.capture is not None:
        capture = capture_source(one.capture, one.scenario, one.adapter)
        timed = _IdleTime(capture)
        try:
            ended = run(
                one.scenario,
                timed,
                f"capture {one.capture}",
                progress=lambda: progress(capture.bytes_read / (capture.bytes_total or capture.bytes_read)),
            )
        finally:
            capture.close()
        sim_seconds, caveats = capture.last_arrival_ns / 1e9, Caveats.of(capture)
        idle_seconds = timed.idle_ns / 1e9
    else:
        traffic = synthetic_source(one.scenario)
        if traffic is None:
            raise ValueError("the scenario has no traffic of its own, and no capture was given")
        source = Until(traffic, round(one.seconds * 1e9))
        ended = run(one.scenario, source, None, progress=lambda: progress(source.share))
        sim_seconds = one.seconds
    seen = Observed(ended, sim_seconds)
    return Result(
        sim_seconds=sim_seconds,
        wall_seconds=time.monotonic() - began,
        values={measure.key: measure.value(seen) for measure in MEASURES},
        cpus=seen.loads(),
        latency=seen.latency().tolist(),
        lowest=[LowQueue(*row) for row in low_water(seen)[:_LOWEST_QUEUES]],
        moves=_moves(ended),
        broken=caveats.broken,
        skipped_frames=caveats.skipped_frames,
        idle_seconds=idle_seconds,
    )


def _moves(ended: FinishedRun) -> list[Moved] | None:
    """The balancer's first moves, with the queues' names; None if it was off."""
    if ended.moves is None:
        return None
    called = {
        (adapter.name, queue.queue_id): queue.vm or queue.name
        for adapter in ended.config.adapters
        for queue in adapter.queues
    }
    keys = ("from_cpu", "to_cpu", "reason", "cause")
    return [
        Moved(
            one["sim_time_ns"],
            one["adapter"],
            one["queue_id"],
            called.get((one["adapter"], one["queue_id"]), ""),
            *(one[key] for key in keys),
        )
        for one in ended.moves.first[:_MOVES_TOLD]
    ]


_TELL_EVERY_S: Final = 0.2


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The reason why a run failed: a kind and a sentence."""

    kind: Literal["unusable", "memory", "failed", "died"]
    sentence: str


class _Done(msgspec.Struct, frozen=True, tag=True):
    result: Result


class _Share(msgspec.Struct, frozen=True, tag=True):
    share: float


class _Order(msgspec.Struct, frozen=True):
    version: str
    run: Run


Answer = Result | Failure

_encode = msgspec.msgpack.encode


def encode_run(run: Run) -> bytes:
    """Encode a run as an order, with this program's version, which the worker must have, too."""
    return _encode(_Order(__version__, run))


def with_capture(order: bytes, path: str) -> bytes:
    """Return the order with another path of its capture; the capture's name stays."""
    read = msgspec.msgpack.decode(order, type=_Order)
    assert read.run.capture is not None
    run = msgspec.structs.replace(read.run, capture=CaptureFile(path, read.run.capture.name))
    return _encode(msgspec.structs.replace(read, run=run))


def decode_answer(words: bytes) -> Answer | float:
    """Decode a message from ``answer``: a result, a failure, or progress (0..1)."""
    said: _Done | _Share | Failure = msgspec.msgpack.decode(words, type=_Done | _Share | Failure)
    match said:
        case _Done():
            return said.result
        case _Share():
            return said.share
        case _:
            return said


def answer(order: bytes, tell: Callable[[bytes], None] = lambda words: None) -> bytes:
    """Execute an order; return the encoded result or failure. ``tell`` is called with encoded progress at
    most every ``_TELL_EVERY_S``."""
    try:
        read = msgspec.msgpack.decode(order, type=_Order)
    except (msgspec.MsgspecError, ValueError) as error:
        return _encode(Failure("failed", f"this is no order: {error}"))
    if read.version != __version__:
        return _encode(Failure("failed", f"vmqtui {__version__} is there, where {read.version} is wanted"))
    told = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_EVERY_S:
            told = now
            tell(_encode(_Share(share)))

    said = _carry_out(read.run, progress)
    if isinstance(said, Failure):
        return _encode(said)
    return _encode(_Done(said))


def _carry_out(run: Run, progress: Progress) -> Answer:
    try:
        return carry_out(run, progress)
    except (CaptureError, ChoiceError, ValueError) as error:
        return Failure("unusable", str(error))
    except NotEnoughMemoryError as error:
        return Failure("memory", str(error))
    except (WorkerDiedError, OSError) as error:
        return Failure("failed", str(error))


if __name__ == "__main__":
    from engine.kernels.prepare import prepare

    prepare(lambda sentence: None)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
