"""Read a measured host from a file: a recording, or what was collected on a Windows host."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from engine.counted import counted
from engine.measure.host import MeasuredHost, SourceError
from engine.measure.netview import is_netview_zip, read_netview
from engine.measure.windows import read_host
from engine.measure.windows_counters import read_stats
from engine.measure.windows_tables import LIMIT_BYTES, WindowsTables, decode_text, read_json
from engine.scenario.values import one_line, show
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.packing import PackingError
from engine.telemetry.recording import HostIndex, Recording, RecordingError, is_recording
from engine.telemetry.shape import check_shape
from engine.telemetry.stats import Stats

MAX_READINGS: Final = 600
"""Most readings taken of a recording, spread evenly over it; with the first and the last one."""
MAX_EVENTS: Final = 1000
_HEAD_BYTES: Final = 512
_BEGINNINGS: Final = {
    b"\x0a\x0d\x0d\x0a": "a capture (pcapng)",
    b"\xd4\xc3\xb2\xa1": "a capture (pcap)",
    b"\xa1\xb2\xc3\xd4": "a capture (pcap)",
    b"\x4d\x3c\xb2\xa1": "a capture (pcap)",
    b"\xa1\xb2\x3c\x4d": "a capture (pcap)",
    b"\x1f\x8b": "a file compressed with gzip",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"%PDF": "a PDF document",
}
_FITS: Final = (
    "a recording, the JSON of `vmqtui import --script windows`, or a folder or zip of Get-NetView fits"
)

T = TypeVar("T", Config, Event)
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)


def read_measured(path: Path, host: str | None = None) -> MeasuredHost:
    """Read a measured host from a file, by what it holds: a recording, of whose hosts ``host`` chooses one,
    the JSON that the script for Windows collects, or a folder or zip of Get-NetView.

    A recording's readings are those of its newest configuration that has at least two, of the last run.
    Raises ``SourceError``, and OSError if the file can't be read.
    """
    if path.is_dir():
        return read_windows(read_netview(path))
    if not is_recording(path):
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if is_netview_zip(head):
                return read_windows(read_netview(path))
            if not _looks_like_json(head):
                raise SourceError(f"{path}: {looks_like(head)} ({_FITS})")
            return read_windows(read_json(str(path), head + file.read(LIMIT_BYTES)))
    try:
        recording = Recording(path)
    except RecordingError as error:
        raise SourceError(f"{error} ({_FITS})") from None
    with recording:
        return _recorded(recording, host)


def read_windows(tables: WindowsTables) -> MeasuredHost:
    """Make a measured host of a Windows host's tables."""
    host = read_host(tables)
    readings = read_stats(host, tables)
    measured = MeasuredHost(tables.origin, host.config, readings, (), tuple(tables.remarks))
    if _decoded(Config, msgspec.msgpack.encode(host.config)) is None:
        raise SourceError(f"{tables.origin}: holds more than a host can have")
    return measured


def _looks_like_json(head: bytes) -> bool:
    try:
        return decode_text(head[: len(head) & ~1]).lstrip().startswith("{")
    except UnicodeDecodeError as error:
        begins = decode_text(head[: error.start & ~1], "ignore")  # a character of UTF-8 may be cut there
        return error.start > 8 and begins.lstrip().startswith("{")


def looks_like(head: bytes) -> str:
    """Describe a file that is no source, in words, by its first bytes."""
    if not head.strip():
        return "empty"
    for beginning, words in _BEGINNINGS.items():
        if head.startswith(beginning):
            return words
    try:
        text = head.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "neither text nor a recording"
        text = head[: error.start].decode("utf-8-sig").strip()
    first = text.partition("\n")[0].strip()
    if any(line.strip() in ("[host]", "[[adapter]]", "[traffic]") for line in text.splitlines()):
        return "a scenario, or another TOML file"
    return f"a text that begins with {show(first)}"


def _recorded(recording: Recording, host: str | None) -> MeasuredHost:
    path = recording.path
    names = [name for name, index in recording.hosts.items() if len(index.offsets)]
    if not names:
        cut = f": {recording.broken}" if recording.broken else ""
        raise SourceError(f"{path}: a recording without a reading{cut}")
    listed = ", ".join(sorted(names))
    if host is None and len(names) > 1:
        raise SourceError(f"{path}: a recording of {counted(len(names), 'host')}: name one ({listed} fits)")
    name = names[0] if host is None else host
    if name not in names:
        raise SourceError(f"{path}: holds no reading of host {show(name)} ({listed} fits)")
    remarks = []
    if recording.broken is not None:
        remarks.append(f"{one_line(recording.broken)}: what is before it is used")
    config, readings = _newest(recording, name, remarks)
    if all(one.sources is None for one in readings[-1].adapters.values()):
        remarks.append("it is a recording of a model, which stands for a measured host here")
    return MeasuredHost(
        f"recording {path.name} of host {name}", config, readings, _events(recording, name), tuple(remarks)
    )


def _newest(recording: Recording, host: str, remarks: list[str]) -> tuple[Config, Sequence[Stats]]:
    """Return the newest configuration that has at least two readings, and these."""
    index = recording.hosts[host]
    end, newer = len(index.offsets), 0
    payload: bytes | None = None
    for place in range(len(index.messages["config"]) - 1, -1, -1):
        start = index.since["config"][place]
        try:
            payload = recording.message(host, "config", place)
        except PackingError:
            continue
        if place and _same_before(recording, host, place, payload):
            continue
        config = _decoded(Config, payload)
        readings = [] if config is None else _readings(recording, host, range(start, end), config.revision)
        if config is not None and len(readings) > 1:
            if newer:
                changed = "the configuration changed after it"
                remarks.append(f"{counted(newer, 'newer reading')} left out: {changed}")
            if start and not newer:
                remarks.append(f"{counted(start, 'older reading')} left out: the configuration changed since")
            return config, readings
        newer += end - start
        end = start
    raise SourceError(f"{recording.path}: holds no two readings of one configuration of host {host}")


def _same_before(recording: Recording, host: str, place: int, payload: bytes) -> bool:
    """Return whether the configuration before it is the same one, sent again."""
    try:
        return recording.message(host, "config", place - 1) == payload
    except PackingError:
        return False


def _readings(recording: Recording, host: str, numbers: range, revision: int) -> list[Stats]:
    """Return up to ``MAX_READINGS`` readings of a revision among ``numbers``, of the last run there."""
    numbers = _last_run(recording.hosts[host], numbers)
    count = min(len(numbers), MAX_READINGS)
    places = [round(n * (len(numbers) - 1) / (count - 1)) for n in range(count)] if count > 1 else []
    readings = []
    for place in places:
        try:
            stats = recording.stats(host, numbers[place])
        except PackingError:
            continue
        if stats.revision == revision:
            readings.append(stats)
    return readings


def _last_run(index: HostIndex, numbers: range) -> range:
    if not numbers:
        return numbers
    first = numbers[-1]
    while first > numbers[0] and index.runs[first - 1] == index.runs[numbers[-1]]:
        first -= 1
    return range(first, numbers.stop)


def _events(recording: Recording, host: str) -> list[Event]:
    events = []
    count = len(recording.hosts[host].messages["event"])
    for place in range(max(0, count - MAX_EVENTS), count):
        try:
            event = _decoded(Event, recording.message(host, "event", place))
        except PackingError:
            continue
        if event is not None:
            events.append(event)
    return events


def _decoded(kind: type[T], payload: bytes) -> T | None:
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kind)
    try:
        check_shape(kind, payload)
        decoded: T = decoder.decode(payload)
    except _UNREADABLE:
        return None
    return decoded
