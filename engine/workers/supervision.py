"""Relief: a new worker for one that died, and which processors are down meanwhile.

The first death is followed by a new worker at once, further ones after growing delays; that of a worker that
keeps dying after growing pauses, of minutes at last, or when a request asks for it.
"""

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from engine.counted import counted
from engine.workers import replacements
from engine.workers.pool import Crew, WorkerDiedError
from engine.workers.replacements import Replacements

_STARTING_S: Final = -math.inf
_READY_WITHIN_S: Final = 20.0
_AT_ONCE_S: Final = 3.0  # everyone waits for a worker so long; it is down until it is ready then


@dataclass(frozen=True)
class Incident:
    """What happened to a worker, in words; ``kind`` is the event that tells of it."""

    kind: Literal["worker_died", "worker_replaced", "worker_down"]
    cpu: int
    cause: str
    lost_frames: int = 0


class Relief:
    """Replaces workers of a crew. ``incidents`` are for whoever tells of them. The conductor's."""

    def __init__(self, crew: Crew) -> None:
        self.incidents: deque[Incident] = deque(maxlen=1024)
        self._crew = crew
        self._replacements = Replacements()
        self._down: dict[int, float] = {}  # when the next worker starts
        self._ready_by: dict[int, float] = {}

    @property
    def down(self) -> Iterable[int]:
        """Processors without a worker."""
        return self._down.keys()

    def died(self, death: WorkerDiedError, lost_frames: int) -> None:
        """A worker died and took frames with it: replace it now, or let its processor be down."""
        while True:
            cpu, now_s = death.cpu, time.monotonic()
            was_dying = self._replacements.keeps_dying(cpu)
            delay_s = self._replacements.died(cpu, now_s)
            after = f"; the next one starts in {delay_s:g} s" if delay_s else ""
            cause = f"{death}; {counted(lost_frames, 'frame is', 'frames are')} lost with it{after}"
            self.incidents.append(Incident("worker_died", cpu, cause, lost_frames))
            self._down[cpu] = now_s + delay_s
            if self._replacements.keeps_dying(cpu) and not was_dying:
                self.incidents.append(Incident("worker_down", cpu, keeps_dying(cpu)))
            if delay_s != 0.0:
                return
            try:
                self._start(cpu)
                if self._crew.is_ready(cpu, _AT_ONCE_S):
                    self._is_up(cpu)
            except WorkerDiedError as another:
                death, lost_frames = another, 0
                continue
            return

    def look(self) -> list[int]:
        """Start the workers whose time has come; processors that have one again. To be called often."""
        back = []
        for cpu, due_s in list(self._down.items()):
            now_s = time.monotonic()
            try:
                if due_s == _STARTING_S:
                    if self._crew.is_ready(cpu):
                        self._is_up(cpu)
                        back.append(cpu)
                    elif now_s > self._ready_by[cpu]:
                        raise WorkerDiedError(cpu, f"was not ready within {_READY_WITHIN_S:.0f} s")
                elif now_s >= due_s:
                    self._start(cpu)
            except WorkerDiedError as death:
                self.died(death, 0)
        return back

    def restart(self, cpu: int) -> None:
        """Let a processor that is down have a worker as soon as possible, whatever became of earlier ones."""
        self._replacements.forgive(cpu)
        if self._down.get(cpu, _STARTING_S) != _STARTING_S:
            self._down[cpu] = time.monotonic()

    def forgive(self) -> None:
        """Forget all deaths so far."""
        self._replacements.forgive()

    def _start(self, cpu: int) -> None:
        self._crew.start(cpu)
        self._down[cpu] = _STARTING_S
        self._ready_by[cpu] = time.monotonic() + _READY_WITHIN_S

    def _is_up(self, cpu: int) -> None:
        del self._down[cpu]
        self.incidents.append(Incident("worker_replaced", cpu, f"CPU {cpu} has a new worker"))


def keeps_dying(cpu: int) -> str:
    """The message for an operator about a processor whose workers keep dying."""
    deaths = f"{len(replacements.DELAYS_S) + 1} times within {replacements.WINDOW_S:.0f} s"
    first, last = replacements.PAUSES_S[0], replacements.PAUSES_S[-1]
    return (
        f"CPU {cpu} is down: its worker died {deaths}; frames for its queues are lost until they are moved"
        f" away or a worker stays: the next one starts in {first:g} s, later ones after up to {last:g} s, or"
        " when restart_worker asks for it"
    )
