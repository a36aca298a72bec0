"""A recording for the dashboard: a link without new messages, and a tape for each host.

A file that was collected on a real host becomes a recording of it, for whatever reads recordings.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from engine import __version__
from engine.bus.codec import decode, encode
from engine.bus.errors import BadMessage
from engine.bus.host_view import HostView
from engine.bus.messages import Response, Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.packing import PackingError
from engine.telemetry.recorder import Recorder
from engine.telemetry.recording import Recording, is_recording
from engine.telemetry.stats import Stats
from engine.view.rates import WINDOW_NS
from vmqtui.state.archive import EVENTS
from vmqtui.state.moment import Moment

if TYPE_CHECKING:
    from engine.bus.connection import State

T = TypeVar("T", Status, Config, Event)
_OWN_BYTES = 1 << 32
_MESSAGE_BYTES = 256  # counted for each message beside its payload
_DECODED_BYTES = 16 << 20
"""Size limit of the cache of decoded messages, by their encoded size."""


@contextmanager
def open_recording(path: Path) -> Iterator[tuple[Recording, Sequence[str]]]:
    """Open a recording, or a file from a real host as one; yield it with remarks on what could not be read.

    Raises ``SourceError`` or ``RecordingError`` if it is neither, OSError if it can't be read.
    """
    if is_recording(path):
        with Recording(path) as recording:
            yield recording, ()
        return
    from engine.measure.sources import read_measured

    measured = read_measured(path)
    with TemporaryDirectory(prefix="vmqtui-") as directory:
        own = Path(directory, "host.vmqrec")
        status = Status(state="online", version=__version__, kind="measured", controls=False)
        with Recorder(own, limit_bytes=_OWN_BYTES) as recorder:
            name = measured.config.host
            recorder.message(name, "status", encode(status))
            recorder.message(name, "config", encode(measured.config))
            for event in measured.events:
                recorder.message(name, "event", encode(event))
            for stats in measured.readings:
                recorder.reading(name, stats)
        with Recording(own) as recording:
            recording.path = path
            yield recording, measured.remarks


class RecordedTape:
    """The moments of one host of a recording."""

    def __init__(self, recording: Recording, host: str) -> None:
        self._recording = recording
        self._host = host
        self._index = recording.hosts[host]
        self._decoded: dict[tuple[str, int], tuple[Any, int]] = {}
        """Decoded messages, each with its encoded size, by kind and place."""
        self._decoded_bytes = 0
        self._unreadable: set[int] = set()

    @property
    def unreadable(self) -> int:
        return len(self._unreadable)

    def numbers(self) -> Sequence[int]:
        return range(len(self._index.offsets))

    def time_ns(self, number: int) -> int:
        return self._index.times_ns[number]

    def sim_time_ns(self, number: int) -> int:
        return self._index.sim_times_ns[number]

    def reading(self, number: int) -> tuple[Config | None, Stats]:
        if not 0 <= number < len(self._index.offsets):
            raise KeyError(number)
        stats = self._stats(number)
        return self.config(number, stats), stats

    def moment(self, number: int) -> Moment:
        index = self._index
        if not 0 <= number < len(index.offsets):
            raise KeyError(number)
        before = number
        while before and index.runs[before - 1] == index.runs[number]:
            before -= 1
            if index.sim_times_ns[number] - index.sim_times_ns[before] >= WINDOW_NS:
                break
        prior = self._stats(before) if before < number else None
        stats = self._stats(number)
        last = bisect_right(index.since["event"], number)
        events = (self._message(Event, "event", place) for place in range(max(0, last - EVENTS), last))
        return Moment(
            status=self._message(Status, "status", bisect_right(index.since["status"], number) - 1),
            config=self.config(number, stats),
            stats=stats,
            before=prior,
            events=tuple(event for event in events if event is not None),
        )

    def config(self, number: int, stats: Stats) -> Config | None:
        """The configuration of the reading's revision, which may come just after it; else the one before."""
        place = bisect_right(self._index.since["config"], number) - 1
        config = self._message(Config, "config", place)
        if config is not None and config.revision == stats.revision:
            return config
        later = self._message(Config, "config", place + 1)
        return later if later is not None and later.revision == stats.revision else config

    def event(self, place: int) -> Event | None:
        """The event at ``place`` in the host's sequence of events; None if it can't be decoded."""
        return self._message(Event, "event", place)

    def _stats(self, number: int) -> Stats:
        try:
            return self._recording.stats(self._host, number)
        except PackingError:
            self._unreadable.add(number)
            raise KeyError(number) from None

    def _message(self, kind: type[T], name: str, place: int) -> T | None:
        if not 0 <= place < len(self._index.messages[name]):
            return None
        if (name, place) not in self._decoded:
            found, payload = None, b""
            with suppress(BadMessage, PackingError):
                payload = self._recording.message(self._host, name, place)
                found = decode(kind, payload)
            self._keep((name, place), found, len(payload))
            return found
        known: T | None = self._decoded[name, place][0]
        return known

    def _keep(self, key: tuple[str, int], message: Any, size: int) -> None:
        """Cache a decoded message, unless it is larger than the cache; evict the oldest ones (FIFO)."""
        size += _MESSAGE_BYTES
        if size > _DECODED_BYTES:
            return
        self._decoded_bytes += size
        self._decoded[key] = message, size
        while self._decoded_bytes > _DECODED_BYTES:
            self._decoded_bytes -= self._decoded.pop(next(iter(self._decoded)))[1]


class RecordedLink:
    """A ``Link`` to the hosts of a recording that have readings: always connected, never changing."""

    read_only = False

    def __init__(self, recording: Recording) -> None:
        self._tapes = {
            host: RecordedTape(recording, host)
            for host, index in sorted(recording.hosts.items())
            if len(index.offsets)
        }

    @property
    def connection(self) -> "State":
        return "connected"

    @property
    def progress(self) -> str:
        return ""

    @property
    def hosts(self) -> Sequence[str]:
        return list(self._tapes)

    def tape(self, host: str) -> RecordedTape:
        """The tape of one of ``hosts``."""
        return self._tapes[host]

    def view(self, host: str) -> HostView | None:
        tape = self._tapes.get(host)
        if tape is None:
            return None
        first = Moment()
        with suppress(KeyError):
            first = tape.moment(0)
        known = HostView(host)
        known.status, known.config, known.stats = first.status, first.config, first.stats
        return known

    def clock(self) -> float:
        return monotonic()

    def on_change(self, notify: Callable[[], None]) -> None:
        """Does nothing: a recording does not change."""

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        raise ConnectionError("a recording takes no requests")

    async def catch_up(self, host: str) -> None:
        """Does nothing: the recording has every event."""
