"""Runs in processes side by side, so many at a time; each run in a process of its own.

A run starts worker processes itself, one a simulated processor, so what runs at a time is bounded by
``jobs``, not by them.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from engine.ending import end_with_parent, let_fork_server_end
from engine.service.compare.runs import Result, Run
from engine.service.compare.task import Answer, Failure, answer, decode_answer, encode_run
from engine.service.interrupts import whole
from engine.workers.pool import WAIT_AT_ONCE
from engine.workers.start import context

_FAREWELL_S: Final = 10.0


class RunFailedError(Exception):
    """A run did not come to its end; a sentence. ``unusable``: its scenario, capture or memory is why."""

    def __init__(self, sentence: str, *, unusable: bool) -> None:
        super().__init__(sentence)
        self.unusable = unusable


@dataclass
class Progress:
    """How far a comparison is: runs done, and the shares of those under way by label."""

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
    """Carry out runs, at most ``jobs`` at a time; results in their order.

    A run that finds too little memory beside others is tried again when it is alone. Raises RunFailedError at
    the first that fails; the others are ended then.
    """
    waiting = deque(range(len(runs)))
    again: deque[int] = deque()  # for want of memory
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
        with whole():
            _end_all(started)


def _start(run: Run, number: int, started: dict[Connection, _Started]) -> None:
    with whole():
        ours, theirs = context().Pipe()
        process = context().Process(  # type: ignore[attr-defined]
            target=main, args=(encode_run(run), theirs), name=f"vmq-run{number}"
        )
        process.start()
        theirs.close()
        started[ours] = _Started(number, process)


def _hear(pipe: Connection, one: _Started) -> Answer | float:
    """A share of the way, or what came of the run."""
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
    """Ask those under way to give up, so that they take down their workers and memory, and wait for that."""
    for one in started.values():
        if one.process.pid is not None and one.process.is_alive():
            if sys.platform == "win32":
                one.process.terminate()
            else:
                os.kill(one.process.pid, signal.SIGINT)
    for pipe in list(started):
        _end(pipe, started)


def main(run: bytes, pipe: Connection) -> None:
    """The process of a run: says how far it is, and at last what came of it."""
    end_with_parent()
    let_fork_server_end()
    try:
        _hear_one_interrupt()
        pipe.send_bytes(answer(run, lambda words: pipe.send_bytes(words)))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)  # whoever waited for it has gone, or wants no more of it


def _hear_one_interrupt() -> None:
    """A Ctrl-C, from the terminal or passed on, ends the run; a second one leaves it to clean up in peace."""

    def give_up(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, give_up)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
