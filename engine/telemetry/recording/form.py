"""The form of a recording: one MessagePack stream, a head and its data in turn.

    {"format": "vmq.recording/1", "version": ..., "time_ns": ...}
    [kind, host, time_ns, checksum, sim_time_ns, seq], data (bin, zlib)         as often as there is news
    ["end", "", time_ns, checksum, 0, 0], b""                          a recording that was ended, not cut

Kinds are ``status``, ``config`` and ``event`` (the message as it came), ``stats`` (a reading that stands
alone) and ``delta`` (a reading against the host's one before it; ``engine.telemetry.packing``). Every head is
written in one piece with its data, so that a file that was cut anywhere is whole up to its last record.
"""

import zlib
from typing import Final, NamedTuple

FORMAT: Final = "vmq.recording/1"
MESSAGES: Final = ("status", "config", "event")
READINGS: Final = ("stats", "delta")
END: Final = "end"
CHAIN_LIMIT: Final = 16
"""Readings from one that stands alone to the next: what is unpacked, at most, to see one of them."""
LIMIT_BYTES: Final = 17 << 20
"""No record is larger, packed or unpacked: a message has up to 16 MiB."""
SMALL_LIMIT_BYTES: Final = 1 << 20
"""No status and no event is larger, unpacked."""


class RecordingError(ValueError):
    """A file that is no recording; the text is a sentence that names it."""


class Head(NamedTuple):
    """What is said of a record before its data.

    ``time_ns`` (Unix time), ``sim_time_ns`` and ``seq`` are a reading's own; any other record has the time it
    came, and zeros.
    """

    kind: str
    host: str
    time_ns: int
    checksum: int = 0
    sim_time_ns: int = 0
    seq: int = 0

    def sealed(self, data: bytes) -> "Head":
        """The head with the checksum over itself and its data."""
        said = f"{self.kind}\0{self.host}\0{self.time_ns}\0{self.sim_time_ns}\0{self.seq}"
        return self._replace(checksum=zlib.crc32(data, zlib.crc32(said.encode())))

    def fits(self, data: bytes) -> bool:
        """Whether both are what was written."""
        return self.sealed(data).checksum == self.checksum
