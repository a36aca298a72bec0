"""Compile every kernel before it is needed: several at once, with a word on how far it is.

Light: nothing of Numba is loaded here. Where no cache directory can be written there is nothing to
prepare, each process compiles for itself, and ``prepare`` says so.
"""

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import psutil

from engine.kernel_cache import CACHE_DIRECTORY, COMPLETE, forget_old

MODULES: Final = (
    "engine.dataplane.serve",
    "engine.traffic.synthetic_kernel",
    "engine.traffic.capture_kernels",
    "engine.traffic.plan_kernels",
    "engine.dataplane.steer",
)
"""Modules that compile kernels when imported, the slowest first."""

_LOOK_AGAIN_S: Final = 0.2
_LONGEST_S: Final = 600.0
_COMPILE: Final = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    print(module, flush=True)
"""


class KernelError(Exception):
    """A kernel did not compile; the text holds what the compiler said last."""


def prepare(progress: Callable[[str], None]) -> None:
    """See to it that every kernel is in the cache; ``progress`` gets sentences while that takes time.

    Of several processes that start at once, one compiles and the others wait. Raises KernelError.
    """
    if CACHE_DIRECTORY is None:
        progress("no directory for compiled kernels can be written: they are compiled at every start")
        return
    done = CACHE_DIRECTORY / COMPLETE
    lock = CACHE_DIRECTORY / "compiling"
    waits = False
    while not done.exists():
        if _take(lock):
            try:
                _compile_all(progress)
                done.touch()
                forget_old(CACHE_DIRECTORY)
            finally:
                lock.unlink(missing_ok=True)
        else:
            if not waits:
                progress("another process compiles the kernels, once")
                waits = True
            time.sleep(_LOOK_AGAIN_S)
    with contextlib.suppress(OSError):
        done.touch()  # in use, still


def _take(lock: Path) -> bool:
    """Whether compiling is this process's business now; a lock whose holder is gone is nobody's."""
    try:
        with lock.open("x", encoding="ascii") as file:
            file.write(str(os.getpid()))
        return True
    except FileExistsError:
        with contextlib.suppress(OSError, ValueError):
            holder = int(lock.read_text(encoding="ascii") or os.getpid())
            if not psutil.pid_exists(holder) or time.time() - lock.stat().st_mtime > _LONGEST_S:
                lock.unlink(missing_ok=True)
        return False


def _compile_all(progress: Callable[[str], None]) -> None:
    processes = min(len(MODULES), max(2, os.cpu_count() or 1))
    running: list[subprocess.Popen[str]] = []
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # lines; None: a process has ended
    left = [*MODULES]
    said = ""
    try:
        for first in range(processes):
            # Dealt to and fro, so that who has the slowest has the quickest too.
            share = [*MODULES[first :: 2 * processes], *MODULES[2 * processes - 1 - first :: 2 * processes]]
            running.append(_compile(share))
            assert running[-1].stdout is not None
            threading.Thread(target=_listen, args=(running[-1].stdout, heard), daemon=True).start()
        progress(_how_far(left))
        ended = 0
        while ended < processes:
            line = heard.get()
            if line is None:
                ended += 1
            elif line in left:
                left.remove(line)
                progress(_how_far(left))
            else:
                said = line or said
        if any(process.wait() != 0 for process in running):
            raise KernelError(f"kernels do not compile: {said}")
    finally:
        for process in running:
            process.kill()
            process.wait()


def _how_far(left: list[str]) -> str:
    """A sentence that fits a terminal of 80 columns."""
    done = f"compiling kernels: {len(MODULES) - len(left)} of {len(MODULES)} done"
    names = [name.rpartition(".")[2].removesuffix("s").removesuffix("_kernel") for name in left]
    return f"{done}; left: {', '.join(names)}" if left else done


def _listen(lines: Iterable[str], heard: "queue.SimpleQueue[str | None]") -> None:
    try:
        for line in lines:
            heard.put(line.strip())
    finally:
        heard.put(None)


def _compile(modules: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMPILE, *modules],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=Path(__file__).parent.parent,
    )
