"""Python, the packages, the compiled kernels."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from engine.counted import counted
from engine.kernels.cache import CACHE_DIRECTORY, COMPLETE, REFUSED, faults
from engine.kernels.prepare import MODULES, why_at_every_start
from vmqtui.doctor.finding import Finding

_OLDEST: Final = (3, 11)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*([^;\[]*)")
_BOUND: Final = re.compile(r"(>=|<=|==|<|>)\s*([0-9.]+)")


def python() -> Iterator[Finding]:
    """The interpreter that runs this."""
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info >= _OLDEST:
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "failed", found, "install Python 3.11 or later and make a new environment")


def packages() -> Iterator[Finding]:
    """Everything this program needs, in versions that fit; then what is optional."""
    try:
        version = metadata.version("vmqtui")
        lines = metadata.requires("vmqtui") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "note", "vmqtui runs from a folder, not installed", "pip install -e .")
        return
    needed = [line for line in lines if "extra ==" not in line]
    wrong = [problem for line in needed if (problem := misfit(line))]
    if wrong:
        yield Finding("packages", "failed", "; ".join(wrong), "run pip install again: pip install -e .")
    else:
        yield Finding(
            "packages", "ok", f"vmqtui {version}; all {len(needed)} that it needs are there and fit"
        )
    for extra in sorted(metadata.metadata("vmqtui").get_all("Provides-Extra") or []):
        mine = [line for line in lines if re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", line)]
        missing = [problem for line in mine if (problem := misfit(line))]
        if missing:
            yield Finding(
                f"extra {extra}",
                "note",
                "; ".join(missing),
                f"where it is wanted: pip install -e '.[{extra}]'",
            )
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def misfit(requirement: str) -> str:
    """What is wrong with the package that a requirement names; "" when it fits."""
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return ""
    name, bounds = match[1], match[2].strip()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    have = _numbers(version)
    for sign, bound in _BOUND.findall(bounds):
        want = _numbers(bound)
        width = max(len(have), len(want))
        mine, other = ((*one, *[0] * (width - len(one))) for one in (have, want))
        fits = {"<": mine < other, "<=": mine <= other, ">": mine > other, ">=": mine >= other}
        if not fits.get(sign, mine == other):
            return f"{name} {version} is not {bounds}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-zA-Z+]", version)[0]))


def kernels() -> Iterator[Finding]:
    """Whether compiled kernels are kept, and are there and whole."""
    if CACHE_DIRECTORY is None:
        advice = "give the user a cache directory of its own (XDG_CACHE_HOME names another)"
        yield Finding("kernels", "note", f"{why_at_every_start()}: some 20 s", advice)
        return
    for why in REFUSED:
        advice = f"nothing, or give it to its user alone: {CACHE_DIRECTORY} is used"
        yield Finding("kernels", "note", f"the first cache directory is not used: {why}", advice)
    found = faults(CACHE_DIRECTORY / COMPLETE)
    if found is None:
        yield Finding(
            "kernels",
            "note",
            f"not all compiled yet; they will be kept in {CACHE_DIRECTORY}",
            "nothing: the first engine compiles them, once",
        )
    elif found:
        advice = "nothing: the next engine compiles them again"
        yield from (Finding("kernels", "note", why, advice) for why in found)
    else:
        count = len(MODULES)
        yield Finding(
            "kernels", "ok", f"all {counted(count, 'module')} compiled and whole, in {CACHE_DIRECTORY}"
        )
