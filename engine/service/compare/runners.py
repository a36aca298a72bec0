"""Executes runs, each in a separate process: several in parallel on this machine, or on a Dask cluster.

A run starts a worker process for each simulated processor, so ``jobs`` limits concurrent runs, not processes.
On a cluster each run is a task with the same result; the capture is sent along, so the cluster's workers need
only this version of vmqtui. Dask is optional (the extra ``cluster``).
"""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from engine.files import own_directory
from engine.scenario.values import one_line
from engine.service.compare.runs import (
    Answer,
    Failure,
    Result,
    Run,
    answer,
    decode_answer,
    encode_run,
    with_capture,
)
from engine.signals import end_with_parent, interrupts_deferred, let_fork_server_end
from engine.traffic.capture_file import CaptureFile
from engine.workers.pool import WAIT_AT_ONCE
from engine.workers.start import context, start

_FAREWELL_S: Final = 10.0


class RunFailedError(Exception):
    """A run failed; the text is a sentence. ``unusable``: because of its scenario, capture or memory."""

    def __init__(self, sentence: str, *, unusable: bool) -> None:
        super().__init__(sentence)
        self.unusable = unusable


@dataclass
class Progress:
    """Progress of a comparison: finished runs, and the finished share (0..1) of current runs by label."""

    done: int
    total: int
    under_way: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Started:
    number: int
    process: BaseProcess


def run_here(
    runs: Sequence[Run], jobs: int, progress: Callable[[Progress], None] = lambda progress: None
) -> list[Result]:
    """Execute at most ``jobs`` runs at a time; return the results in the order of the runs.

    A run that fails for lack of memory next to others is repeated alone. Raises RunFailedError at the first
    other failure, after ending the other runs.
    """
    waiting = deque(range(len(runs)))
    again: deque[int] = deque()  # runs to repeat alone, after failing for lack of memory
    alone: set[int] = set()
    results: dict[int, Result] = {}
    jobs = min(jobs, WAIT_AT_ONCE) if os.name == "nt" else jobs
    started: dict[Connection, _Started] = {}
    so_far = Progress(0, len(runs), {})
    try:
        while waiting or again or started:
            if not waiting and again and not started:
                number = again.popleft()
                alone.add(number)
                _start(runs[number], number, started)
            while waiting and len(started) < jobs:
                number = waiting.popleft()
                _start(runs[number], number, started)
            progress(so_far)
            for pipe in wait(list(started)):
                assert isinstance(pipe, Connection)
                one = started[pipe]
                said = _hear(pipe, one)
                if isinstance(said, float):
                    so_far.under_way[runs[one.number].label] = said
                    continue
                _end(pipe, started)
                so_far.under_way.pop(runs[one.number].label, None)
                if isinstance(said, Failure):
                    if said.kind == "memory" and jobs > 1 and one.number not in alone:
                        again.append(one.number)
                        continue
                    raise RunFailedError(
                        f"{runs[one.number].label}: {said.sentence}",
                        unusable=said.kind in ("unusable", "memory"),
                    )
                results[one.number] = said
                so_far.done += 1
        progress(so_far)
        return [results[number] for number in range(len(runs))]
    finally:
        with interrupts_deferred():
            _end_all(started)


def _start(run: Run, number: int, started: dict[Connection, _Started]) -> None:
    with interrupts_deferred():
        ours, theirs = context().Pipe()
        process = context().Process(  # type: ignore[attr-defined]  # typeshed leaves it out of BaseContext
            target=main, args=(encode_run(run), theirs), name=f"vmq-run{number}"
        )
        start(process)
        theirs.close()
        started[ours] = _Started(number, process)


def _hear(pipe: Connection, one: _Started) -> Answer | float:
    """Receive the next message of a run: its progress (0..1), its result or its failure."""
    try:
        words = pipe.recv_bytes()
    except (EOFError, OSError):
        one.process.join(_FAREWELL_S)
        code = one.process.exitcode
        how = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else f" (status {code})"
        return Failure("died", f"its process died{how}")
    return decode_answer(words)


def _end(pipe: Connection, started: dict[Connection, _Started]) -> None:
    one = started.pop(pipe)
    pipe.close()
    one.process.join(_FAREWELL_S)
    if one.process.is_alive():
        one.process.kill()
        one.process.join(_FAREWELL_S)
    one.process.close()


