"""A live network interface as a source of frames: reading through libpcap, and simulated arrival times."""

import time
from fractions import Fraction
from typing import Final

import numpy as np

from engine.scenario.values import one_line
from engine.traffic import interface_kernels as k
from engine.traffic.batch import MAX_CAPTURED_BYTES, Filled, FrameBatch, byte_time_ns
from engine.traffic.libpcap import InterfaceError, OpenInterface

DELAY_NS: Final = 30_000_000
"""Delay of a frame's arrival in the model after its arrival at the interface.

The operating system delivers a block of frames when it is full or ``_HAND_OVER_MS`` old. The delay lets each
frame be read before its simulated arrival.
"""

_HAND_OVER_MS: Final = 10
_BEHIND_NS: Final = 1_000_000_000
KERNEL_LIMIT_BYTES: Final = 64 << 20
WAITING_LIMIT_FRAMES: Final = 131_072
WAITING_LIMIT_BYTES: Final = 32 << 20
_WRAP: Final = 1 << 32


class InterfaceSource:
    """The frames that a network interface receives, for one adapter, at the kernel's timestamps.

    A frame's simulated arrival is ``DELAY_NS`` after its timestamp. After the model has skipped time, or the
    system's clock was set, buffered frames arrive immediately. ``counters`` has the frames that the system
    dropped. ``snapshot_bytes`` of each are captured. Memory is bounded: ``kernel_bytes`` in the kernel, 36
    MiB here.

    Raises InterfaceError: no libpcap, no such interface, not Ethernet, or no permission to capture. If the
    interface disappears, the source ends, and ``broken`` has the reason.
    """

    def __init__(
        self,
        name: str,
        *,
        adapter: int,
        link_gbps: float,
        promiscuous: bool = False,
        kernel_bytes: int = KERNEL_LIMIT_BYTES,
        snapshot_bytes: int = MAX_CAPTURED_BYTES,
    ) -> None:
        self.name = one_line(name)
        self._adapter = adapter
        self._snapshot_bytes = snapshot_bytes
        self._bytes = np.empty(WAITING_LIMIT_BYTES, np.uint8)
        self._room = np.zeros(k.ROWS + k.ROW * WAITING_LIMIT_FRAMES, np.int64)
        self._counted = (0, 0, 0)
        self._totals = [0, 0, 0]
        self._begun = False
        self._anchored = False
        self._ended = False
        self._broken: str | None = None
        room = self._room
        room[k.FRAME_ROOM], room[k.BYTE_ROOM] = WAITING_LIMIT_FRAMES, WAITING_LIMIT_BYTES
        room[k.ADDRESS] = self._bytes.ctypes.data
        byte_ns = byte_time_ns(link_gbps)
        room[k.NUMERATOR], room[k.DENOMINATOR] = byte_ns.numerator, byte_ns.denominator
        self._interface = OpenInterface(
            self.name,
            snapshot_bytes=snapshot_bytes,
            buffer_bytes=kernel_bytes,
            timeout_ms=_HAND_OVER_MS,
            promiscuous=promiscuous,
        )
        room[k.TICK_NS] = 1 if self._interface.nanoseconds else 1000

    @property
    def adapter(self) -> int:
        """Index of the adapter that receives its frames."""
        return self._adapter

    @property
    def skipped_ns(self) -> int:
        """Always 0, because simulated time follows wall time, with or without frames."""
        return 0

    @property
    def broken(self) -> str | None:
        """A sentence with the reason if the interface has failed; else None."""
        return self._broken

    def counters(self) -> dict[str, int]:
        """Return counts of frames received and dropped since the start (``ndis.counters.INTERFACE``)."""
        self._begin()
        now = None if self._ended else self._interface.counters()
        if now is not None:
            for place, (count, before) in enumerate(zip(now, self._counted, strict=True)):
                self._totals[place] += (count - before) % _WRAP
            self._counted = now
        received, dropped, by_interface = self._totals
        return {
            "kernel_received_frames": received,
            "kernel_dropped_frames": dropped + int(self._room[k.NO_ROOM]),
            "interface_dropped_frames": by_interface,
        }

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""
        room = self._room
        self._begin()
        room[k.FRAMES] = room[k.USED] = 0
        self._keep_clock(until_ns)
        more = True
        while more:
            more = self._read()
            code = k.release(
                room, self._bytes,
                batch.data, batch.offset, batch.captured, batch.wire, batch.arrival_ns, batch.adapter,
                self._adapter, until_ns,
            )  # fmt: skip
            if code != k.EMPTY:
                return Filled(int(room[k.FRAMES]), int(room[k.NEXT_NS]))
        room[k.FLOOR_NS] = max(int(room[k.FLOOR_NS]), until_ns)
        return Filled(int(room[k.FRAMES]), None if self._ended else until_ns)

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the link's speed from the next frame on; the last frame's end on the wire stays."""
        if adapter != self._adapter:
            return
        room = self._room
        byte_ns = byte_time_ns(link_gbps)
        room[k.END_PART] = int(room[k.END_PART]) * byte_ns.denominator // int(room[k.DENOMINATOR])
        room[k.NUMERATOR], room[k.DENOMINATOR] = byte_ns.numerator, byte_ns.denominator

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame so far ends, by adapter."""
        part = Fraction(int(self._room[k.END_PART]), int(self._room[k.DENOMINATOR]))
        return {self._adapter: int(self._room[k.END_NS]) + part}

    def hold_wire(self, adapter: int, until: Fraction) -> None:
        """Send the next frame at the exact ns ``until`` or later."""
        if adapter == self._adapter:
            self._room[k.END_NS], part = divmod(until, 1)
            self._room[k.END_PART] = int(part * int(self._room[k.DENOMINATOR]))

    def close(self) -> None:
        """Close the interface."""
        if not self._ended:
            self.counters()
        self._ended = True
        self._interface.close()

    def _begin(self) -> None:
        """At the first call, discard frames that arrived before simulated time started (during start-up)."""
        if self._begun:
            return
        self._begun = True
        while self._read():
            self._room[k.WAITING] = self._room[k.BYTES] = 0
        self._room[k.WAITING] = self._room[k.BYTES] = 0
        if not self._ended:
            self._counted = self._interface.counters() or self._counted

    def _keep_clock(self, until_ns: int) -> None:
        """Align the clocks: a frame that arrives now is due ``DELAY_NS`` after ``until_ns``.

        A model that lags by up to a second catches up. A larger lag means that the model skipped time
        (``engine.service.live``) or that the system's clock was set; the lag is then reduced to a second.
        """
        room = self._room
        ahead_ns = time.time_ns() - int(room[k.ZERO_NS]) - until_ns
        if not self._anchored or ahead_ns < 0:
            room[k.ZERO_NS] += ahead_ns - DELAY_NS
            self._anchored = True
        elif ahead_ns > DELAY_NS + _BEHIND_NS:
            room[k.ZERO_NS] += ahead_ns - DELAY_NS - _BEHIND_NS

    @property
    def _half_given(self) -> bool:
        """Whether the frames already copied to batches take half of the buffer, or are all of its frames."""
        room = self._room
        given, waiting = int(room[k.GIVEN]), int(room[k.WAITING])
        if given == waiting:
            return given > 0
        given_bytes = int(room[k.ROWS + k.ROW * given + k.OFFSET])
        return 2 * given >= WAITING_LIMIT_FRAMES or 2 * given_bytes >= WAITING_LIMIT_BYTES

    def _read(self) -> bool:
        """Read frames from the system until there are none or the buffer is full; True: it is full."""
        room = self._room
        if self._half_given:
            k.move_up(room, self._bytes)
        while not self._ended:
            frames = min(
                WAITING_LIMIT_FRAMES - int(room[k.WAITING]),
                (WAITING_LIMIT_BYTES - int(room[k.BYTES])) // self._snapshot_bytes,
            )
            if frames <= 0:
                return True
            try:
                if self._interface.dispatch(frames, k.take.address, room.ctypes.data) < frames:
                    return False
            except InterfaceError as error:
                self._broken = f"{error}; no more frames come from it"
                self.close()
        return False
