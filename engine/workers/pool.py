"""The worker processes of a host, one a processor, and the pipes to them."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from engine.kernels.layout import Sizes
from engine.workers import shard
from engine.workers.start import context
from engine.workers.watch import Watch

WAIT_AT_ONCE: Final = 60
"""Processes or pipes that are waited for by one call: Windows takes 63 before Python 3.13."""
_FIRST_READY_S: Final = 60.0  # all start at once, on a machine that may be busy
_FAREWELL_S: Final = 5.0
_ASK_AFTER: Final = 0.2  # of a deadline
_LOOK_S: Final = 0.25  # between two looks at those that wait, at most, unless this process is not running
_PAUSE_S: Final = 1.0
_UNHEARD: Final = 255  # what the fork server's end makes of its children's


class WorkerDiedError(Exception):
    """A worker ended, or hung past its deadline and was killed."""

    def __init__(self, cpu: int, cause: str) -> None:
        super().__init__(f"the worker of CPU {cpu} {cause}")
        self.cpu = cpu


class Crew:
    """One process and one pipe a processor. Used from one thread.

    ``deadline_s``: who has hung for that long has been killed by then, None: nobody hangs. A worker that
    waits for an order is asked several times within that time whether it is there: by an order to do nothing.
    """

    def __init__(self, sizes: Sizes, block: str, deadline_s: float | None) -> None:
        self._sizes = sizes
        self._block = block
        self._deadline_s = deadline_s
        self._context = context()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._polls: list[Callable[[float], bool]] = []  # whether a word comes within so many seconds
        self._killed: set[int] = set()  # whose worker hung
        self._heard_s = [time.monotonic()] * sizes.cpus  # when each last replied
        self._owing: dict[int, float] = {}  # who was asked when, and has not answered
        self._looked_s = time.monotonic()
        self._orders_out = [0] * sizes.cpus
        self._since_s = [0.0] * sizes.cpus  # when each came to owe its next reply, on the watch's clock
        self._watch = None if deadline_s is None else Watch(deadline_s, self._kill)
        try:
            for cpu in range(sizes.cpus):
                process, pipe = self._start(cpu)
                self._processes.append(process)
                self._pipes.append(pipe)
                self._polls.append(_poll_of(pipe))
            for cpu in range(sizes.cpus):
                if not self.is_ready(cpu, _FIRST_READY_S):
                    raise WorkerDiedError(cpu, f"was not ready within {_FIRST_READY_S:.0f} s")
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

    def is_ready(self, cpu: int, within_s: float = 0.0) -> bool:
        """Whether a worker that starts has said that it is ready, to be asked until it has."""
        try:
            ready = self._pipes[cpu].poll(within_s)
            if ready:
                self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(cpu, f"ended while it started{self._how(cpu)}") from error
        return ready

    def send(self, cpu: int, order: bytes) -> None:
        """Give a worker an order; raises WorkerDiedError."""
        try:
            self._pipes[cpu].send_bytes(order)
        except OSError as error:
            raise self.death(cpu) from error
        if self._watch is not None and not self._orders_out[cpu]:
            self._since_s[cpu] = self._watch.ran_s()
        self._orders_out[cpu] += 1

    def has_word(self, cpu: int) -> bool:
        """Whether a worker has replied, or ended, within a moment; to be asked until it has."""
        if self._watch is not None:
            self._watch.begin(cpu, self._since_s[cpu])
        if not self._polls[cpu](_LOOK_S):
            return False
        with contextlib.suppress(EOFError, OSError):  # which is a word
            if cpu in self._owing:
                self._hear_answer(cpu)
                return self._polls[cpu](0.0)
        return True

    def _hear_answer(self, cpu: int) -> None:
        """The answer to an earlier question."""
        self._pipes[cpu].recv_bytes()
        del self._owing[cpu]

    def receive(self, cpu: int) -> bytes:
        """A worker's reply to its last order; raises WorkerDiedError, also past the deadline."""
        if self._watch is not None:
            self._watch.begin(cpu, self._since_s[cpu])
        try:
            if cpu in self._owing:
                self._hear_answer(cpu)
            reply = self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            if self._watch is not None:
                self._watch.end()
            raise self.death(cpu) from error
        self._orders_out[cpu] -= 1
        if self._watch is not None:
            self._watch.end()
            self._since_s[cpu] = self._watch.ran_s()
        if len(reply) % shard.WORD:
            raise self.death(cpu, reply)
        self._heard_s[cpu] = time.monotonic()
        return reply

    def death(self, cpu: int, last_words: bytes = b"") -> WorkerDiedError:
        """What became of a worker; it has ended when this returns: rows are about to be mended."""
        self._end(self._processes[cpu])
        if self._processes[cpu].exitcode == _UNHEARD:
            self._end_unheard(cpu)
        if cpu in self._killed:
            return WorkerDiedError(cpu, f"hung for {self._deadline_s:g} s and was killed")
        said = f": {last_words.decode(errors='replace').strip()}" if last_words else self._how(cpu)
        return WorkerDiedError(cpu, f"died{said}")

    def _how(self, cpu: int) -> str:
        """How a process that has ended did, as far as the system tells."""
        code = self._processes[cpu].exitcode
        if code is None or code == 0:
            return ""
        with contextlib.suppress(ValueError):
            return f" ({signal.Signals(-code).name})"
        return f" (status {code})"

    def _end(self, process: BaseProcess) -> None:
        process.join(_FAREWELL_S)
        if process.is_alive():
            process.kill()
            process.join(_FAREWELL_S)

    def _end_unheard(self, cpu: int) -> None:
        """Have a worker end of which nobody can tell whether it has: the fork server is gone."""
        pid = self._processes[cpu].pid
        if pid is not None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            while self._polls[cpu](_FAREWELL_S):  # the end of its pipe: it runs no more
                self._pipes[cpu].recv_bytes()

    def _kill(self, cpu: int) -> None:
        """Kill a worker that hangs; the watch's thread does that, too."""
        self._killed.add(cpu)
        self._processes[cpu].kill()

    def dead(self) -> Iterable[int]:
        """Processors whose worker has ended."""
        cpus = {process.sentinel: cpu for cpu, process in enumerate(self._processes)}
        sentinels = list(cpus)
        groups = [sentinels[k : k + WAIT_AT_ONCE] for k in range(0, len(sentinels), WAIT_AT_ONCE)]
        ended = [sentinel for group in groups for sentinel in wait(group, timeout=0)]
        return sorted(cpus[sentinel] for sentinel in ended if isinstance(sentinel, int))

    def deaths(self, away: Iterable[int] = ()) -> list[WorkerDiedError]:
        """Who has died, or hung and been killed, while it waited for an order; no order may be out.

        ``away`` are processors that have no worker, which is known. To be called several times a second.
        """
        return [self.death(cpu) for cpu in self.gone(away)]

    def gone(self, away: Iterable[int] = ()) -> list[int]:
        """Processors whose worker has died, or hung and been killed; not those that are ``away``.

        Orders may be out, and replies may wait to be received.
        """
        found = [cpu for cpu in self.dead() if cpu not in away]
        if self._deadline_s is None:
            return found
        others = [cpu for cpu in range(self._sizes.cpus) if cpu not in {*away, *found}]
        idle = [cpu for cpu in others if not self._orders_out[cpu]]
        found += self._hung(idle, self._deadline_s)
        for cpu in set(others).difference(idle):
            late = self._watch is not None and self._watch.is_late(self._since_s[cpu])
            if late and not self._polls[cpu](0.0):
                self._kill(cpu)
                found.append(cpu)
        return found

    def _hung(self, cpus: list[int], deadline_s: float) -> list[int]:
        """Ask those that have not been heard of for a while; who has hung is killed."""
        now_s = time.monotonic()
        if now_s - self._looked_s > _PAUSE_S:  # this process was stopped, and so perhaps were they
            pause_s = now_s - self._looked_s
            self._heard_s = [at_s + pause_s for at_s in self._heard_s]
            self._owing = {cpu: at_s + pause_s for cpu, at_s in self._owing.items()}
        self._looked_s = now_s
        found = []
        for cpu in cpus:
            silent_s = now_s - self._heard_s[cpu]
            with contextlib.suppress(EOFError, OSError):  # it dies just now, which the next look finds
                if cpu not in self._owing:
                    if silent_s > _ASK_AFTER * deadline_s:
                        self._pipes[cpu].send_bytes(shard.NOTHING)
                        self._owing[cpu] = now_s
                elif self._pipes[cpu].poll():
                    self._hear_answer(cpu)
                    self._heard_s[cpu] = now_s
                elif silent_s > deadline_s - _LOOK_S and now_s - self._owing[cpu] >= _LOOK_S / 2:
                    self._kill(cpu)
                    found.append(cpu)
        return found

    def start(self, cpu: int) -> None:
        """Put a new worker in the place of one that died; ``is_ready`` tells when it can be given orders.

        Raises WorkerDiedError when the system lets no process start.
        """
        dead = self._processes[cpu]
        self._pipes[cpu].close()
        dead.kill()
        dead.join(_FAREWELL_S)
        self._owing.pop(cpu, None)
        self._killed.discard(cpu)
        try:
            self._processes[cpu], self._pipes[cpu] = self._start(cpu)
            self._polls[cpu] = _poll_of(self._pipes[cpu])
        except (OSError, EOFError) as error:
            raise WorkerDiedError(cpu, f"could not be started: {error}") from error
        with contextlib.suppress(ValueError):  # not even killing ended it
            dead.close()
        self._heard_s[cpu] = time.monotonic()
        self._orders_out[cpu] = 0

    def close(self) -> None:
        """End all workers: their pipes close, and who has not gone within a few seconds is killed."""
        if self._watch is not None:
            self._watch.close()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        for kill in (False, True):
            until_s = time.monotonic() + _FAREWELL_S
            left = [process for process in self._processes if process.is_alive()]
            for process in left:
                if kill:
                    process.kill()
            for process in left:
                process.join(max(0.0, until_s - time.monotonic()))
        for process in self._processes:
            with contextlib.suppress(ValueError):
                process.close()
        self._pipes.clear()
        self._processes.clear()


def _poll_of(pipe: Connection) -> Callable[[float], bool]:
    """``pipe.poll``, without what that makes anew each time it is called."""
    if not hasattr(select, "poll"):
        return pipe.poll
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLIN)
    return lambda within_s: bool(poll.poll(within_s * 1000))