def _end_all(started: dict[Connection, _Started]) -> None:
    """Interrupt the current runs, so that they end their workers and remove their memory; wait for them."""
    for one in started.values():
        if one.process.pid is not None and one.process.is_alive():
            if sys.platform == "win32":
                one.process.terminate()
            else:
                os.kill(one.process.pid, signal.SIGINT)
    for pipe in list(started):
        _end(pipe, started)


def main(run: bytes, pipe: Connection) -> None:
    """Entry point of a run's process: send progress, then the result or failure, through ``pipe``."""
    end_with_parent()
    let_fork_server_end()
    try:
        _hear_one_interrupt()
        pipe.send_bytes(answer(run, lambda words: pipe.send_bytes(words)))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)  # the parent has ended or cancelled the run


def _hear_one_interrupt() -> None:
    """Let the first SIGINT, from the terminal or the parent, end the run; ignore later ones during
    cleanup."""

    def give_up(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, give_up)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


MAX_CAPTURE_BYTES: Final = 256 * 1024 * 1024
"""Largest capture that is sent to a cluster."""

_CONNECT_S: Final = 10


def run_on(
    url: str, runs: Sequence[Run], progress: Callable[[Progress], None] = lambda progress: None
) -> list[Result]:
    """Execute runs on the Dask cluster with the scheduler at ``url``; return results in the order of the
    runs.

    Raises RunFailedError, also if Dask or the scheduler is missing or the workers have another version.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise RunFailedError(
            "--dask: distributed is not installed (pip install 'vmqtui[cluster]' fits)", unusable=True
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # only the caller reports errors
    captures = _captures(runs)
    so_far = Progress(0, len(runs), {})
    results: dict[int, Result] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(url, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise RunFailedError(f"--dask: {url}: {_first_line(error)}", unusable=False) from None
        try:
            held = {capture: client.scatter(content) for capture, content in captures.items()}
            futures = {
                client.submit(_carry_out, encode_run(run), held.get(run.capture), pure=False): number
                for number, run in enumerate(runs)
            }
            progress(so_far)
            for future in as_completed(futures):
                number = futures[future]
                results[number] = _result(future, runs[number])
                so_far.done += 1
                progress(so_far)
        finally:
            client.close()  # which cancels unfinished tasks
    return [results[number] for number in range(len(runs))]


def _captures(runs: Sequence[Run]) -> dict[CaptureFile | None, bytes]:
    """Read each capture that the runs use. Raises RunFailedError if one is too large or unreadable."""
    found: dict[CaptureFile | None, bytes] = {}
    for capture in {run.capture for run in runs if run.capture is not None}:
        name = capture.name
        try:
            size = Path(capture.path).stat().st_size
            if size > MAX_CAPTURE_BYTES:
                raise RunFailedError(
                    f"--dask: {one_line(name)}: {size:,} bytes are too many to send"
                    f" ({MAX_CAPTURE_BYTES:,} fit)",
                    unusable=True,
                )
            found[capture] = Path(capture.path).read_bytes()
        except OSError as error:
            raise RunFailedError(f"{one_line(name)}: {error.strerror}", unusable=True) from None
    return found


def _result(future: Any, run: Run) -> Result:
    try:
        said = decode_answer(future.result())
    except Exception as error:  # any error of a Dask worker, or its death
        raise RunFailedError(f"{run.label}: on a worker: {_first_line(error)}", unusable=False) from None
    if isinstance(said, Failure):
        raise RunFailedError(f"{run.label}: {said.sentence}", unusable=said.kind in ("unusable", "memory"))
    assert isinstance(said, Result)
    return said


def _first_line(error: Exception) -> str:
    return one_line((str(error).strip() or type(error).__name__).splitlines()[0])


def _carry_out(order: bytes, capture: bytes | None) -> bytes:
    """A Dask task: a run in a subprocess, because Dask's daemonic workers may not have child processes."""
    with own_directory() as directory:
        if capture is not None:
            path = directory / hashlib.sha256(capture).hexdigest()[:16]
            path.write_bytes(capture)
            order = with_capture(order, str(path))
        done = subprocess.run(
            [sys.executable, "-m", "engine.service.compare.runs"],
            input=order,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it died")
    return done.stdout
