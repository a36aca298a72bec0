"""One connection of the broker: splits received bytes into packets of limited size, and sends bytes."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, Protocol, cast

from engine.mqtt import packets
from engine.mqtt.packets import BadPacket

WRITE_AHEAD_BYTES = 256 << 10

_PACKETS_A_TURN: Final = 16
_READ_AHEAD_BYTES: Final = 64 << 10
_LATE_S: Final = 1.0


@dataclass(frozen=True)
class End:
    """Why a connection ended; ``why`` is empty after a DISCONNECT."""

    why: str
    level: int = logging.INFO


class Receiver(Protocol):
    """Receives the packets of a channel."""

    def ready_for(self, kind: int) -> bool:
        """Return whether to receive a packet of this type now; if not, the receiver has called ``hold``."""
        ...

    def receive(self, first: int, body: bytes) -> None:
        """Handle a complete packet. Raises ``BadPacket``."""
        ...

    def incoming(self, length: int) -> None:
        """A packet with a body of ``length`` bytes has started to arrive."""
        ...

    def writable(self) -> None:
        """The write buffer has room again."""
        ...

    def read_at(self) -> float:
        """Return the event loop time at which the client last read some of the data sent to it."""
        ...


class Channel(asyncio.Protocol):
    """Delivers a few packets per event loop iteration, so that no client delays others; on ``hold``, none.

    ``ended`` completes when the client disconnects, times out or violates the protocol, or when ``end`` is
    called.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[End] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.can_write = True
        self._first: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._receiver: Receiver | None = None
        self._limit_bytes = packets.CONNECT_LIMIT_BYTES
        self._buffer = bytearray()
        self._holds: set[str] = set()
        self._reading = True
        self._turn: asyncio.Handle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._gone: str | None = None
        self._packet_at = self._loop.time()

    async def first_packet(self) -> tuple[int, bytes]:
        """Return the first byte and the body of the first packet; later packets wait for ``open``.

        Raises ``BadPacket``.
        """
        return await self._first

    def open(self, receiver: Receiver, limit_bytes: int, silence_s: float) -> None:
        """Deliver all further packets, with bodies of up to ``limit_bytes``, to ``receiver``.

        The connection ends if the client completes no packet for ``silence_s``.
        """
        self._receiver = receiver
        self._limit_bytes = limit_bytes
        self._packet_at = self._loop.time()
        self._watch(silence_s)
        self._holds.clear()
        self._schedule()

    def write(self, data: bytes) -> None:
        """Send bytes. There is no limit here: the caller checks ``unsent_bytes``."""
        if not self.closed.done():
            self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the write buffer."""
        return self._transport.get_write_buffer_size()

    @property
    def on_hold(self) -> bool:
        """Whether at least one reason to hold is set."""
        return bool(self._holds)

    def hold(self, why: str) -> None:
        """Stop receiving packets until this reason and all others are released."""
        self._holds.add(why)
        self._adjust_reading()

    def release(self, why: str) -> None:
        """Remove a reason to hold; without any reason left, packets are received again."""
        if why in self._holds:
            self._holds.discard(why)
            if not self._holds:
                self._schedule()

    def end(self, why: str, level: int = logging.INFO) -> None:
        """Stop receiving and complete ``ended``; the listener, which awaits it, closes the connection."""
        if not self.ended.done():
            self.ended.set_result(End(why, level))
            if self._watching is not None:
                self._watching.cancel()
            self._adjust_reading()

    def abort(self) -> None:
        """Close at once and discard unsent bytes."""
        self._transport.abort()

    async def close(self, timeout_s: float) -> None:
        """Send unsent bytes and close; after ``timeout_s`` discard the rest."""
        self._transport.close()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self.closed)
        except TimeoutError:
            pass
        finally:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_AHEAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"connection lost: {exc}" if exc is not None else "connection closed")
        if not self.closed.done():
            self.closed.set_result(None)

    def eof_received(self) -> bool:
        self._lose("connection closed")
        return self._transport.get_extra_info("sslcontext") is None  # over TLS asyncio closes in any case

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._turn is None:
            self._take_turn()
        else:
            self._adjust_reading()

    def pause_writing(self) -> None:
        self.can_write = False

    def resume_writing(self) -> None:
        self.can_write = True
        if self._receiver is not None:
            self._receiver.writable()

    def _lose(self, why: str) -> None:
        """Mark the connection as lost; packets already buffered are still delivered, even while on hold."""
        if self._gone is None:
            self._gone = why
            self._schedule()

    def _schedule(self) -> None:
        if self._turn is None and not self.ended.done():
            self._turn = self._loop.call_soon(self._take_turn)
        self._adjust_reading()

    def _adjust_reading(self) -> None:
        """Pause reading from the socket on hold, after the end, and while too many bytes are buffered."""
        waiting = len(self._buffer) > _READ_AHEAD_BYTES and self._turn is not None
        reading = not self._holds and not waiting and not self.ended.done()
        if reading != self._reading and self._gone is None:
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def _take_turn(self) -> None:
        """Deliver up to ``_PACKETS_A_TURN`` packets, then yield to other clients."""
        self._turn = None
        try:
            more = self._receive_some() if self._receiver is not None else self._receive_first()
        except BadPacket as error:
            self._fail(str(error), logging.WARNING)
            return
        if more:
            self._schedule()
        elif self._gone is not None:
            self._fail("the connection ended within a packet" if self._buffer else self._gone)
        else:
            self._adjust_reading()

    def _fail(self, why: str, level: int = logging.INFO) -> None:
        """End the session; if there is none yet, fail ``first_packet``."""
        if self._receiver is not None:
            self.end(why, level)
        elif not self._first.done():
            self._first.set_exception(BadPacket(why))
            self.hold("not let in")

    def _receive_first(self) -> bool:
        if self._buffer and not self._first.done():
            if self._buffer[0] >> 4 != packets.CONNECT:
                raise BadPacket(f"a packet of type {self._buffer[0] >> 4} in place of a CONNECT")
            place = self._next(0)
            if place is not None and place[1] <= len(self._buffer):
                self._first.set_result((self._buffer[0], bytes(self._buffer[place[0] : place[1]])))
                del self._buffer[: place[1]]
                self.hold("not let in yet")
        return False

    def _receive_some(self) -> bool:
        """Deliver packets; return True if the limit per turn was reached and bytes are left."""
        receiver, buffer, at = self._receiver, self._buffer, 0
        assert receiver is not None
        try:
            for _ in range(_PACKETS_A_TURN):
                if self.ended.done() or (self._holds and self._gone is None):
                    return False
                place = self._next(at)
                if place is None:
                    return False
                begin, end = place
                if end > len(buffer):
                    receiver.incoming(end - begin)
                    return False
                first = buffer[at]
                if self._gone is None and not receiver.ready_for(first >> 4):
                    return False
                body = bytes(memoryview(buffer)[begin:end])
                at = end
                self._packet_at = self._loop.time()
                receiver.receive(first, body)
            return at < len(buffer)
        finally:
            del buffer[:at]

    def _next(self, at: int) -> tuple[int, int] | None:
        """Return (begin, end) of the body of the packet at ``at``; None while its header is incomplete."""
        if at >= len(self._buffer) or (found := packets.header(self._buffer, at)) is None:
            return None
        header, length = found
        if length > self._limit_bytes:
            raise BadPacket(f"a packet of {length} bytes (at most {self._limit_bytes})")
        return at + header, at + header + length

    def _watch(self, silence_s: float) -> None:
        """Schedule the silence check for the time at which the limit would be reached."""
        due = self._packet_at + silence_s
        self._watching = self._loop.call_at(due, self._check_silence, silence_s, due)

    def _check_silence(self, silence_s: float, due: float) -> None:
        if self.ended.done():
            return
        now = self._loop.time()
        assert self._receiver is not None
        if self._holds or self._turn is not None or now - due > _LATE_S:
            # The broker paused reading or ran late, so the client was not silent. A client that is on hold
            # only because it does not read times out nevertheless.
            behind = self._holds == {BEHIND}
            self._packet_at = max(self._packet_at, self._receiver.read_at() if behind else now)
        if now - self._packet_at >= silence_s:
            self.end(f"silent for {silence_s:g} s")
        else:
            self._watch(silence_s)


BEHIND: Final = "behind"
"""The reason to hold a client that does not read the data sent to it."""
