"""Where commands log to, and ``vmqtui logs …``: finding and reading it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from engine.logs import Form, log_directory, log_files, write_beside, write_to_file, write_to_stderr
from vmqtui.cli.failures import failed, unusable
from vmqtui.printable import printable

_TAIL_BYTES: Final = 1 << 20

logs = typer.Typer(help="Find and read what engines and dashboards log.", rich_markup_mode=None)


def log_of_screen(role: str, form: Form) -> None:
    """Log where it can't disturb a screen: to a file of this process in the log directory."""
    write_beside(role, form)


def log_of_engine(form: Form | None, file: Path | None, *, tied: bool) -> None:
    """Log to ``file``; to standard error where only a form is named; else into the log directory.

    An engine that is tied to a dashboard never writes to standard error: a screen is in use.
    """
    if file is not None:
        try:
            write_to_file(file, form or "text")
        except OSError as error:
            unusable(f"--log-file: {file}: {error.strerror or error}")
    elif form is None or tied:
        write_beside("engine", form or "text")
    else:
        write_to_stderr(form)


@logs.command()
def path() -> None:
    """Print the directory that logs are in, whether or not there are any."""
    print(log_directory())


@logs.command("list")
def list_() -> None:
    """Print the files there are, the newest first."""
    for file in log_files():
        print(printable(str(file)))


@logs.command()
def show(
    lines: Annotated[int, typer.Option("--lines", metavar="N", min=1, max=10_000)] = 40,
    role: Annotated[
        str | None, typer.Option("--of", metavar="engine|dashboard|serve", help="Only of these programs.")
    ] = None,
) -> None:
    """Print the last lines of the newest file."""
    files = [file for file in log_files() if role is None or file.name.startswith(f"{role}-")]
    if not files:
        failed(f"nothing is logged in {log_directory()}")
    with files[0].open("rb") as file:
        file.seek(max(0, files[0].stat().st_size - _TAIL_BYTES))
        last = file.read(_TAIL_BYTES).decode("utf-8", errors="replace").splitlines()[-lines:]
    print(f"# {printable(str(files[0]))}")
    for line in last:
        print(printable(line, 32_768), flush=True)
