"""Compile every kernel before it is needed: several at once, with a word on how far it is.

Light: nothing of Numba is loaded here. Where no cache directory can be written there is nothing to
prepare, each process compiles for itself, and ``prepare`` says so.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from engine.kernel_cache import CACHE_DIRECTORY

MODULES: Final = (
    "engine.dataplane.serve",
    "engine.traffic.synthetic_kernel",
    "engine.traffic.capture_kernels",
    "engine.dataplane.steer",
)
"""Modules that compile kernels when imported, the slowest first."""

_LOOK_AGAIN_S: Final = 0.2


class KernelError(Exception):
    """A kernel did not compile; the text holds what the compiler said last."""


def prepare(progress: Callable[[str], None]) -> None:
    """See to it that every kernel is in the cache; ``progress`` gets sentences while that takes time.

    Of several processes that start at once, one compiles and the others wait. Raises KernelError.
    """
    if CACHE_DIRECTORY is None:
        progress("no directory for compiled kernels can be written: they are compiled at every start")
        return
    done = CACHE_DIRECTORY / "complete"
    lock = CACHE_DIRECTORY / "compiling"
    while not done.exists():
        if _take(lock):
            try:
                _compile_all(progress)
                done.touch()
            finally:
                lock.unlink(missing_ok=True)
        else:
            progress("another process compiles the kernels, once")
            time.sleep(_LOOK_AGAIN_S)


def _take(lock: Path) -> bool:
    """Whether compiling is this process's business now; a lock whose holder is gone is nobody's."""
    try:
        with lock.open("x", encoding="ascii") as file:
            file.write(str(os.getpid()))
        return True
    except FileExistsError:
        with contextlib.suppress(OSError, ValueError):
            if not psutil.pid_exists(int(lock.read_text(encoding="ascii") or os.getpid())):
                lock.unlink(missing_ok=True)
        return False


def _compile_all(progress: Callable[[str], None]) -> None:
    processes = min(len(MODULES), max(2, os.cpu_count() or 1))
    running: list[tuple[int, subprocess.Popen[str]]] = []
    try:
        for first in range(processes):
            # Dealt to and fro, so that who has the slowest has the quickest too.
            share = [*MODULES[first :: 2 * processes], *MODULES[2 * processes - 1 - first :: 2 * processes]]
            running.append((len(share), _compile(share)))
        compiled = 0
        for count, process in running:
            progress(f"compiling kernels, once: {compiled} of {len(MODULES)} modules done")
            _, said = process.communicate()
            if process.returncode != 0:
                raise KernelError(f"kernels do not compile: {''.join(said.strip().splitlines()[-1:])}")
            compiled += count
    finally:
        for _, process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _compile(modules: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"import {', '.join(modules)}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
