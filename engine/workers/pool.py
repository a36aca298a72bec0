"""The pool: a worker process for each simulated processor, its pipe and its deadline."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from engine.kernels.layout import Sizes
from engine.workers import shard
from engine.workers.start import context, start

WAIT_AT_ONCE: Final = 60
"""Limit of processes or pipes for one ``wait`` call: before Python 3.13, Windows allows 63."""
_FIRST_READY_S: Final = 60.0  # all start together, on a machine that may be busy
_JOIN_S: Final = 5.0
_PING_AFTER: Final = 0.2  # fraction of the deadline
_POLL_S: Final = 0.25  # maximum between two polls of idle workers, unless this process is stopped
_PAUSE_S: Final = 1.0
_STATUS_UNKNOWN: Final = 255  # exit code of workers after the fork server has exited

_CHECKS: Final = 10  # watchdog checks within a deadline
_KILLED_AT: Final = 0.95  # fraction of the deadline, so that the death is reported by its end
_GRACE: Final = 0.1  # fraction of the deadline that an awaited reply gets at least: it may be on its way


class WorkerDiedError(Exception):
    """A worker ended, or hung past its deadline and was killed."""

    def __init__(self, cpu: int, cause: str) -> None:
        super().__init__(f"the worker of CPU {cpu} {cause}")
        self.cpu = cpu


class WorkerPool:
    """One process and one pipe for each processor. Use it from one thread.

    A worker that hangs is killed within ``deadline_s``; None: never. A worker that waits for an order is
    pinged within that time.
    """

    def __init__(self, sizes: Sizes, block: str, deadline_s: float | None) -> None:
        self._sizes = sizes
        self._block = block
        self._deadline_s = deadline_s
        self._context = context()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._polls: list[Callable[[float], bool]] = []  # poll for a reply, up to a timeout in seconds
        self._killed: set[int] = set()  # processors whose worker was killed because it hung
        self._replied_s = [time.monotonic()] * sizes.cpus  # when each last replied
        self._pinged: dict[int, float] = {}  # time of each ping that has no reply yet
        self._polled_s = time.monotonic()
        self._orders_out = [0] * sizes.cpus
        self._since_s = [0.0] * sizes.cpus  # since when each owes its next reply, in ``Watchdog.ran_s``
        self._watchdog = None if deadline_s is None else Watchdog(deadline_s, self._kill)
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
        # Typeshed's BaseContext lacks ``Process``.
        process = self._context.Process(  # type: ignore[attr-defined]
            target=shard.main,
            args=(shard.Place(cpu, self._block, self._sizes), theirs),
            name=f"vmq-cpu{cpu}",
            daemon=True,
        )
        start(process)
        theirs.close()
        return process, ours

    def is_ready(self, cpu: int, within_s: float = 0.0) -> bool:
        """Poll for a starting worker's ready message; don't call it again after True."""
        try:
            ready = self._pipes[cpu].poll(within_s)
            if ready:
                self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(cpu, f"ended while it started{self._exit_status(cpu)}") from error
        return ready

    def send(self, cpu: int, order: bytes) -> None:
        """Send a worker an order; raises WorkerDiedError."""
        try:
            self._pipes[cpu].send_bytes(order)
        except OSError as error:
            raise self.death(cpu) from error
        if self._watchdog is not None and not self._orders_out[cpu]:
            self._since_s[cpu] = self._watchdog.ran_s()
        self._orders_out[cpu] += 1

    def has_reply(self, cpu: int) -> bool:
        """Poll for a worker's reply or death for up to ``_POLL_S``; True: ``receive`` won't block."""
        if self._watchdog is not None:
            self._watchdog.begin(cpu, self._since_s[cpu])
        if not self._polls[cpu](_POLL_S):
            return False
        with contextlib.suppress(EOFError, OSError):  # the worker has died
            if cpu in self._pinged:
                self._receive_pong(cpu)
                return self._polls[cpu](0.0)
        return True

    def _receive_pong(self, cpu: int) -> None:
        """Receive the reply to an earlier ping."""
        self._pipes[cpu].recv_bytes()
        del self._pinged[cpu]

    def receive(self, cpu: int) -> bytes:
        """Receive a worker's next reply; raises WorkerDiedError, also after the deadline."""
        if self._watchdog is not None:
            self._watchdog.begin(cpu, self._since_s[cpu])
        try:
            if cpu in self._pinged:
                self._receive_pong(cpu)
            reply = self._pipes[cpu].recv_bytes()
        except (EOFError, OSError) as error:
            if self._watchdog is not None:
                self._watchdog.end()
            raise self.death(cpu) from error
        self._orders_out[cpu] -= 1
        if self._watchdog is not None:
            self._watchdog.end()
            self._since_s[cpu] = self._watchdog.ran_s()
        if len(reply) % shard.WORD:
            raise self.death(cpu, reply)
        self._replied_s[cpu] = time.monotonic()
        return reply

    def death(self, cpu: int, failure: bytes = b"") -> WorkerDiedError:
        """End a dying worker and return the error; afterwards its rows can be recovered."""
        self._end(self._processes[cpu])
        if self._processes[cpu].exitcode == _STATUS_UNKNOWN:
            self._end_untracked(cpu)
        if cpu in self._killed:
            return WorkerDiedError(cpu, f"hung for {self._deadline_s:g} s and was killed")
        how = f": {failure.decode(errors='replace').strip()}" if failure else self._exit_status(cpu)
        return WorkerDiedError(cpu, f"died{how}")

    def _exit_status(self, cpu: int) -> str:
        """Return a worker's signal or exit status in brackets, or "" if it is 0 or unknown."""
        code = self._processes[cpu].exitcode
        if code is None or code == 0:
            return ""
        with contextlib.suppress(ValueError):
            return f" ({signal.Signals(-code).name})"
        return f" (status {code})"

    def _end(self, process: BaseProcess) -> None:
        process.join(_JOIN_S)
        if process.is_alive():
            process.kill()
            process.join(_JOIN_S)

    def _end_untracked(self, cpu: int) -> None:
        """Kill a worker whose state is unknown because the fork server has exited."""
        pid = self._processes[cpu].pid
        if pid is not None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            while self._polls[cpu](_JOIN_S):  # until EOF: the worker has exited
                self._pipes[cpu].recv_bytes()

    def all_reply(self) -> bool:
        """Return whether every worker replies to a ping; no order may be out, and no worker be missing."""
        try:
            for cpu in range(self._sizes.cpus):
                if cpu not in self._pinged:
                    self._pipes[cpu].send_bytes(shard.PING)
                    self._pinged[cpu] = time.monotonic()
            for cpu in range(self._sizes.cpus):
                if not self._polls[cpu](_JOIN_S):
                    return False
                self._receive_pong(cpu)
                self._replied_s[cpu] = time.monotonic()
        except (EOFError, OSError):
            return False
        return True

    def _kill(self, cpu: int) -> None:
        """Kill a worker that hangs; also called in the watchdog's thread."""
        self._killed.add(cpu)
        self._processes[cpu].kill()

    def dead(self) -> Iterable[int]:
        """Return the processors whose worker has exited."""
        cpus = {process.sentinel: cpu for cpu, process in enumerate(self._processes)}
        sentinels = list(cpus)
        groups = [sentinels[k : k + WAIT_AT_ONCE] for k in range(0, len(sentinels), WAIT_AT_ONCE)]
        ended = [sentinel for group in groups for sentinel in wait(group, timeout=0)]
        return sorted(cpus[sentinel] for sentinel in ended if isinstance(sentinel, int))

    def deaths(self, away: Iterable[int] = ()) -> list[WorkerDiedError]:
        """Return the deaths of idle workers, including those killed here because they hang.

        No order may be out. ``away`` are processors known to have no worker. Call it several times a second.
        """
        return [self.death(cpu) for cpu in self.unresponsive(away)]

    def unresponsive(self, away: Iterable[int] = ()) -> list[int]:
        """Return the processors whose worker has died or was killed here because it hangs, without ``away``.

        Orders may be out, and replies may be in the pipes.
        """
        found = [cpu for cpu in self.dead() if cpu not in away]
        if self._deadline_s is None:
            return found
        others = [cpu for cpu in range(self._sizes.cpus) if cpu not in {*away, *found}]
        idle = [cpu for cpu in others if not self._orders_out[cpu]]
        found += self._ping(idle, self._deadline_s)
        for cpu in set(others).difference(idle):
            late = self._watchdog is not None and self._watchdog.is_late(self._since_s[cpu])
            if late and not self._polls[cpu](0.0):
                self._kill(cpu)
                found.append(cpu)
        return found

    def _ping(self, cpus: list[int], deadline_s: float) -> list[int]:
        """Ping idle workers that have not replied for a while; kill and return those that do not reply."""
        now_s = time.monotonic()
        if now_s - self._polled_s > _PAUSE_S:  # this process was stopped, and perhaps the workers, too
            pause_s = now_s - self._polled_s
            self._replied_s = [at_s + pause_s for at_s in self._replied_s]
            self._pinged = {cpu: at_s + pause_s for cpu, at_s in self._pinged.items()}
        self._polled_s = now_s
        found = []
        for cpu in cpus:
            silent_s = now_s - self._replied_s[cpu]
            with contextlib.suppress(EOFError, OSError):  # it has just died; the next poll finds that
                if cpu not in self._pinged:
                    if silent_s > _PING_AFTER * deadline_s:
                        self._pipes[cpu].send_bytes(shard.PING)
                        self._pinged[cpu] = now_s
                elif self._pipes[cpu].poll():
                    self._receive_pong(cpu)
                    self._replied_s[cpu] = now_s
                elif silent_s > deadline_s - _POLL_S and now_s - self._pinged[cpu] >= _POLL_S / 2:
                    self._kill(cpu)
                    found.append(cpu)
        return found

    def start(self, cpu: int) -> None:
        """Start a new worker in place of one that died; send it orders only after ``is_ready``.

        Raises WorkerDiedError when the system can't start a process.
        """
        dead = self._processes[cpu]
        self._pipes[cpu].close()
        dead.kill()
        dead.join(_JOIN_S)
        self._pinged.pop(cpu, None)
        self._killed.discard(cpu)
        try:
            self._processes[cpu], self._pipes[cpu] = self._start(cpu)
            self._polls[cpu] = _poll_of(self._pipes[cpu])
        except (OSError, EOFError) as error:
            raise WorkerDiedError(cpu, f"could not be started: {error}") from error
        with contextlib.suppress(ValueError):  # still alive although killed
            dead.close()
        self._replied_s[cpu] = time.monotonic()
        self._orders_out[cpu] = 0

    def close(self) -> None:
        """End all workers: close their pipes, then kill those still running after a few seconds."""
        if self._watchdog is not None:
            self._watchdog.close()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        for kill in (False, True):
            until_s = time.monotonic() + _JOIN_S
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
    """Return a faster ``pipe.poll``, which does not create a poll object at each call."""
    if not hasattr(select, "poll"):
        return pipe.poll
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLIN)
    return lambda within_s: bool(poll.poll(within_s * 1000))


