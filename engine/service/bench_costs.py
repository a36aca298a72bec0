"""Measures other costs of an engine: start time, workers' memory, telemetry; and the speed of a replay.

Start time and telemetry are measured from outside: ``command`` starts the engine as a user would, with its
own broker in a separate process.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from engine.counted import counted
from engine.files import own_directory
from engine.kernels.layout import batch_frames_for
from engine.service.bench import BenchFailedError, Rig, Settings, spread
from engine.service.machine import Progress
from engine.service.replay import replay
from engine.service.sources import ReadCapture
from engine.telemetry.stats import known

REPLAY_FRAMES: Final = 1 << 21
REPLAY_RUNS: Final = 3
START_RUNS: Final = 3
TELEMETRY_HZ: Final = 10
TELEMETRY_RUNS: Final = 4
_TELEMETRY_SECONDS: Final = 2.0
_TELEMETRY_PPS: Final = 50_000
_RARELY_S: Final = 60  # the longest interval allowed: at most one reading during a measurement
_END_DEADLINE_S: Final = 20.0
_BLOCK: Final = "/vmq-"  # prefix of the shared block's path, on systems where shared memory has one


def private_bytes(rig: Rig) -> int:
    """Bytes of memory per additional processor: a worker's USS without the shared block; median."""
    found = []
    for pid in rig.machine.rounds.worker_pids:
        worker = psutil.Process(pid)
        own = worker.memory_full_info().uss
        if hasattr(psutil.Process, "memory_maps"):
            # The system counts a page of the block as private if only this worker has touched it.
            own -= sum(
                area.private_clean + area.private_dirty
                for area in worker.memory_maps()
                if _BLOCK in area.path and hasattr(area, "private_clean")
            )
        found.append(own)
    return round(statistics.median(found))


# --- a start -----------------------------------------------------------------------------------------


