"""Log destinations of commands, and ``vmqtui logs …``: find and read the log files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from vmqtui.cli.failures import failed, unusable
from vmqtui.cli.options import LogForm
from vmqtui.printable import printable

_TAIL_BYTES: Final = 1 << 20

logs: Final = typer.Typer(help="Find and read what engines and dashboards log.", rich_markup_mode=None)


def log_of_screen(role: str, form: LogForm) -> None:
    """Log to a file of this process in the log directory: stderr would disturb the screen."""
    from engine.logs import write_beside

    write_beside(role, form)


@dataclass(frozen=True)
class EngineLogOptions:
    """The destination and format of an engine's log."""

    log_format: Annotated[
        LogForm | None,
        typer.Option("--log-format", help="Log to standard error (or FILE); default: a file, as text."),
    ] = None
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", metavar="FILE", help="Log there; default: see vmqtui logs path."),
    ] = None

    def begin(self, role: str, *, tied: bool) -> None:
        """Log to ``--log-file``; with only ``--log-format``, to standard error; else into the log directory,
        as ``role``.

        An engine that is tied to a dashboard never logs to standard error, which its dashboard reads.
        """
        from engine.logs import write_beside, write_to_file, write_to_stderr

        form, file = self.log_format, self.log_file
        if file is not None:
            try:
                write_to_file(file, form or "text")
            except OSError as error:
                unusable(f"--log-file: {file}: {error.strerror or error}")
        elif form is None or tied:
            write_beside(role, form or "text")
        else:
            write_to_stderr(form)


@logs.command()
def path() -> None:
    """Print the directory that logs are in, whether or not there are any."""
    from engine.logs import log_directory

    print(log_directory())


@logs.command("list")
def list_() -> None:
    """Print the files there are, the newest first."""
    from engine.logs import log_files

    for file in log_files():
        print(printable(str(file)))


@logs.command()
def show(
    lines: Annotated[int, typer.Option("--lines", metavar="N", min=1, max=10_000)] = 40,
    role: Annotated[
        str | None,
        typer.Option("--of", metavar="engine|agent|dashboard|serve", help="Only of these programs."),
    ] = None,
) -> None:
    """Print the last lines of the newest file."""
    from engine.logs import log_directory, log_files

    files = [file for file in log_files() if role is None or file.name.startswith(f"{role}-")]
    if not files:
        failed(f"nothing is logged in {log_directory()}")
    with files[0].open("rb") as file:
        file.seek(max(0, files[0].stat().st_size - _TAIL_BYTES))
        last = file.read(_TAIL_BYTES).decode("utf-8", errors="replace").splitlines()[-lines:]
    print(f"# {printable(str(files[0]))}")
    for line in last:
        print(printable(line, 32_768), flush=True)
