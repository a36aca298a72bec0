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
from typing import Final

from engine.files import try_lock
from engine.kernels.cache import CACHE_DIRECTORY, REFUSED, USED, complete, faults, forget_old

FIRST: Final = (
    "engine.kernels.serve",
    "engine.kernels.steer",
    "engine.traffic.synthetic_kernel",
    "engine.kernels.round_ends",
    "engine.kernels.latency",
    "engine.kernels.top",
)
"""Modules that define the kernels of every engine, the slowest first."""

OF_CAPTURES: Final = ("engine.traffic.capture_kernels",)
OF_TEAMS: Final = ("engine.traffic.team_kernels",)
MODULES: Final = (*FIRST, *OF_TEAMS, *OF_CAPTURES, "engine.traffic.plan_kernels")
"""All modules that define kernels but those of ``OF_INTERFACE``, in the order in which they are compiled."""

OF_INTERFACE: Final = ("engine.traffic.interface_kernels",)
"""Modules that only a live interface needs."""

OF_DEFAULT_QUEUE: Final = (*OF_INTERFACE, "engine.kernels.top")
"""Modules that a capture of a real adapter's default queue needs."""

_COMPILING: Final = "compiling kernels"
_WAITING: Final = "another process compiles the kernels, once"
_POLL_S: Final = 0.2
_LINE: Final = 78
_LONGEST_S: Final = 600.0
_NO_ROOM_STATUS: Final = 3
_COMPILE: Final = f"""
import gc, importlib, sys
gc.disable()  # a compiler's many small objects live on: searching them for garbage takes a tenth of the time
jit = None
for line in sys.stdin:
    module = line.strip()
    importlib.import_module(module)
    if (jit := sys.modules.get("engine.kernels.jit")) is not None:
        jit.Kernel.load_all(module)
    print(module, flush=True)
if jit is not None and jit.not_kept is not None:
    print(jit.not_kept.strerror)
    sys.exit({_NO_ROOM_STATUS})
"""
"""Compiles the modules that its standard input names, a line each, and prints each when it is done."""


_OTHERS: Final = """
import os
if hasattr(os, "nice"):
    os.nice(19)
from engine.kernels.prepare import prepare
prepare(lambda sentence: None)
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


def passes(sentence: str) -> bool:
    """Return whether a sentence of ``prepare`` is only about the moment, and no remark to keep."""
    return sentence.startswith((_COMPILING, _WAITING))


def tell(sentence: str) -> None:
    """Print a sentence on standard error, for programs without a ``progress`` of their own."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        sys.stderr.write(f"vmqtui: {sentence}\n")
        sys.stderr.flush()


def prepare(progress: Callable[[str], None] = tell, modules: Sequence[str] = MODULES) -> None:
    """Make sure that the cache has every kernel of ``modules`` undamaged.

    ``progress`` receives sentences while kernels compile, and if they can't be cached.

    If several processes start together, one compiles and the others wait. Raises KernelError.
    """
    if CACHE_DIRECTORY is None:
        return
    try:
        _prepare(CACHE_DIRECTORY, modules, progress, max(2, os.cpu_count() or 1))
    except (OSError, _NotKeptError) as error:
        progress(
            f"compiled kernels can't be kept in {CACHE_DIRECTORY}: they are compiled at every start ({error})"
        )


def of_engine(*, capture: bool = False, interface: bool = False, teams: bool = False) -> tuple[str, ...]:
    """Return the modules whose kernels an engine needs, by what feeds it and whether it has teams."""
    return (
        *FIRST,
        *(OF_CAPTURES if capture else ()),
        *(OF_INTERFACE if interface else ()),
        *(OF_TEAMS if teams else ()),
    )


