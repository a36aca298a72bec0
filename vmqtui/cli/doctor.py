"""``vmqtui doctor``: is everything there that an engine and a dashboard need, and what to do where not."""

import dataclasses
import sys
from typing import Final

from vmqtui import doctor
from vmqtui.cli.failures import DONE, FAILED
from vmqtui.cli.output import print_json
from vmqtui.cli.reach import completed
from vmqtui.cli.run import run_async
from vmqtui.doctor import Finding, Verdict
from vmqtui.printable import printable

_MARKS: Final[dict[Verdict, str]] = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}


def run_doctor(*, broker: str | None, clean: bool, as_json: bool) -> int:
    """Check, print what was found, a line each; 1 when something failed."""
    findings = run_async(_examine(broker, clean, tell=not as_json))
    failures = sum(one.verdict == "failed" for one in findings)
    if as_json:
        checks = [dataclasses.asdict(one) for one in findings]
        print_json({"schema": "vmq.doctor/1", "ok": not failures, "checks": checks})
    else:
        print(f"{failures} of {len(findings)} failed" if failures else "nothing stands in the way")
    return FAILED if failures else DONE


async def _examine(broker: str | None, clean: bool, *, tell: bool) -> list[Finding]:
    findings: list[Finding] = []

    def add(one: Finding) -> None:
        findings.append(one)
        if tell:
            _print(one)

    for check in (doctor.python, doctor.packages, doctor.kernels, doctor.shared_memory):
        for one in check():
            add(one)
    async for one in doctor.embedded_broker():
        add(one)
    if broker is not None:
        async for one in doctor.named_broker(broker, completed):
            add(one)
    for check in (doctor.terminal, doctor.directories):
        for one in check():
            add(one)
    for one in doctor.stale(clean=clean):
        add(one)
    return findings


def _print(one: Finding) -> None:
    print(f"{_MARKS[one.verdict]}  {one.subject}: {printable(one.found)}")
    if one.advice:
        print(f"{'':8}→ {printable(one.advice)}")
    sys.stdout.flush()
