"""Scripts that start an engine, as people write them: with and without the guard of the main module."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = """
import asyncio, os, sys
from dataclasses import dataclass
from vmqtui import Engine, parse_scenario

print("script", os.getpid())

@dataclass
class Mine:
    frames: int

async def main():
    scenario = parse_scenario('[host]\\nname = "lab"\\ncpus = 2\\n[[adapter]]\\nname = "nic0"\\n')
    async with Engine(scenario) as engine:
        assert len(engine.worker_pids) == 2
        answer = await engine.request("ping")
        print(answer.ndis_status, sys.modules["__main__"].Mine is Mine)
"""
GUARDED: Final = f'{SCRIPT}\nif __name__ == "__main__":\n    asyncio.run(main())\n'
PLAIN: Final = f"{SCRIPT}\nasyncio.run(main())\n"
CELLS: Final = f"""
import code
cell = code.InteractiveConsole(globals() | {{"__name__": "__main__"}})
exec(compile({PLAIN!r}, "<cell 1>", "exec"), globals())
"""
"""A notebook executes cells in the main module."""
SPAWNED: Final = f"""
import multiprocessing
multiprocessing.get_all_start_methods = lambda: ["spawn"]
{PLAIN}"""
"""Where there is no fork, as on Windows, workers are spawned."""


def run(directory: Path, *command: str, given: str | None = None, **variables: str) -> str:
    """Run Python with every warning an error; return what it printed. It must write no error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [
        line for line in done.stderr.splitlines() if not line.startswith("vmqtui: compiling kernels, once: ")
    ]
    assert lines == []
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [GUARDED, PLAIN, CELLS, SPAWNED], ids=["guarded", "plain", "cells", "spawned"]
)
@pytest.mark.parametrize("how", ["file", "module", "-c", "stdin"])
def test_a_script_runs_once_and_its_engine_works(text: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    command = {"file": ["script.py"], "module": ["-m", "script"], "-c": ["-c", text], "stdin": ["-"]}[how]
    first, second = run(tmp_path, *command, given=text if how == "stdin" else None).splitlines()
    assert first.startswith("script ")
    assert second == "NDIS_STATUS_SUCCESS True"


@pytest.mark.slow
def test_a_first_start_has_no_warnings_and_says_that_it_compiles(tmp_path: Path) -> None:
    """Cold, then warm. The import compiles nothing; the first engine does."""
    cache = tmp_path / "cache"
    cache.mkdir()
    variables = {"XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache), "HOME": str(cache)}
    imports = "import vmqtui; [getattr(vmqtui, name) for name in vmqtui.__all__]"
    run(tmp_path, "-c", imports, **variables)
    assert not [*cache.rglob("*.kernel")]
    for _ in range(2):
        assert run(tmp_path, "-c", PLAIN, **variables).endswith("NDIS_STATUS_SUCCESS True\n")
    assert [*cache.rglob("*.kernel")]