def prepare_others() -> None:
    """Compile the kernels of ``MODULES`` that are not cached yet, in a process of low priority.

    It ends by itself. Whoever needs one of them sooner waits for it, as for any process that compiles.
    """
    if CACHE_DIRECTORY is None or not any(_faults(CACHE_DIRECTORY, MODULES).values()):
        return
    null = subprocess.DEVNULL
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-c", _OTHERS],
            stdin=null,
            stdout=null,
            stderr=null,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )


def _prepare(
    directory: Path, modules: Sequence[str], progress: Callable[[str], None], processes: int
) -> None:
    """Compile modules, or wait for a process that does; a file for each of them lists its kernels."""
    if any(_faults(directory, modules).values()):
        until_s = time.monotonic() + _LONGEST_S
        with (directory / "compiling").open("ab") as lock:
            if not try_lock(lock):
                progress(_WAITING)
                while not try_lock(lock) and time.monotonic() < until_s:
                    time.sleep(_POLL_S)
            found = _faults(directory, modules)
            missing = [module for module in modules if found[module]]
            if missing:
                for why in REFUSED:
                    progress(f"compiled kernels are kept in {directory}: {why}")
                if damaged := [why for module in missing for why in found[module] if why]:
                    progress(f"kernels are compiled again: {damaged[0]}")
                _compile_all(missing, progress, processes)
                for module in missing:
                    complete(directory, module)
                forget_old(directory)
    with contextlib.suppress(OSError):
        (directory / USED).touch()


def _faults(directory: Path, modules: Sequence[str]) -> dict[str, list[str]]:
    """Return for each module why its kernels have to be compiled; "" where they were not yet."""
    found = {module: faults(directory, module) for module in modules}
    return {module: [""] if whys is None else whys for module, whys in found.items()}


def _compile_all(modules: Sequence[str], progress: Callable[[str], None], processes: int) -> None:
    """Compile modules in the order given; each process takes the next one as soon as it is free."""
    waiting = [*modules]
    left = [*modules]
    running: list[subprocess.Popen[str]] = []
    output: queue.SimpleQueue[tuple[subprocess.Popen[str], str | None]] = queue.SimpleQueue()
    """Lines of processes; None: it has ended."""
    listening: list[threading.Thread] = []
    last_line = ""
    try:
        for _ in range(min(processes, len(modules))):
            running.append(_begin_compiler())
            listening.append(threading.Thread(target=_listen, args=(running[-1], output), daemon=True))
            listening[-1].start()
            _hand_next(running[-1], waiting)
        progress(_how_far(left, len(modules)))
        ended = 0
        while ended < len(running):
            process, line = output.get()
            if line is None:
                ended += 1
            elif line in left:
                left.remove(line)
                _hand_next(process, waiting)
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
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
        for thread in listening:
            thread.join()


def _hand_next(process: "subprocess.Popen[str]", waiting: list[str]) -> None:
    """Give a process the next module; if there is none, close its input, which ends it."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has ended, and says why
        if waiting:
            process.stdin.write(f"{waiting.pop(0)}\n")
            process.stdin.flush()
        else:
            process.stdin.close()


def _how_far(left: list[str], count: int) -> str:
    """Return a progress message that fits a terminal of 80 columns."""
    done = f"{_COMPILING}: {count - len(left)} of {count}"
    names = [name.rpartition(".")[2].removesuffix("s").removesuffix("_kernel") for name in left]
    names = [name.replace("_", " ") for name in names]
    shown = f"{done}; left: {', '.join(names)}" if left else done
    return shown if len(shown) <= _LINE else f"{shown[: _LINE - 3].rpartition(',')[0]}, …"


def _listen(
    process: "subprocess.Popen[str]",
    output: "queue.SimpleQueue[tuple[subprocess.Popen[str], str | None]]",
) -> None:
    assert process.stdout is not None
    try:
        with process.stdout as lines:
            for line in lines:
                output.put((process, line.strip()))
    finally:
        output.put((process, None))


def _begin_compiler() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMPILE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=Path(__file__).parents[2],
    )
