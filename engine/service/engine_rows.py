"""The part of an engine that reads it, and feeds it, between two rounds: rows, the memory of VMs, frames."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from engine.service import arguments
from engine.service.live import LiveLoop, LoopEndedError
from engine.service.rows import AdapterRow, CpuRow, Latest, QueueRow, Rows
from engine.service.waits import EngineEndedError, EngineWaits
from engine.traffic.injected import Frame, frames_of

T = TypeVar("T")


class EngineRows(EngineWaits):
    """What a program reads of a running engine, and the frames that it hands over."""

    def __init__(self) -> None:
        super().__init__()
        self._latest = Latest()

    def queue(self, which: int | str, adapter: str | None = None) -> QueueRow:
        """A queue at the newest reading, by its id, its VM or its name; ``adapter`` where several have one.

        Raises NoSuchRowError, which names what fits; NotReadYetError if its first reading is yet to come.
        """
        return self._rows().queue_row(which, adapter)

    def cpu(self, cpu: int) -> CpuRow:
        """A processor at the newest reading. Raises NoSuchRowError."""
        return self._rows().cpu_row(cpu)

    def adapter(self, name: str | None = None) -> AdapterRow:
        """An adapter at the newest reading; None: the host's only one. Raises NoSuchRowError."""
        return self._rows().adapter_row(name)

    def _rows(self) -> Rows:
        self._running()
        return self._latest.rows(self.config)

    async def memory(self, vm: str, adapter: str | None = None) -> list[bytes]:
        """The frames that a VM holds now, from its memory: those of its own queues, indicated to it and not
        returned yet, by adapter and queue id, in order of indication.

        From NDIS 6.30 on the adapter has taken an outer 802.1Q tag out of a frame; an older one leaves it in.
        A VM with ``return_delay_us`` 0 returns each frame at once, and holds none unless it is paused. Frames
        of queue 0 are not held by a VM. Raises NoSuchRowError, ValueError for more than 256 MiB.
        """
        live = self._running()
        return await self._in_loop(live, lambda: live.machine.frames_held(vm, adapter))

    async def receive(
        self, frames: Iterable[Frame] | Frame, *, at: float | None = None, adapter: str | None = None
    ) -> None:
        """Send frames to an adapter's wire: ``bytes`` (without FCS), or objects with ``__bytes__``, such as
        packets of scapy. They arrive back to back, at link rate, from the simulated time ``at`` on (seconds;
        None: now), or from when the wire is free after it.

        This returns when the frames are handed over, not when they have arrived. Frames of the scenario's
        traffic, of a capture or of an interface arrive as well, on the same wire, behind a call's frames if
        they would overlap. Raises ValueError (a frame above 65,535 bytes, over 64 MiB waiting, a time in the
        past, no frames, traffic to a team), NoSuchRowError for the adapter, EngineEndedError.
        """
        live = self._running()
        at_s = None if at is None else arguments.seconds("at", at, 0, arguments.ADVANCE_LIMIT_S)
        given = frames_of(frames)
        await self._in_loop(live, lambda: live.receive(given, adapter, at_s))

    async def _in_loop(self, live: LiveLoop, call: Callable[[], T]) -> T:
        """Run a call in the loop's thread, between two rounds. Raises EngineEndedError."""
        try:
            return await asyncio.wrap_future(live.submit(call))
        except LoopEndedError as error:
            raise EngineEndedError(self._why_ended()) from self.failure or error
