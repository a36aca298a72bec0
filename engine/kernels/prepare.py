"""Compile every kernel before it is needed, in parallel processes, and report progress.

This module does not import Numba. If kernels can't be cached there is nothing to prepare: each process
compiles its own, and ``why_at_every_start`` and the messages of ``prepare`` say so.
"""

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from engine.files import try_lock
from engine.kernels.cache import CACHE_DIRECTORY, COMPLETE, REFUSED, complete, faults, forget_old

MODULES: Final = (
    "engine.kernels.serve",
    "engine.traffic.synthetic_kernel",
    "engine.traffic.capture_kernels",
    "engine.traffic.plan_kernels",
    "engine.traffic.team_kernels",
    "engine.kernels.steer",
)
"""Modules that define kernels, the slowest first."""

OF_INTERFACE: Final = ("engine.traffic.interface_kernels",)
"""Modules that only a live interface needs; pass them as ``also`` if there is one."""

_POLL_S: Final = 0.2
_LONGEST_S: Final = 600.0
_NO_ROOM_STATUS: Final = 3
_COMPILE: Final = f"""
import importlib, sys
jit = None
for module in sys.argv[1:]:
    importlib.import_module(module)
    if (jit := sys.modules.get("engine.kernels.jit")) is not None:
        jit.Kernel.load_all()
    print(module, flush=True)
if jit is not None and jit.not_kept is not None:
    print(jit.not_kept.strerror)
    sys.exit({_NO_ROOM_STATUS})
"""


class KernelError(Exception):
    """A kernel did not compile; the text has the compiler's last line."""


class _NotKeptError(Exception):
    """Kernels compile but can't be cached; the text says why."""


def why_at_every_start() -> str | None:
    """Return a sentence that says why kernels can't be cached, or None if they can."""
    if CACHE_DIRECTORY is not None:
        return None
    return f"no directory can keep compiled kernels: they are compiled at every start ({'; '.join(REFUSED)})"


def tell(sentence: str) -> None:
    """Print a sentence on standard error, for programs without a ``progress`` of their own."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        sys.stderr.write(f"vmqtui: {sentence}\n")
        sys.stderr.flush()


def prepare(progress: Callable[[str], None] = tell, also: Sequence[str] = ()) -> None:
    """Make sure that the cache has every kernel undamaged, including those of the modules ``also``.

    ``progress`` receives sentences while kernels compile, and if they can't be cached.

    If several processes start together, one compiles and the others wait. Raises KernelError.
    """
    if CACHE_DIRECTORY is None:
        return
    try:
        _prepare(CACHE_DIRECTORY, CACHE_DIRECTORY / COMPLETE, MODULES, progress)
        for module in also:  # in sequence, because they share kernels with earlier modules
            _prepare(CACHE_DIRECTORY, CACHE_DIRECTORY / module, (module,), progress)
    except (OSError, _NotKeptError) as error:
        progress(
            f"compiled kernels can't be kept in {CACHE_DIRECTORY}: they are compiled at every start ({error})"
        )


def _prepare(directory: Path, done: Path, modules: Sequence[str], progress: Callable[[str], None]) -> None:
    """Compile modules, or wait for a process that does; then the file ``done`` lists their kernels."""
    found = faults(done)
    if found != []:
        until_s = time.monotonic() + _LONGEST_S
        with (directory / "compiling").open("ab") as lock:
            if not try_lock(lock):
                progress("another process compiles the kernels, once")
                while not try_lock(lock) and time.monotonic() < until_s:
                    time.sleep(_POLL_S)
            found = faults(done)
            if found != []:
                for why in REFUSED:
                    progress(f"compiled kernels are kept in {directory}: {why}")
                if found:
                    progress(f"kernels are compiled again: {found[0]}")
                _compile_all(modules, progress)
                complete(done)
                forget_old(directory)
    with contextlib.suppress(OSError):
        done.touch()  # its mtime marks the cache as in use


def _compile_all(modules: Sequence[str], progress: Callable[[str], None]) -> None:
    processes = min(len(modules), max(2, os.cpu_count() or 1))
    running: list[subprocess.Popen[str]] = []
    output: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # lines; None: a process has ended
    listening: list[threading.Thread] = []
    left = [*modules]
    last_line = ""
    try:
        for first in range(processes):
            # Deal in a zigzag, so that the process with the slowest module also gets the fastest.
            share = [*modules[first :: 2 * processes], *modules[2 * processes - 1 - first :: 2 * processes]]
            running.append(_compile(share))
            assert running[-1].stdout is not None
            listening.append(threading.Thread(target=_listen, args=(running[-1].stdout, output), daemon=True))
            listening[-1].start()
        progress(_how_far(left, len(modules)))
        ended = 0
        while ended < processes:
            line = output.get()
            if line is None:
                ended += 1
            elif line in left:
                left.remove(line)
                progress(_how_far(left, len(modules)))
            else:
                last_line = line or last_line
        ends = {process.wait() for process in running}
        if ends <= {0, _NO_ROOM_STATUS}:
            if _NO_ROOM_STATUS in ends:
                raise _NotKeptError(last_line)
            return
        raise KernelError(f"kernels do not compile: {last_line}")
    finally:
        for process in running:
            process.kill()
            process.wait()
        for thread in listening:
            thread.join()


def _how_far(left: list[str], count: int) -> str:
    """Return a progress message that fits a terminal of 80 columns."""
    done = f"compiling kernels: {count - len(left)} of {count}"
    names = [name.rpartition(".")[2].removesuffix("s").removesuffix("_kernel") for name in left]
    return f"{done}; left: {', '.join(names)}" if left else done


def _listen(lines: IO[str], output: "queue.SimpleQueue[str | None]") -> None:
    try:
        with lines:
            for line in lines:
                output.put(line.strip())
    finally:
        output.put(None)


def _compile(modules: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMPILE, *modules],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=Path(__file__).parents[2],
    )
