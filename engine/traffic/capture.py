"""Capture files as a source of frames: opening, reading in chunks, looping, and breaks after a frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from engine.scenario.values import one_line
from engine.traffic import capture_kernels as k
from engine.traffic.batch import Filled, FrameBatch, byte_time_ns
from engine.traffic.capture_file import CaptureFile, capture_file, open_capture
from engine.traffic.capture_formats import (
    MAX_INTERFACES,
    PCAP_HEADER_BYTES,
    FormatError,
    LinkTypeError,
    check_section,
    interface_row,
    is_pcap,
    is_pcapng,
    no_ethernet,
    not_a_capture,
    pcap_format,
    section_header,
)

_CHUNK_BYTES = 1024 * 1024
_SHOWN_BYTES = 16  # bytes in the message about a file that is no capture


class CaptureError(Exception):
    """A capture is unusable; the message is a sentence that names the file."""


class CaptureSource:
    """The frames of a pcap or pcapng file, in file order, at their simulated arrival times.

    ``adapter`` is the adapter index of each frame. ``link_gbps`` (0.001..10,000) determines how long a
    frame occupies the wire; if it is infinite, frames arrive at their timestamps, even if those decrease.
    ``loop`` restarts the file after the last complete frame, while time continues; ``shorten_gaps`` cuts idle
    gaps to 1 s and adds the rest to ``skipped_ns``. Memory is bounded: 1 MiB, or up to 16 MiB for a
    longer pcapng block. The file may be compressed with gzip.

    Raises CaptureError: missing, unreadable, no capture, or without a complete Ethernet frame. An error after
    the first frame is a break: the source ends, and ``broken`` has the position and the reason.
    """

    def __init__(
        self,
        path: CaptureFile | Path | str,
        *,
        adapter: int,
        link_gbps: float,
        loop: bool = False,
        shorten_gaps: bool = False,
    ) -> None:
        if not link_gbps > 0:
            raise ValueError(f"link_gbps {link_gbps} is not above 0")
        capture = capture_file(path)
        self._path = one_line(capture.name)
        self._adapter = adapter
        self._loop = loop
        self._state = np.zeros(k.SLOTS, np.int64)
        byte_ns = byte_time_ns(link_gbps)
        self._state[k.NUMERATOR] = byte_ns.numerator
        self._state[k.DENOMINATOR] = byte_ns.denominator
        self._state[k.SHORTEN] = shorten_gaps
        self._buffer = np.empty(_CHUNK_BYTES, np.uint8)
        self._interfaces = np.zeros((1, k.COLUMNS), np.uint64)
        self._buffer_offset = 0  # the file position of the buffer's first byte
        self._frames = 0
        self._frames_before_pass = 0
        self.passes = 0
        """Completed passes over the file."""
        self._ended = False
        self._broken: str | None = None
        self._foreign_links: set[int] = set()
        try:
            self._file = open_capture(capture)
        except FormatError as error:
            raise CaptureError(f"{self._path}: {error}") from None
        except OSError as error:
            raise CaptureError(f"{self._path}: {_reason(error)}; a readable capture file fits") from None
        try:
            self._find_first_frame()
        except BaseException:
            self._file.close()
            raise

    @property
    def skipped_ns(self) -> int:
        """Simulated time cut out of gaps so far."""
        return int(self._state[k.SKIPPED_NS])

    @property
    def broken(self) -> str | None:
        """A sentence with the position and reason of a break at which the source has ended; else None."""
        return self._broken

    @property
    def bytes_read(self) -> int:
        """File bytes read so far, in this pass over the file."""
        return self._file.file_bytes

    @property
    def bytes_total(self) -> int:
        """Size of the file when it was opened."""
        return self._file.total_bytes

    @property
    def skipped_frames(self) -> int:
        """Frames skipped so far, because their pcapng interface is not Ethernet."""
        return int(self._state[k.LEFT_OUT])

    @property
    def frames(self) -> int:
        """Frames written to batches so far."""
        return self._frames

    @property
    def last_arrival_ns(self) -> int:
        """Arrival of the last frame written to a batch; the first frame arrives at 0."""
        return int(self._state[k.LAST_NS])

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit.

        Raises ValueError if not even one frame fits the batch.
        """
        self._state[k.FRAMES] = 0
        self._state[k.USED] = 0
        before = self._frames
        next_ns: int | None = None
        while not self._ended:
            try:
                next_ns = self._walk(batch, until_ns)
            except FormatError as error:
                next_ns = None
                if not self._loop:
                    self._broken = f"{self._path}: {error}"
            self._frames = before + int(self._state[k.FRAMES])
            if next_ns is not None:
                break
            self._end_pass()
        written = int(self._state[k.FRAMES])
        if next_ns is not None and written == 0 and next_ns < until_ns:
            raise ValueError(f"a batch for {len(batch.offset)}, of {len(batch.data)} bytes, holds no frame")
        return Filled(written, next_ns)

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the link's speed from the next frame on; the last frame's end on the wire stays."""
        if adapter != self._adapter:
            return
        state = self._state
        byte_ns = byte_time_ns(link_gbps)
        before = int(state[k.DENOMINATOR])
        for part in (k.END_PART, k.BASE_PART):
            state[part] = int(state[part]) * byte_ns.denominator // before
        state[k.NUMERATOR] = byte_ns.numerator
        state[k.DENOMINATOR] = byte_ns.denominator

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame so far ends, by adapter."""
        state = self._state
        part = Fraction(int(state[k.END_PART]), int(state[k.DENOMINATOR]))
        return {self._adapter: int(state[k.END_NS]) + part}

    def hold_wire(self, adapter: int, until: Fraction) -> None:
        """Send the next frame at the exact ns ``until`` or later."""
        if adapter == self._adapter:
            self._state[k.END_NS], part = divmod(until, 1)
            self._state[k.END_PART] = int(part * int(self._state[k.DENOMINATOR]))

    def close(self) -> None:
        """Close the file."""
        self._ended = True
        self._file.close()

    def _find_first_frame(self) -> None:
        none = np.empty(0, np.uint8)
        columns = np.empty(0, np.int64), np.empty(0, np.uint32)
        no_room = FrameBatch(none, columns[0], columns[1], columns[1], columns[0], np.empty(0, np.uint16))
        try:
            self._read_header()
            found = self._walk(no_room, k.MAX_ARRIVAL_NS)
        except FormatError as error:
            raise CaptureError(f"{self._path}: {error}, and no whole frame comes before") from None
        if found is None:
            if self.skipped_frames:
                raise CaptureError(f"{self._path}: {no_ethernet(self._foreign_links)}")
            raise CaptureError(f"{self._path}: holds no frame; a capture of at least one whole frame fits")

    def _end_pass(self) -> None:
        """At the end of the file, rewind it if ``loop`` is set, else end the source."""
        if not self._loop:
            self._ended = True
            return
        if self._frames == self._frames_before_pass:
            self._broken = f"{self._path}: holds no frame any more, when read again"
            self._ended = True
            return
        self._frames_before_pass = self._frames
        self.passes += 1
        state = self._state
        state[[k.POS, k.FILLED, k.NG, k.INTERFACES, k.STAMPED]] = 0
        state[k.BASE_NS], state[k.BASE_PART] = state[k.END_NS], state[k.END_PART]
        self._buffer_offset = 0
        try:
            self._file.rewind()
            self._read_header()
        except (OSError, FormatError) as error:
            reason = _reason(error) if isinstance(error, OSError) else str(error)
            self._broken = f"{self._path}: {reason}, when read again"
            self._ended = True

    def _walk(self, batch: FrameBatch, until_ns: int) -> int | None:
        """Read frames until the batch is full or ``until_ns`` is reached. Return a lower bound of the next
        arrival, or None at the end of the file. Raises FormatError at a break."""
        state = self._state
        while True:
            code = k.walk(
                self._buffer, state, self._interfaces,
                batch.data, batch.offset, batch.captured, batch.wire, batch.arrival_ns, batch.adapter,
                self._adapter, until_ns,
            )  # fmt: skip
            if code in (k.BATCH_FULL, k.LATER):
                return int(state[k.NEXT_NS])
            if code == k.MORE_BYTES:
                need = int(state[k.NEED])
                if not self._has(need):
                    left = int(state[k.FILLED] - state[k.POS])
                    if left == 0:
                        return None
                    raise FormatError(f"{self._here()} a record of {need} bytes or more ends after {left}")
            elif code == k.CONTROL_BLOCK:
                self._read_control_block()
            else:
                raise FormatError(f"{self._here()} {_wrong(code, int(state[k.DETAIL]))}")

    def _here(self) -> str:
        return self._file.place(self._buffer_offset + int(self._state[k.POS]))

    def _read_header(self) -> None:
        """Read the file header, determine the format, and move the walk to the first record."""
        state = self._state
        self._has(4)
        magic = self._bytes(4)
        if is_pcapng(magic):
            if not self._has(12):
                raise CaptureError(f"{self._path}: ends within its first section header; a pcapng file fits")
            state[k.NG] = 1
            return
        if not is_pcap(magic):
            self._has(_SHOWN_BYTES)
            raise CaptureError(f"{self._path}: {not_a_capture(self._bytes(_SHOWN_BYTES))}")
        if not self._has(PCAP_HEADER_BYTES):
            raise CaptureError(f"{self._path}: ends within its file header; a pcap file fits")
        try:
            form = pcap_format(self._bytes(PCAP_HEADER_BYTES))
        except LinkTypeError as error:
            raise CaptureError(f"{self._path}: {error}") from None
        state[k.BIG] = form.big
        state[k.HEADER] = form.header_bytes
        state[k.TICK_NS] = form.tick_ns
        state[k.LENGTHS] = form.lengths
        state[k.POS] += PCAP_HEADER_BYTES

    def _read_control_block(self) -> None:
        """Read the section header or interface description at the walk's position."""
        state = self._state
        start = self._bytes(12)
        if is_pcapng(start[:4]):
            try:
                section = section_header(start)
                if not self._has(section.total_bytes):
                    raise FormatError("a section header is cut short")
                check_section(self._bytes(section.total_bytes), section)
            except FormatError as error:
                raise FormatError(f"{self._here()} {error}") from None
            state[k.BIG] = section.big
            state[k.INTERFACES] = 0
            state[k.POS] += section.total_bytes
            return
        big = bool(state[k.BIG])
        total = int.from_bytes(start[4:8], "big" if big else "little")
        count = int(state[k.INTERFACES])
        try:
            if count == MAX_INTERFACES:
                raise FormatError(f"a section describes more than {MAX_INTERFACES} interfaces")
            link, row = interface_row(self._bytes(total), big)
        except FormatError as error:
            raise FormatError(f"{self._here()} {error}") from None
        if row[k.FOREIGN]:
            self._foreign_links.add(link)
        if count == len(self._interfaces):
            self._interfaces = np.concatenate((self._interfaces, np.zeros_like(self._interfaces)))
        self._interfaces[count] = row
        state[k.INTERFACES] = count + 1
        state[k.POS] += total

    def _bytes(self, count: int) -> bytes:
        pos, filled = int(self._state[k.POS]), int(self._state[k.FILLED])
        return self._buffer[pos : min(pos + count, filled)].tobytes()

    def _has(self, need: int) -> bool:
        """Read until the buffer has ``need`` bytes from the walk's position on; False: the file has fewer.

        A read error raises FormatError: a break, or, before the first complete frame, an unusable capture.
        """
        state = self._state
        pos, filled = int(state[k.POS]), int(state[k.FILLED])
        if filled - pos >= need:
            return True
        rest = self._buffer[pos:filled].copy()
        if need > len(self._buffer):
            self._buffer = np.empty(1 << (need - 1).bit_length(), np.uint8)
        self._buffer[: len(rest)] = rest
        self._buffer_offset += pos
        filled = len(rest)
        state[k.POS], state[k.FILLED] = 0, filled
        while filled < need:
            try:
                got = self._file.readinto(self._buffer[filled:].data)
            except OSError as error:
                raise FormatError(f"{self._here()} reading fails: {_reason(error)}") from None
            except FormatError as error:
                raise FormatError(f"{self._here()} {error}") from None
            if not got:
                return False
            filled += got
            state[k.FILLED] = filled
        return True


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _wrong(code: int, number: int) -> str:
    return {
        k.BAD_CAPTURED: f"a frame claims {number} captured bytes (at most {k.MAX_RECORD_BYTES} fit)",
        k.BAD_BLOCK_LENGTH: f"a block claims a length of {number} bytes",
        k.BAD_TRAILER: f"a block's closing length, {number}, is not its opening one",
        k.BAD_FRAME: f"a frame claims {number} captured bytes, more than its block has",
        k.BAD_INTERFACE: f"a frame names interface {number}, which its section has not described",
        k.BAD_TIME: "a frame comes more than 146 years after the first one",
    }[code]
