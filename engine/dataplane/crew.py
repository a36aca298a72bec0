"""The worker processes of a host, one a processor, and the pipes to them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from engine.dataplane import shard
from engine.dataplane.layout import Sizes
from engine.dataplane.start import context

_READY_S: Final = 60.0
_FAREWELL_S: Final = 5.0
_LOOKS: Final = 10  # within a deadline


class WorkerDiedError(Exception):
    """A worker ended, or hung past its deadline and was killed."""

    def __init__(self, cpu: int, cause: str) -> None:
        super().__init__(f"the worker of CPU {cpu} {cause}")
        self.cpu = cpu


class WorkerNotReadyError(WorkerDiedError):
    """A worker that started did not get ready: one more would hardly do better."""


class _Watch:
    """Kills a worker that keeps the conductor waiting past a deadline: its pipe ends then, like a dead one's.

    A thread of its own, so that waiting for a reply is one blocking read.
    """

    def __init__(self, deadline_s: float, kill: Callable[[int], None]) -> None:
        self._deadline_s = deadline_s
        self._kill = kill
        self._awaited: tuple[int, float] | None = None
        self._hung = False
        self._deciding = threading.Lock()  # who has replied, or was replaced, is not killed any more
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-watch", daemon=True)
        self._thread.start()

    def begin(self, cpu: int) -> None:
        """A reply of this worker is awaited from now on."""
        with self._deciding:
            self._hung = False
            self._awaited = (cpu, time.monotonic())

    def end(self) -> bool:
        """Nothing is awaited any more; whether the worker was killed."""
        with self._deciding:
            self._awaited = None
            return self._hung

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._deadline_s / _LOOKS):
            with self._deciding:
                awaited = self._awaited
                if awaited is not None and time.monotonic() - awaited[1] > self._deadline_s:
                    self._hung = True
                    self._kill(awaited[0])


class Crew:
    """One process and one pipe a processor. Used from one thread."""

    def __init__(self, sizes: Sizes, block: str, deadline_s: float | None) -> None:
        self._sizes = sizes
        self._block = block
        self._deadline_s = deadline_s
        self._context = context()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._watch = None if deadline_s is None else _Watch(deadline_s, self._kill)
        try:
            for cpu in range(sizes.cpus):
                process, pipe = self._start(cpu)
                self._processes.append(process)
                self._pipes.append(pipe)
            for cpu in range(sizes.cpus):
                self._await_ready(cpu)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process ids, by processor."""
        return [process.pid or 0 for process in self._processes]

    def _start(self, cpu: int) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=shard.main,
            args=(shard.Place(cpu, self._block, self._sizes), theirs),
            name=f"vmq-cpu{cpu}",
            daemon=True,
        )
        process.start()
        theirs.close()
        return process, ours

    def _await_ready(self, cpu: int) -> None:
        try:
            ready = self._pipes[cpu].poll(_READY_S)
            if ready:
                self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(cpu, "ended while it started") from error
        if not ready:
            raise WorkerNotReadyError(cpu, f"was not ready within {_READY_S:.0f} s")

    def send(self, cpu: int, order: bytes) -> None:
        """Give a worker an order; raises WorkerDiedError."""
        try:
            self._pipes[cpu].send_bytes(order)
        except OSError as error:
            raise WorkerDiedError(cpu, "died") from error

    def receive(self, cpu: int) -> bytes:
        """A worker's reply to its last order; raises WorkerDiedError, also past the deadline."""
        if self._watch is not None:
            self._watch.begin(cpu)
        try:
            reply = self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            self._processes[cpu].join(_FAREWELL_S)  # it must not write while its rows are mended
            hung = self._watch is not None and self._watch.end()
            cause = f"hung for {self._deadline_s:g} s and was killed" if hung else "died"
            raise WorkerDiedError(cpu, cause) from error
        if self._watch is not None:
            self._watch.end()
        return reply

    def _kill(self, cpu: int) -> None:
        self._processes[cpu].kill()

    def dead(self) -> Iterable[int]:
        """Processors whose worker has ended."""
        cpus = {process.sentinel: cpu for cpu, process in enumerate(self._processes)}
        return sorted(cpus[sentinel] for sentinel in wait(list(cpus), timeout=0) if isinstance(sentinel, int))

    def replace(self, cpu: int) -> None:
        """Put a new worker in the place of one that died; raises WorkerDiedError if it dies too."""
        self._pipes[cpu].close()
        self._processes[cpu].kill()
        self._processes[cpu].join(_FAREWELL_S)
        self._processes[cpu], self._pipes[cpu] = self._start(cpu)
        self._await_ready(cpu)

    def close(self) -> None:
        """End all workers: their pipes close, and who has not gone then is killed."""
        if self._watch is not None:
            self._watch.close()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        for process in self._processes:
            process.join(_FAREWELL_S)
            if process.is_alive():
                process.kill()
                process.join(_FAREWELL_S)
            process.close()
        self._pipes.clear()
        self._processes.clear()
