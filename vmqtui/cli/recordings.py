"""``vmqtui record``: record engines' messages to a file. ``vmqtui play``: open it in the dashboard."""

import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from engine.counted import counted
from vmqtui.cli.attach import find_hosts, open_watcher
from vmqtui.cli.config import own_preferences, own_state
from vmqtui.cli.failures import DONE, INTERRUPTED, failed, sentences, unusable, warn
from vmqtui.cli.options import Force, NoState, Theme
from vmqtui.cli.output import ProgressLine, print_json
from vmqtui.cli.reach import HOST_HELP, EveryHostOptions
from vmqtui.cli.run import on_signal, run_app, run_async, status_of
from vmqtui.numbers import size
from vmqtui.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.telemetry.recorder import Recorder
    from engine.telemetry.recording import Recording
    from vmqtui.preferences.kept import StateFile
    from vmqtui.preferences.model import Preferences

RECORDING_MB: Final = 1000.0
"""Default size limit of a recording, in MB."""

_NOTES: Final = 3
"""Remarks on a file that the dashboard shows at once."""
_CHECK_S: Final = 1.0
_RECORDED: Final = ("status", "config", "event", "stats")


@dataclass(frozen=True)
class FileOptions:
    """The limits of a recording's duration and size, and the action at the size limit."""

    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None
    max_mb: Annotated[
        float, typer.Option("--max-mb", metavar="N", min=0.1, help="How large the recording may become.")
    ] = RECORDING_MB
    at_limit: Annotated[
        Literal["stop", "keep-newest"],
        typer.Option("--at-limit", help="Then: end, or move the older half to FILE.old and go on."),
    ] = "stop"
    force: Force = False


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording to write.")],
    at: EveryHostOptions,
    options: FileOptions,
) -> int:
    """Record what running engines report, until Ctrl-C."""
    from engine.telemetry.recorder import old_path

    for each in (file, old_path(file)) if options.at_limit == "keep-newest" else (file,):
        if each.exists() and not options.force:
            unusable(f"{each}: is there already; another name, or --force to replace it")
    with sentences():
        return run_async(_Recording(file, options).run(at))


