"""Sources of a command's frames: options, captures from files and pipes, compiled kernels."""

import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.counted import counted
from vmqtui.cli.failures import DONE, FAILED, failed, unusable, warn
from vmqtui.cli.options import AdapterThatIsFed
from vmqtui.cli.output import ProgressLine

if TYPE_CHECKING:
    from engine.service.sources import Caveats, ReadCapture
    from engine.traffic.capture_file import CaptureFile

CaptureArgument = Annotated[
    Path, typer.Argument(metavar="CAPTURE", help="A pcap or pcapng file, also gzipped; - is standard input.")
]
CaptureOption = Annotated[
    Path | None,
    typer.Option("--capture", metavar="F", help="Receive the frames of this capture (pcap, pcapng)."),
]
ScenarioOption = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="F", help="Scenario file (TOML); default: one that ships."),
]
Loop = Annotated[bool, typer.Option("--loop", help="Start the capture again when it ends.")]


@dataclass(frozen=True)
class SourceOptions:
    """What an engine models, and where its frames come from."""

    scenario: ScenarioOption = None
    capture: CaptureOption = None
    loop: Loop = False
    interface: Annotated[
        str | None,
        typer.Option("--interface", metavar="IF", help="Receive what this network interface receives."),
    ] = None
    promiscuous: Annotated[
        bool, typer.Option("--promiscuous", help="Have the interface receive frames for others, too.")
    ] = False
    adapter: AdapterThatIsFed = None

    def check(self) -> None:
        """End with status 2 if these options conflict."""
        if self.capture is not None and self.interface is not None:
            unusable("--interface: frames come from it or from --capture, not both")
        if self.loop and self.capture is None:
            unusable("--loop: there is no --capture to loop")
        if self.promiscuous and self.interface is None:
            unusable("--promiscuous: there is no --interface")
        if self.adapter is not None and self.capture is None and self.interface is None:
            unusable("--adapter: there is no --capture and no --interface to feed it")
        if self.interface == "":
            unusable("--interface: is empty; the name of an Ethernet interface fits")

    def check_private(self, broker: str | None) -> None:
        """End with status 2 if these options are none for an engine of a dashboard's own."""
        from engine.scenario.load import load

        given = [
            ("--scenario", self.scenario),
            ("--capture", self.capture),
            ("--interface", self.interface),
            ("--adapter", self.adapter),
        ]
        of_engine = [name for name, value in given if value is not None]
        if broker is not None and of_engine:
            unusable(
                f"{of_engine[0]}: is for an engine of this dashboard's own,"
                " which --broker and VMQTUI_BROKER leave out"
            )
        if self.scenario is not None:
            load(self.scenario)
        self.check()
        if self.capture is not None and is_stream(self.capture):
            unusable(f"--capture: {self.capture} is a pipe, which only vmqtui engine reads (a file fits)")


def is_stream(path: Path) -> bool:
    """Whether a path is standard input ("-"), a pipe, or any other file that can be read only once."""
    try:
        mode = path.stat().st_mode
    except OSError:  # opening it later reports the error
        return str(path) == "-"
    return str(path) == "-" or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def kept_capture(path: Path) -> "Iterator[CaptureFile]":
    """Yield the capture; a pipe is first read to its end, with progress on a terminal.

    Raises CaptureError.
    """
    from engine.service.sources import piped_capture
    from engine.traffic.capture_file import capture_file

    if not is_stream(path):
        yield capture_file(path)
        return
    with ExitStack() as stack:
        with ProgressLine() as line:

            def progress(name: str, read_bytes: int) -> None:
                so_far = f": {read_bytes / 1e6:,.1f} MB so far" if read_bytes else ", a pipe, to its end"
                line.show(f"reading {name}{so_far}")

            capture = stack.enter_context(piped_capture(path, progress))
        yield capture


def warn_of(caveats: "Caveats", covering: str) -> int:
    """Warn about frames that ``covering`` ("the report") does not include; return the exit status."""
    if caveats.skipped_frames:
        warn(f"frames of interfaces that are not Ethernet are left out: {caveats.skipped_frames:,}")
    if caveats.broken is None:
        return DONE
    warn(f"{caveats.broken}; {covering} covers the frames before it")
    return FAILED


def kept_capture_if(path: Path | None) -> "AbstractContextManager[CaptureFile | None]":
    """Return ``kept_capture(path)``; without a path, a context that yields None."""
    return nullcontext() if path is None else kept_capture(path)


def prepare_kernels(*also: str, kernels: Sequence[str] | None = None, tell: bool = False) -> None:
    """Compile what is not compiled yet of all modules, or of ``kernels``, and start the workers' fork server.

    The server imports the modules ``also``. Progress is shown on a terminal; with ``tell`` each sentence is a
    line on stderr, for a program that reads them. Ends the command if the kernels don't compile.
    """
    from engine.kernels.prepare import MODULES, KernelError, passes, prepare, why_at_every_start
    from engine.workers.start import warm_up

    newest = ""
    with ProgressLine() as line:

        def say(sentence: str) -> None:
            nonlocal newest
            newest = sentence
            if tell:
                print(sentence, file=sys.stderr, flush=True)
            elif passes(sentence):
                line.show(sentence)
            else:
                line.remark(sentence)

        if why := why_at_every_start():
            say(why)
        try:
            prepare(say, MODULES if kernels is None else kernels)
        except KernelError as error:
            failed(error)
        if tell and passes(newest):
            say("starting the workers")
    warm_up(*also)


def reading(line: ProgressLine, doing: str) -> "Callable[[ReadCapture], None]":
    """Return a function that shows how much of a capture was read."""

    def show(source: "ReadCapture") -> None:
        share = source.bytes_read / source.bytes_total if source.bytes_total else None
        line.show(f"{doing}: {counted(source.frames, 'frame')}", share)

    return show