@contextmanager
def _engine(
    command: Sequence[str], scenario: str, interval_s: float
) -> Iterator[tuple[psutil.Process, float]]:
    """Run an engine process; yield it, and the seconds it took to print its URL."""
    with own_directory() as directory:
        path = directory / "bench.toml"
        path.write_text(scenario, encoding="utf-8")
        log = directory / "stderr"
        began = time.perf_counter()
        with log.open("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                [*command, "--scenario", str(path), "--listen", "127.0.0.1:0", "--interval", str(interval_s)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            assert process.stdout is not None
            try:
                line = process.stdout.readline()  # an engine prints its URL when it is ready
                seconds = time.perf_counter() - began
                if not line:
                    said.seek(0)
                    raise BenchFailedError(f"an engine did not start: {said.read().strip()[-500:]}")
                yield psutil.Process(process.pid), seconds
            finally:
                process.terminate()
                try:
                    process.wait(_END_DEADLINE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                process.stdout.close()


def start_seconds(command: Sequence[str], cpus: int, progress: Progress) -> dict[str, Any]:
    """Measure the time from process start to the first reading on the bus, with kernels already compiled."""
    scenario = f'[host]\nname = "bench"\ncpus = {cpus}\n[[adapter]]\nname = "nic0"\n'
    found = []
    for run in range(START_RUNS + 1):
        which = f"run {run} of {START_RUNS}" if run else "once unmeasured"
        progress(f"start of an engine with {cpus} CPUs, {which}", None)
        with _engine(command, scenario, 0.25) as (_, seconds):
            found.append(seconds)
    del found[0]  # the first start reads files that are not cached yet
    return {
        "cpus": cpus,
        "runs": START_RUNS,
        "seconds": statistics.median(found),
        "seconds_spread": spread(found),
    }


# --- telemetry ---------------------------------------------------------------------------------------


def telemetry_share(command: Sequence[str], queues: int, progress: Progress) -> dict[str, Any]:
    """CPU seconds per second that an engine's process spends on readings, without its broker and workers.

    Two engines run side by side on the same traffic, over all queues. One publishes ten readings a second,
    the other almost none; the difference of their CPU times is the cost of telemetry.
    """
    scenario = telemetry_scenario(queues)
    often, rarely, found = [], [], []
    progress(f"telemetry of {counted(queues, 'queue')}: starting two engines", None)
    with (
        _engine(command, scenario, 1 / TELEMETRY_HZ) as (busy, _),
        _engine(command, scenario, _RARELY_S) as (quiet, _),
    ):
        for run in range(TELEMETRY_RUNS):
            progress(
                f"telemetry of {counted(queues, 'queue')}, run {run + 1} of {TELEMETRY_RUNS}",
                run / TELEMETRY_RUNS,
            )
            before = [_cpu_seconds(busy), _cpu_seconds(quiet)]
            began = time.perf_counter()
            time.sleep(_TELEMETRY_SECONDS)
            spent = [_cpu_seconds(busy) - before[0], _cpu_seconds(quiet) - before[1]]
            elapsed = time.perf_counter() - began
            often.append(spent[0] / elapsed)
            rarely.append(spent[1] / elapsed)
            found.append(often[-1] - rarely[-1])
    return {
        "queues": queues,
        "readings_per_second": TELEMETRY_HZ,
        "runs": TELEMETRY_RUNS,
        "core_share": statistics.median(found),
        "core_share_least": min(found),
        "core_share_most": max(found),
        "engine_core_share_with": statistics.median(often),
        "engine_core_share_without": statistics.median(rarely),
    }


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process so far; the resolution is 1 ns on Linux, else a clock tick."""
    spent_ns = 0
    with suppress(OSError, ValueError, IndexError):
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        spent_ns = sum(int((one / "schedstat").read_text().split()[0]) for one in threads)
    times = process.cpu_times()
    return spent_ns / 1e9 or times.user + times.system


def telemetry_scenario(queues: int) -> str:
    lines = [
        f'[host]\nname = "bench"\ncpus = 8\n[[adapter]]\nname = "nic0"\nmax_queues = {queues}',
        f"max_filters = {queues}",
    ]
    flows = [f"[traffic]\nseed = 1\n[[traffic.mix]]\nrate_pps = {_TELEMETRY_PPS}"]
    for number, spec in enumerate(Settings(queues=queues, filters=queues).scenario().adapter[0].queue):
        mac = spec.filter[0].mac
        lines.append(f'[[adapter.queue]]\nvm = "vm {number}"\ncpu = {spec.cpu}\nbuffers = 64')
        lines.append(f'[[adapter.queue.filter]]\nmac = "{mac}"')
        flows.append(f'[[traffic.mix.flow]]\nmac = "{mac}"')
    return "\n".join([*lines, *flows]) + "\n"


# --- a replay ----------------------------------------------------------------------------------------


def replays(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Measure ``replay --pace max`` of a pcap and a pcapng through the scenario; one row per format.

    The rate is taken from the end of the first round to the end of the last: it includes reading the file,
    but not the start of workers (``wall_seconds`` includes both). The file is in the page cache, because it
    was just written.
    """
    rows = []
    for form, write in (("pcap", _pcap), ("pcapng", _pcapng)):
        progress(f"writing a {form} of {REPLAY_FRAMES:,} frames", None)
        with own_directory() as directory:
            path = directory / f"bench.{form}"
            write(path, settings)
            size = path.stat().st_size
            rates, walls = [], []
            for run in range(REPLAY_RUNS):
                progress(f"replay of a {form}, run {run + 1} of {REPLAY_RUNS}", run / REPLAY_RUNS)
                rate, wall = _replay(path, settings)
                rates.append(rate)
                walls.append(wall)
        rows.append(
            {
                "form": form,
                "frames": REPLAY_FRAMES,
                "file_bytes": size,
                "runs": REPLAY_RUNS,
                "frames_per_second": statistics.median(rates),
                "frames_per_second_spread": spread(rates),
                "wall_seconds": statistics.median(walls),
            }
        )
    return rows


def _replay(path: Path, settings: Settings) -> tuple[float, float]:
    rounds: list[float] = []

    def note(source: ReadCapture) -> None:
        rounds.append(time.perf_counter())

    done = replay(path, settings.scenario(), progress=note)
    queues = done.stats.adapters["nic0"].queues
    returned = sum(known(queues["returned_frames"][1:]))
    if returned != REPLAY_FRAMES:
        raise BenchFailedError(f"{returned:,} of {REPLAY_FRAMES:,} frames replayed came through")
    served = REPLAY_FRAMES - batch_frames_for(settings.cpus)  # without the first round, a full batch
    return served / (rounds[-1] - rounds[0]), float(done.document["wall_seconds"])


def _write_records(path: Path, settings: Settings, head: bytes, record: np.dtype[Any], fill: "_Fill") -> None:
    """Write a capture file in chunks of records; ``fill`` sets the fields around the frame's bytes."""
    piece = 1 << 16
    arrivals = settings.arrivals(REPLAY_FRAMES)
    with path.open("wb") as file:
        file.write(head)
        for first in range(0, REPLAY_FRAMES, piece):
            times = arrivals[first : first + piece]
            records = np.zeros(len(times), record)
            records["frame"][:, : settings.frame_bytes] = settings.frames(len(times), first)
            fill(records, times)
            file.write(records.tobytes())


_Fill = Callable[[np.ndarray[Any, np.dtype[Any]], np.ndarray[Any, np.dtype[np.int64]]], None]


def _pcap(path: Path, settings: Settings) -> None:
    """Write a pcap file: nanosecond timestamps, little-endian."""
    size = settings.frame_bytes
    head = np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 65_535, 1], "<u4").tobytes()
    record = np.dtype(
        [(name, "<u4") for name in ("s", "ns", "captured", "wire")] + [("frame", "u1", (size,))]
    )

    def fill(records: Any, times: Any) -> None:
        records["s"], records["ns"] = np.divmod(times, 1_000_000_000)
        records["captured"] = records["wire"] = size

    _write_records(path, settings, head, record, fill)


def _pcapng(path: Path, settings: Settings) -> None:
    """Write a pcapng file: one section, one interface in nanoseconds, an enhanced packet block per frame."""
    size = settings.frame_bytes
    padded = -(-size // 4) * 4
    whole = 32 + padded
    section = np.array([0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0xFFFFFFFF, 0xFFFFFFFF, 28], "<u4").tobytes()
    interface = np.array([1, 32, 1, 65_535, 1 << 16 | 9, 9, 0, 32], "<u4").tobytes()  # if_tsresol = 9
    names = ("type", "length", "interface", "high", "low", "captured", "wire")
    record = np.dtype([(name, "<u4") for name in names] + [("frame", "u1", (padded,)), ("again", "<u4")])

    def fill(records: Any, times: Any) -> None:
        records["type"] = 6
        records["length"] = records["again"] = whole
        records["high"], records["low"] = np.divmod(times, 1 << 32)
        records["captured"] = records["wire"] = size

    _write_records(path, settings, section + interface, record, fill)
