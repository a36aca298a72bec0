"""``vmqtui record``: what engines report, into a file."""

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.counted import counted
from engine.telemetry.recorder import AtLimit, LostFileError, Recorder, old_path
from engine.telemetry.stats import Stats
from vmqtui.cli.attach import find_hosts, open_watcher
from vmqtui.cli.failures import DONE, INTERRUPTED, failed, sentences, unusable, warn
from vmqtui.cli.run import on_signal, run_async
from vmqtui.numbers import size
from vmqtui.printable import printable

_CHECK_S: Final = 1.0
_RECORDED: Final = ("status", "config", "event", "stats")


def run_record(
    path: Path,
    *,
    broker: str | None,
    host: str | None,
    duration: float | None,
    limit_bytes: int,
    at_limit: AtLimit,
    force: bool,
) -> int:
    """Record until the time is over, the file is full, or a signal comes; the exit status."""
    for each in (path, old_path(path)) if at_limit == "keep-newest" else (path,):
        if each.exists() and not force:
            unusable(f"{each}: is there already; another name, or --force to replace it")
    with sentences():
        return run_async(_Recording(path, limit_bytes, at_limit, force).run(broker, host, duration))


class _Recording:
    """One run of the command. The file is made when there is something to record."""

    def __init__(self, path: Path, limit_bytes: int, at_limit: AtLimit, force: bool) -> None:
        self._path = path
        self._make = partial(Recorder, path, limit_bytes=limit_bytes, at_limit=at_limit, replace=force)
        self._recorder: Recorder | None = None
        self._early: dict[tuple[str, str], bytes] = {}
        """What was retained, before there was a file."""
        self._ended = asyncio.Event()
        self._status = DONE
        self._error: OSError | None = None
        self._undecodable = 0

    async def run(self, broker: str | None, host: str | None, duration: float | None) -> int:
        """Record; the exit status."""
        for number, status in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, DONE)):
            on_signal(number, partial(self._end, status))
        async with open_watcher(broker, host, self._on_message, user="viewer", kinds=_RECORDED) as watcher:
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
                    watching = asyncio.ensure_future(self._watch(self._recorder))
                    await asyncio.wait({ending}, timeout=duration)
                    self._ended.set()
                    watching.cancel()
                    if self._error is not None:
                        raise self._error
            except OSError as error:
                failed(f"{self._path}: {error.strerror or error}{self._so_far(error)}")
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(printable(self._summary()), flush=True)
        if left_out := watcher.replaced + watcher.no_room:
            warn(f"left out {counted(left_out, 'message')} that came faster than this could record")
        if self._undecodable:
            warn(f"left out {counted(self._undecodable, 'reading')} that can't be decoded")
        if self._recorder.full:
            warn(f"{self._path} is as large as --max-mb allows; what came after is not in it")
        return self._status

    def _end(self, status: int) -> None:
        self._status = status
        self._ended.set()

    def _on_message(self, host: str, kind: str, payload: bytes) -> None:
        if self._ended.is_set():  # the file is closed before the connection
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

    async def _watch(self, recorder: Recorder) -> None:
        """See that the file stays in its place, also where nothing comes; on a terminal, show progress."""
        shown = sys.stderr.isatty()
        if shown:
            print(f"recording to {self._path}; Ctrl-C ends it", file=sys.stderr)
        while True:
            if shown:
                print(f"\r\x1b[K{printable(self._summary())}", end="", file=sys.stderr, flush=True)
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
        recorded = self._recorder is not None and self._recorder.readings
        whole = recorded and not isinstance(error, LostFileError)
        return "; what was recorded until then can be played" if whole else ""
