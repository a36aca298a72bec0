"""The worker processes of a host, one a processor, and the pipes to them."""

import contextlib
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from engine.dataplane import shard
from engine.dataplane.layout import Sizes
from engine.dataplane.start import context

_READY_S: Final = 60.0
_FAREWELL_S: Final = 5.0


class WorkerDiedError(Exception):
    """A worker ended, or hung past its deadline and was killed."""

    def __init__(self, cpu: int, cause: str) -> None:
        super().__init__(f"the worker of CPU {cpu} {cause}")
        self.cpu = cpu


class Crew:
    """One process and one pipe a processor. Used from one thread."""

    def __init__(self, sizes: Sizes, block: str, deadline_s: float | None) -> None:
        self._sizes = sizes
        self._block = block
        self._deadline_s = deadline_s
        self._context = context()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
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
        if not self._pipes[cpu].poll(_READY_S):
            raise WorkerDiedError(cpu, f"was not ready within {_READY_S:.0f} s")
        try:
            self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(cpu, "ended while it started") from error

    def send(self, cpu: int, order: bytes) -> None:
        """Give a worker an order; raises WorkerDiedError."""
        try:
            self._pipes[cpu].send_bytes(order)
        except OSError as error:
            raise WorkerDiedError(cpu, "died") from error

    def receive(self, cpu: int) -> bytes:
        """A worker's reply to its last order; raises WorkerDiedError, also past the deadline."""
        pipe = self._pipes[cpu]
        try:
            if self._deadline_s is not None and not pipe.poll(self._deadline_s):
                self._processes[cpu].kill()
                self._processes[cpu].join(_FAREWELL_S)  # it must not write while its rows are mended
                raise WorkerDiedError(cpu, f"hung for {self._deadline_s:g} s and was killed")
            return pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(cpu, "died") from error

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
