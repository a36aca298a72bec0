"""Kills workers at moments chosen to the instruction, so that what a death takes can be foretold."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Literal

import pytest

from engine.workers.rounds import Rounds
from engine.workers.shard import ORDER

When = Literal["found dead", "handed an order", "idle"]


@dataclass
class Killer:
    """``victims`` die with the next order they get; ``hit`` are dead, ``served`` those that were to serve."""

    rounds: Rounds
    victims: set[int] = field(default_factory=set)
    hit: set[int] = field(default_factory=set)
    served: set[int] = field(default_factory=set)

    @contextmanager
    def lurking(self) -> Iterator[None]:
        """Meanwhile victims die."""
        send = self.rounds._pool.send

        def kill_and_send(cpu: int, order: bytes) -> None:
            doomed = cpu in self.victims
            self.victims.discard(cpu)
            if doomed:
                self.stop(cpu)
            send(cpu, order)
            if doomed:
                self.rounds._pool._processes[cpu].kill()
                self.hit.add(cpu)
                if ORDER.unpack(order)[0] >= 0:
                    self.served.add(cpu)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.rounds._pool, "send", kill_and_send)
            yield

    def stop(self, cpu: int) -> None:
        """Stop a worker that waits for an order: it gets the order, but does not look at it."""
        os.kill(self.rounds.worker_pids[cpu], signal.SIGSTOP)

    def kill(self, cpu: int) -> None:
        """Kill a worker that waits for an order."""
        process = self.rounds._pool._processes[cpu]
        process.kill()
        wait([process.sentinel])  # not join(): that would take the news from who should hear of it
        self.hit.add(cpu)
