"""Fuzzing guided by coverage: ``python -m tests.fuzz [TARGET…] [--seconds N]``; needs atheris, from PyPI.

Each target runs in a process of its own for so many seconds, from its seeds and from what earlier runs kept
in ``--corpus``. A finding ends the program with 1; its input is in a file that is named, ready for a test.
Kernels are compiled with Numba's checks of bounds, into a cache of their own: what would read beside an
array is a finding, too.
"""

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LONGEST_INPUT_BYTES = 65_536
ENGINE = Path(__file__).parents[2] / "engine"
KERNELS = [
    "engine.kernels.jit",
    *(
        ".".join(path.relative_to(ENGINE.parent).with_suffix("").parts)
        for path in ENGINE.rglob("*.py")
        if "from engine.kernels.jit import" in path.read_text(encoding="utf-8")
    ),
]
"""What Numba compiles: it takes no instrumented code."""


def fuzz(name: str, room: str, seconds: int, seed: int, corpus: Path) -> None:
    """Fuzz one target in this process, which libFuzzer ends; only its room is loaded, which takes long."""
    import atheris

    with atheris.instrument_imports(include=["engine", "vmqtui"], exclude=KERNELS):
        from tests.fuzz.mutate import mutator

        target = importlib.import_module(room).TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(sample)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        "-timeout=100",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={corpus.parent}/finding-{name}-",
        "-print_final_stats=1",
    ]
    if words := sorted(set(target.words())):
        known = corpus.parent / f"words-{name}"
        known.write_text("".join(f'"{_escaped(word)}"\n' for word in words), encoding="ascii")
        options.append(f"-dict={known}")

    def mutate(data: bytes, most: int) -> bytes:
        changed: bytes = atheris.Mutate(data, most)  # another function once Fuzz has begun
        return changed

    extra = {} if target.form is None else {"custom_mutator": mutator(target.form, mutate)}
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run, **extra)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries write it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def main() -> int:
    """Fuzz the targets that are named, or all, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all; --list prints them")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("--seconds", type=int, default=60, help="for each target; default: 60")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the mutations; default: 0, another one each time"
    )
    parser.add_argument("--corpus", type=Path, help="where inputs are kept between runs; default: nowhere")
    parser.add_argument("--inside", metavar="ROOM", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:  # nothing of ours may be imported yet: it would go uninstrumented
        fuzz(given.targets[0], given.inside, given.seconds, given.seed, given.corpus)
        return 0
    from tests.fuzz.targets import TARGETS

    if given.list:
        print(*TARGETS, sep="\n")
        return 0
    if unknown := [name for name in given.targets if name not in TARGETS]:
        parser.error(f"{unknown[0]}: not one of {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="vmq-corpus-") as nowhere:
        corpus = given.corpus or Path(nowhere)
        return max(
            run(name, TARGETS[name].run.__module__, given.seconds, given.seed, corpus)
            for name in given.targets or TARGETS
        )


def run(name: str, room: str, seconds: int, seed: int, corpus: Path) -> int:
    """Fuzz a target in a process of its own, and print a line: inputs tried, and how it ended."""
    command = [sys.executable, "-m", "tests.fuzz", "--inside", room, name]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--corpus", str(corpus / name)]
    checked = {"NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": str(corpus / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | checked)
    tried = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    found = done.returncode != 0
    print(
        f"{name:<16}{tried[0] if tried else '?':>10} inputs  {'FOUND SOMETHING' if found else 'ok'}",
        flush=True,
    )
    if found:
        print(done.stderr[-8000:], file=sys.stderr)
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
