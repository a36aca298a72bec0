"""``vmqtui export …``: metrics for Prometheus, a dashboard for Grafana, tables of a recording."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from engine.counted import counted
from engine.files import put_in_place
from vmqtui.cli.attach import open_watcher
from vmqtui.cli.failures import DONE, INTERRUPTED, failed, not_one_of, sentences, unusable, warn
from vmqtui.cli.options import Force, address_of, grouped
from vmqtui.cli.output import ProgressLine, write_in_utf8
from vmqtui.cli.reach import EVERY_HOST_HELP, EveryHostOptions
from vmqtui.cli.recordings import opened
from vmqtui.cli.run import on_signal, run_async
from vmqtui.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmqtui.export.tables import Cell, Rows, Table

Form = Literal["csv", "parquet"]
DEFAULT_LISTEN = "127.0.0.1:9825"

export: Final = typer.Typer(
    help="Give other programs what engines report and recordings hold.", rich_markup_mode=None
)

OnlyHost = Annotated[str | None, typer.Option("--host", metavar="H", help=EVERY_HOST_HELP)]
RecordingFile = Annotated[Path, typer.Argument(metavar="RECORDING", help="A file of vmqtui record.")]
TableName = Annotated[
    str, typer.Option("--table", metavar="T", help="queues, filters, cpus, adapters or events.")
]


@export.command()
@grouped
def prometheus(
    *,
    at: EveryHostOptions,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens; port 0: a free one.")
    ] = DEFAULT_LISTEN,
    filters: Annotated[
        bool, typer.Option("--filters", help="A series for each filter, too; there may be many.")
    ] = False,
) -> int:
    """Serve what engines report to Prometheus. Its first line is the address to scrape."""
    with sentences():
        return run_async(_serve(at, address_of(listen, "127.0.0.1:8000"), filters))


async def _serve(at: EveryHostOptions, address: tuple[str, int], filters: bool) -> int:
    import asyncio

    from engine.bus.urls import is_loopback
    from engine.logs import write_to_stderr
    from vmqtui.export.endpoint import Endpoint

    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    on_signal(signal.SIGINT, lambda: end(INTERRUPTED))
    on_signal(signal.SIGTERM, lambda: end(DONE))
    async with open_watcher(at, at.host, user="viewer") as watcher:
        try:
            async with Endpoint(watcher, *address, filters=filters) as endpoint:
                if not is_loopback(address[0]):
                    warn("whoever reaches this address can read every number and name; it asks for nothing")
                print(endpoint.url, flush=True)
                write_to_stderr("text")  # only now: an earlier error is printed as a sentence
                return await ended
        except OSError as error:
            failed(f"--listen: {address[0]}:{address[1]}: {error.strerror or error}")


@export.command()
def grafana() -> None:
    """Print a dashboard for Grafana over those metrics; import it there."""
    from importlib.resources import files

    write_in_utf8()
    sys.stdout.write((files("vmqtui.export") / "grafana.json").read_text(encoding="utf-8"))


@export.command()
def csv(
    recording: RecordingFile,
    table: TableName = "queues",
    host: OnlyHost = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: standard output.")
    ] = None,
    force: Force = False,
) -> int:
    """Write a table of a recording as CSV: every reading's rows, one after another."""
    return _write(recording, table, host, output, force, "csv")


@export.command()
def parquet(
    recording: RecordingFile,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    table: TableName = "queues",
    host: OnlyHost = None,
    force: Force = False,
) -> int:
    """Write a table of a recording as Parquet (needs pyarrow: pip install 'vmqtui[parquet]')."""
    return _write(recording, table, host, output, force, "parquet")


def _write(path: Path, table: str, host: str | None, output: Path | None, force: bool, form: "Form") -> int:
    from vmqtui.export.tables import COLUMNS, Rows

    if table not in COLUMNS:
        unusable(f"--table: {not_one_of(table, list(COLUMNS), 'a table')}")
    if output is not None and output.exists() and not force:
        unusable(f"{output}: is there already; another name, or --force to replace it")
    with opened(path) as (recording, remarks):
        for remark in remarks:
            warn(remark)
        if host is not None and host not in recording.hosts:
            unusable(f"--host: {host!r} is not in {path}; {', '.join(sorted(recording.hosts))} fits")
        rows = Rows(recording, table, host)
        with ProgressLine() as line:
            if output is None and sys.stdout.isatty():
                line.shown = False  # the rows are on that terminal
            rows.progress = lambda share: line.show(f"writing {table}", share)
            count = _write_rows(rows, table, output, form)
        if recording.broken is not None:
            warn(f"{recording.broken}; what is before was written")
        if rows.unreadable:
            warn(f"{path}: left out {counted(rows.unreadable, 'record')} that can't be read")
    if output is not None:
        print(f"{output}: {counted(count, 'row')} of {table}")
    return DONE


def _write_rows(rows: "Rows", table: "Table", output: Path | None, form: "Form") -> int:
    from vmqtui.export.tables import (
        COLUMNS,
        MissingLibraryError,
        UnfitValueError,
        write_csv,
        write_parquet,
    )

    if output is None:
        write_in_utf8()
        plain = _plain(rows) if sys.stdout.isatty() else rows
        return write_csv(sys.stdout, COLUMNS[table], plain)
    try:
        with put_in_place(output) as part:
            if form == "parquet":
                return write_parquet(part, COLUMNS[table], rows)
            with part.open("w", encoding="utf-8", newline="") as file:
                return write_csv(file, COLUMNS[table], rows)
    except MissingLibraryError as error:
        unusable(error)
    except UnfitValueError as error:
        failed(f"{output}: {error}")
    except OSError as error:
        failed(f"{output}: {error.strerror or error}")


def _plain(rows: "Rows") -> "Iterator[Sequence[Cell]]":
    """Yield the rows with control characters in names made printable, for a terminal."""
    for row in rows:
        yield [printable(value) if isinstance(value, str) else value for value in row]
