"""``vmqtui kernels …``: compile the kernels before an engine needs them, and print where they are kept."""

import json
import sys
import time

import typer

from vmqtui.cli.failures import failed
from vmqtui.cli.options import Json
from vmqtui.printable import printable

kernels = typer.Typer(
    help="Compile kernels ahead of the first engine, as for a CI image; show where they are kept.",
    rich_markup_mode=None,
)


@kernels.command("compile")
def compile_(json_: Json = False) -> None:
    """Compile all kernels that are not kept yet, with those of live interfaces, and print their directory.

    Progress goes to standard error. The directory holds for these sources, this Python and this processor.
    """
    from engine.kernels.cache import CACHE_DIRECTORY, COMPLETE, faults
    from engine.kernels.prepare import OF_INTERFACE, KernelError, prepare, why_at_every_start

    if CACHE_DIRECTORY is None:
        failed(why_at_every_start() or "")
    sentences: list[str] = []

    def say(sentence: str) -> None:
        sentences.append(sentence)
        print(sentence, file=sys.stderr, flush=True)

    began = time.monotonic()
    try:
        prepare(say, OF_INTERFACE)
    except KernelError as error:
        failed(error)
    if any(faults(CACHE_DIRECTORY / done) != [] for done in (COMPLETE, *OF_INTERFACE)):
        failed("the kernels can't be kept")
    files = [path.stat().st_size for path in CACHE_DIRECTORY.glob("*.kernel")]
    if json_:
        print(
            json.dumps(
                {
                    "directory": str(CACHE_DIRECTORY),
                    "kernels": len(files),
                    "bytes": sum(files),
                    "compiled": bool(sentences),
                    "seconds": round(time.monotonic() - began, 3),
                }
            )
        )
    else:
        print(printable(str(CACHE_DIRECTORY)))


@kernels.command()
def path() -> None:
    """Print the directory that compiled kernels are kept in, whether or not there are any."""
    from engine.kernels.cache import CACHE_DIRECTORY
    from engine.kernels.prepare import why_at_every_start

    if CACHE_DIRECTORY is None:
        failed(why_at_every_start() or "")
    print(printable(str(CACHE_DIRECTORY)))