class _Recording:
    """One run of the command. It creates the file when the first host is found."""

    def __init__(self, path: Path, options: FileOptions) -> None:
        import asyncio

        self._path = path
        self._options = options
        self._recorder: Recorder | None = None
        self._early: dict[tuple[str, str], bytes] = {}
        """Retained messages that arrived before the file was created, by host and kind."""
        self._ended = asyncio.Event()
        self._status = DONE
        self._error: OSError | None = None
        self._undecodable = 0

    async def run(self, at: EveryHostOptions) -> int:
        """Record until a signal or a limit; return the exit status."""
        import asyncio

        for number, status in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, DONE)):
            on_signal(number, partial(self._end, status))
        async with open_watcher(at, at.host, self._on_message, user="viewer", kinds=_RECORDED) as watcher:
            finding = asyncio.ensure_future(find_hosts(watcher))
            ending = asyncio.ensure_future(self._ended.wait())
            await asyncio.wait({finding, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not finding.done():
                finding.cancel()
                return self._status
            await finding
            try:
                with self._make() as self._recorder:
                    for (name, kind), payload in self._early.items():
                        self._recorder.message(name, kind, payload)
                    with ProgressLine() as line:
                        watching = asyncio.ensure_future(self._watch(self._recorder, line))
                        await asyncio.wait({ending}, timeout=self._options.duration)
                        self._ended.set()
                        watching.cancel()
                    if self._error is not None:
                        raise self._error
            except OSError as error:
                failed(f"{self._path}: {error.strerror or error}{self._so_far(error)}")
        print(printable(self._summary()), flush=True)
        if left_out := watcher.replaced + watcher.no_room:
            warn(f"left out {counted(left_out, 'message')} that came faster than this could record")
        if self._undecodable:
            warn(f"left out {counted(self._undecodable, 'reading')} that can't be decoded")
        if self._recorder.full:
            warn(f"{self._path} is as large as --max-mb allows; what came after is not in it")
        return self._status

    def _make(self) -> "Recorder":
        from engine.telemetry.recorder import Recorder

        options = self._options
        return Recorder(
            self._path,
            limit_bytes=int(options.max_mb * 1e6),
            at_limit=options.at_limit,
            replace=options.force,
        )

    def _end(self, status: int) -> None:
        self._status = status
        self._ended.set()

    def _on_message(self, host: str, kind: str, payload: bytes) -> None:
        from engine.bus import codec
        from engine.bus.errors import BadMessage
        from engine.telemetry.stats import Stats

        if self._ended.is_set():  # the file closes before the connection does
            return
        recorder = self._recorder
        if recorder is None:
            if kind in ("status", "config"):
                self._early[host, kind] = payload
            return
        try:
            if kind == "stats":
                recorder.reading(host, codec.decode(Stats, payload))
            else:
                recorder.message(host, kind, payload)
        except BadMessage:
            self._undecodable += 1
        except OSError as error:
            self._fail(error)
        if recorder.full:
            self._ended.set()

    def _fail(self, error: OSError) -> None:
        self._error = self._error or error
        self._ended.set()

    async def _watch(self, recorder: "Recorder", line: ProgressLine) -> None:
        """Check every second, even without messages, that the file exists; show progress on a terminal."""
        import asyncio

        line.remark(f"recording to {printable(str(self._path))}; Ctrl-C ends it")
        while True:
            if line.shown:
                line.show(self._summary())
            try:
                recorder.check()
            except OSError as error:
                self._fail(error)
            await asyncio.sleep(_CHECK_S)

    def _summary(self) -> str:
        recorder = self._recorder
        if recorder is None:
            return f"{self._path}: nothing yet"
        hosts = ", ".join(sorted(recorder.hosts)) or "no host"
        return (
            f"{self._path}: {counted(recorder.readings, 'reading')} and {counted(recorder.events, 'event')}"
            f" of {hosts}, {size(recorder.size)}"
        )

    def _so_far(self, error: OSError) -> str:
        from engine.telemetry.recorder import LostFileError

        recorded = self._recorder is not None and self._recorder.readings
        whole = recorded and not isinstance(error, LostFileError)
        return "; what was recorded until then can be played" if whole else ""


def play(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A recording, or a file or folder from a Windows host.")
    ],
    host: Annotated[str | None, typer.Option("--host", metavar="H", help=HOST_HELP)] = None,
    theme: Theme = None,
    no_state: NoState = False,
    speed: Annotated[
        float, typer.Option("--speed", metavar="X", min=0.01, max=1000, help="Times as fast as it was.")
    ] = 1.0,
    json_: Annotated[
        bool, typer.Option("--json", help="Print what the recording holds as one JSON document instead.")
    ] = False,
) -> int:
    """Open a recording, or a file from a Windows host, in the dashboard: play, pause, step, scrub."""
    with opened(file) as (recording, remarks):
        played = [name for name, index in recording.hosts.items() if len(index.offsets)]
        if not played:
            unusable(f"{file}: holds no reading")
        if host is not None and host not in played:
            unusable(f"--host: {host!r} is not in {file}; {', '.join(sorted(played))} fits")
        if json_:
            for remark in remarks:
                warn(remark)
            if recording.broken is not None:
                warn(f"{recording.broken}; what is before can be played")
            print_json(_listing(recording))
            return DONE
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            unusable("playing needs a terminal; with --json it is told what the recording holds")
        with sentences():
            preferences = own_preferences()
        state = own_state(no_state)
        return run_async(_play(recording, remarks, host, theme, speed, preferences, state))


@contextmanager
def opened(path: Path) -> "Iterator[tuple[Recording, Sequence[str]]]":
    """Open a recording, or a file from a real host as one, with remarks. Ends with status 2 if it is none."""
    from engine.measure.host import SourceError
    from engine.telemetry.recording import RecordingError
    from vmqtui.recorded import open_recording

    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_recording(path))
        except (RecordingError, SourceError) as error:
            unusable(error)
        except OSError as error:
            unusable(f"{path}: {error.strerror or error}")
        yield found


async def _play(
    recording: "Recording",
    remarks: "Sequence[str]",
    host: str | None,
    theme: str | None,
    speed: float,
    preferences: "Preferences",
    state: "StateFile | None",
) -> int:
    from vmqtui.app import VmqApp
    from vmqtui.recorded import RecordedLink

    link = RecordedLink(recording)
    notes = [*remarks[:_NOTES]]
    if len(remarks) > _NOTES:
        notes.append(f"{len(remarks) - _NOTES} more remarks: vmqtui play --json prints them")
    if recording.broken is not None:
        notes.append(f"{recording.broken}; it plays up to there")
    app = VmqApp(
        link,
        theme=theme,
        read_only=True,
        host=host,
        tapes=link.tape,
        speed=speed,
        notes=notes,
        preferences=preferences,
        state=state,
    )
    await run_app(app)
    if recording.broken is not None:
        warn(f"{recording.broken}; it was played up to there")
    return status_of(app)


def _listing(recording: "Recording") -> dict[str, object]:
    return {
        "schema": "vmq.play/1",
        "recording": str(recording.path),
        "version": recording.version,
        "broken": recording.broken,
        "hosts": [
            {
                "host": host,
                "readings": len(index.offsets),
                "events": len(index.messages["event"]),
                "configs": len(index.messages["config"]),
                "first_time_ns": index.times_ns[0] if index.times_ns else None,
                "last_time_ns": index.times_ns[-1] if index.times_ns else None,
                "runs": index.runs[-1] + 1 if index.runs else 0,
            }
            for host, index in sorted(recording.hosts.items())
        ],
    }