class Watchdog:
    """Kills the worker whose reply is awaited when nearly all of ``deadline_s`` has passed.

    It calls ``kill`` in its own thread, so that the caller can wait in one blocking read, which raises
    EOFError after the kill. Time in which this process was stopped or its machine slept does not count.
    """

    def __init__(self, deadline_s: float, kill: Callable[[int], None]) -> None:
        self._deadline_s = deadline_s
        self._check_s = deadline_s / _CHECKS
        self._kill = kill
        self._ran: tuple[float, float] = (0.0, time.monotonic())  # seconds run, as of the last check
        self._awaited: int | None = None
        self._until_s = 0.0
        self._hung = False
        self._deciding = threading.Lock()  # so that a worker is not killed after it replied or was replaced
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmq-watchdog", daemon=True)
        self._thread.start()

    def ran_s(self) -> float:
        """Return the seconds that this process has run, without those in which it was stopped."""
        ran_s, checked_s = self._ran
        return ran_s + min(time.monotonic() - checked_s, 2 * self._check_s)

    def begin(self, cpu: int, since_s: float) -> None:
        """Await a worker's reply, owed since ``since_s`` in ``ran_s``; no effect if already awaited."""
        with self._deciding:
            if self._awaited == cpu:
                return
            self._hung = False
            self._awaited = cpu
            until_s = since_s + _KILLED_AT * self._deadline_s
            self._until_s = max(until_s, self.ran_s() + _GRACE * self._deadline_s)

    def is_late(self, since_s: float) -> bool:
        """Return whether nearly all of the deadline has passed since ``since_s``, a time of ``ran_s``."""
        return self.ran_s() >= since_s + _KILLED_AT * self._deadline_s

    def end(self) -> bool:
        """Stop awaiting a reply; return whether the worker was killed."""
        with self._deciding:
            self._awaited = None
            return self._hung

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = self._check_s
        while not self._closing.wait(wait_s):
            wait_s = self._check_s
            with self._deciding:
                ran_s = self.ran_s()
                self._ran = (ran_s, time.monotonic())
                if self._awaited is None:
                    continue
                if ran_s >= self._until_s:
                    self._hung = True
                    self._kill(self._awaited)
                else:
                    wait_s = min(wait_s, self._until_s - ran_s)
