"""Compile every kernel before it is needed, in parallel processes, and report progress.

This module does not import Numba. If kernels can't be cached there is nothing to prepare: each process
compiles its own, and ``why_at_every_start`` and the messages of ``prepare`` say so.
"""

import contextlib
import os
import queue
import signal
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

_COMPILING: Final = "compiling kernels, once"
_WAITING: Final = "another process compiles the kernels, once"
_POLL_S: Final = 0.2
_LINE: Final = 78
_LONGEST_S: Final = 600.0
_UNSAVED: Final = "not kept: "
_COMPILE: Final = f"""
import gc, importlib, os, sys
gc.disable()  # a compiler's many small objects live on: searching them for garbage takes a tenth of the time
from engine.kernels import jit
jit.load_compiler()
forks, modules, children = int(sys.argv[1]), sys.argv[2:], []
while len(children) < forks:
    children.append(os.fork())
    if not children[-1]:
        children = []
        break
while place := os.read(0, 1):
    module = modules[place[0]]
    importlib.import_module(module)
    jit.Kernel.load_all((module,))
    print(module, flush=True)
if jit.not_kept is not None:
    print("{_UNSAVED}" + str(jit.not_kept.strerror), flush=True)
os._exit(any([os.waitpid(child, 0)[1] for child in children]))
"""
"""A process and its forks that compile modules, and print each when it is done.

Each takes the next module as soon as it is free: its place among the arguments, a byte of the standard input.
At the end it leaves at once: freeing all that a compiler has made takes most of a second.
"""


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
    left = [*modules]
    running: list[subprocess.Popen[str]] = []
    output: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    """Lines of processes; None: one has ended."""
    listening: list[threading.Thread] = []
    last_line = not_kept = ""
    try:
        running += _begin_compilers(modules, min(processes, len(modules)))
        for process in running:
            listening.append(threading.Thread(target=_listen, args=(process, output), daemon=True))
            listening[-1].start()
        progress(_how_far(left, len(modules)))
        ended = 0
        while ended < len(running):
            line = output.get()
            if line is None:
                ended += 1
            elif line in left:
                left.remove(line)
                progress(_how_far(left, len(modules)))
            elif line.startswith(_UNSAVED):
                not_kept = line.removeprefix(_UNSAVED)
            else:
                last_line = line or last_line
        if any(process.wait() for process in running):
            raise KernelError(f"kernels do not compile: {last_line}")
        if not_kept:
            raise _NotKeptError(not_kept)
    finally:
        for process in running:
            _end_with_its_forks(process)
        for thread in listening:
            thread.join()


def _begin_compilers(modules: Sequence[str], count: int) -> "list[subprocess.Popen[str]]":
    """Start processes that compile modules: one imports the compiler and forks; without fork, each does."""
    source, places = os.pipe()
    os.write(places, bytes(range(len(modules))))
    os.close(places)
    forks = count - 1 if hasattr(os, "fork") else 0
    try:
        return [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _COMPILE, str(forks), *modules],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
            for _ in range(count - forks)
        ]
    finally:
        os.close(source)


def _end_with_its_forks(process: "subprocess.Popen[str]") -> None:
    """Kill a compiler, if it has not ended."""
    if process.poll() is None and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _how_far(left: list[str], count: int) -> str:
    """Return a progress message that fits a terminal of 80 columns."""
    done = f"{_COMPILING}: {count - len(left)} of {count}"
    names = [name.rpartition(".")[2].removesuffix("s").removesuffix("_kernel") for name in left]
    names = [name.replace("_", " ") for name in names]
    shown = f"{done}; left: {', '.join(names)}" if left else done
    return shown if len(shown) <= _LINE else f"{shown[: _LINE - 3].rpartition(',')[0]}, …"


def _listen(process: "subprocess.Popen[str]", output: "queue.SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    try:
        with process.stdout as lines:
            for line in lines:
                output.put(line.strip())
    finally:
        output.put(None)
