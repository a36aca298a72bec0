"""Compile every kernel before it is needed: several at once, with a word on how far it is.

Light: nothing of Numba is loaded here. Where no cache directory can be written there is nothing to
prepare, each process compiles for itself, and ``prepare`` says so.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.kernel_cache import CACHE_DIRECTORY

MODULES: Final = (
    "engine.dataplane.serve",
    "engine.traffic.synthetic_kernel",
    "engine.traffic.capture_kernels",
    "engine.dataplane.steer",
)
"""Modules that compile kernels when imported, the slowest first."""


class KernelError(Exception):
    """A kernel did not compile; the text holds what the compiler said last."""


def prepare(progress: Callable[[str], None]) -> None:
    """See to it that every kernel is in the cache; ``progress`` gets sentences while that takes time.

    Raises KernelError.
    """
    if CACHE_DIRECTORY is None:
        progress("no directory for compiled kernels can be written: they are compiled at every start")
        return
    done = CACHE_DIRECTORY / "complete"
    if done.exists():
        return
    waiting = list(MODULES)
    running: dict[str, subprocess.Popen[str]] = {}
    compiled = 0
    try:
        while waiting or running:
            while waiting and len(running) < max(2, os.cpu_count() or 1):
                module = waiting.pop(0)
                running[module] = subprocess.Popen(
                    [sys.executable, "-c", f"import {module}"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parent.parent,
                )
            progress(f"compiling kernels, once: {compiled} of {len(MODULES)} done")
            module = next(iter(running))
            _, said = running[module].communicate()
            if running.pop(module).returncode != 0:
                raise KernelError(f"kernels of {module} do not compile: {said.strip().splitlines()[-1:]}")
            compiled += 1
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    done.touch()
