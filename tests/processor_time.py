"""Bounds in time that hold on a busy machine, too."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from vmqtui.testing import wait_until


@contextmanager
def spinning() -> Iterator[Callable[[], float]]:
    """Run a process that always wants a processor; yield a function that gives the seconds it got so far.

    On an idle machine they are those of the clock. On a busy one they are fewer, as for every process.
    """
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL) as process:
        times = psutil.Process(process.pid).cpu_times
        try:
            yield lambda: sum(times()[:2])
        finally:
            process.kill()


def wait_within(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds; fail once a process that always runs if it can has run for so long."""
    with spinning() as got_s:
        wait_until(lambda: condition() or got_s() > seconds, what=what)
        assert condition(), f"{what} took longer than {seconds:g} s"
