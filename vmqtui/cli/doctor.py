"""``vmqtui doctor``: check the requirements of an engine and a dashboard, and suggest fixes.

``vmqtui kernels …``: compile the kernels before an engine needs them, and print where they are kept.
"""

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vmqtui.cli.failures import DONE, FAILED, failed
from vmqtui.cli.options import Json
from vmqtui.cli.output import folded, print_json
from vmqtui.cli.reach import BrokerOptions
from vmqtui.cli.run import run_async
from vmqtui.printable import printable

if TYPE_CHECKING:
    from vmqtui.doctor import Finding, Verdict

_MARKS: Final[dict["Verdict", str]] = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}

kernels: Final = typer.Typer(
    help="Compile kernels ahead of the first engine, as for a CI image; show where they are kept.",
    rich_markup_mode=None,
)


def doctor(
    at: BrokerOptions,
    clean: Annotated[bool, typer.Option("--clean", help="Remove what crashed engines left behind.")] = False,
    json_: Json = False,
) -> int:
    """Check this installation, and say what to do where something is wrong."""
    findings = run_async(_examine(at, clean, tell=not json_))
    failures = sum(one.verdict == "failed" for one in findings)
    if json_:
        checks = [dataclasses.asdict(one) for one in findings]
        print_json({"schema": "vmq.doctor/1", "ok": not failures, "checks": checks})
    else:
        print(f"{failures} of {len(findings)} failed" if failures else "nothing stands in the way")
    return FAILED if failures else DONE


async def _examine(at: BrokerOptions, clean: bool, *, tell: bool) -> "list[Finding]":
    from vmqtui import doctor as checks

    findings: list[Finding] = []

    def add(one: "Finding") -> None:
        findings.append(one)
        if tell:
            _print(one)

    for check in (checks.python, checks.packages, checks.kernels, checks.shared_memory):
        for one in check():
            add(one)
    async for one in checks.embedded_broker():
        add(one)
    if at.broker is not None:
        async for one in checks.named_broker(at.broker, at.complete):
            add(one)
    for check in (checks.terminal, checks.directories):
        for one in check():
            add(one)
    for one in checks.stale(clean=clean):
        add(one)
    return findings


def _print(one: "Finding") -> None:
    print("\n".join(folded(f"{_MARKS[one.verdict]}  {one.subject}: {printable(one.found)}", 8)))
    if one.advice:
        print("\n".join(folded(f"{'':8}→ {printable(one.advice)}", 10)))
    sys.stdout.flush()


@kernels.command("compile")
def compile_(json_: Json = False) -> None:
    """Compile all kernels that are not kept yet, with those of live interfaces, and print their directory.

    Progress goes to standard error. The directory holds for these sources, this Python and this processor.
    """
    from engine.kernels.cache import CACHE_DIRECTORY, faults
    from engine.kernels.prepare import MODULES, OF_INTERFACE, KernelError, prepare, why_at_every_start

    if CACHE_DIRECTORY is None:
        failed(why_at_every_start() or "")
    sentences: list[str] = []

    def say(sentence: str) -> None:
        sentences.append(sentence)
        print(sentence, file=sys.stderr, flush=True)

    began = time.monotonic()
    try:
        prepare(say, (*MODULES, *OF_INTERFACE))
    except KernelError as error:
        failed(error)
    if any(faults(CACHE_DIRECTORY, module) != [] for module in (*MODULES, *OF_INTERFACE)):
        failed("the kernels can't be kept")
    files = [path.stat().st_size for path in CACHE_DIRECTORY.glob("*.kernel")]
    if json_:
        print_json(
            {
                "schema": "vmq.kernels/1",
                "directory": str(CACHE_DIRECTORY),
                "kernels": len(files),
                "bytes": sum(files),
                "compiled": bool(sentences),
                "seconds": round(time.monotonic() - began, 3),
            }
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
