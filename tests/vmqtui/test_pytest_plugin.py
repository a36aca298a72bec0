"""The pytest plugin in other people's projects, against the installed package."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

LOADED: Final = """
import sys

HEAVY = {"engine", "numba", "numpy", "msgspec", "aiomqtt", "multiprocessing", "typer"}

def pytest_unconfigure():
    print("HEAVY", sorted(HEAVY & {name for name in sys.modules}))
"""


def run_pytest(project: Path, *arguments: str) -> tuple[int, str]:
    """Status and output of ``python -m pytest`` in a project, with the plugins of this environment."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write(project: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return project


@pytest.mark.parametrize("layout", ["engine/__init__.py", "engine.py"])
def test_a_project_with_an_engine_of_its_own_does_not_notice_vmqtui(tmp_path: Path, layout: str) -> None:
    project = write(
        tmp_path,
        {
            layout: "PISTONS = 4\n",
            "test_car.py": "import engine\n\ndef test_pistons():\n    assert engine.PISTONS == 4\n",
        },
    )
    status, output = run_pytest(project)
    assert status == 0, output
    assert "1 passed" in output
    assert "vmqtui" in output, "the plugin is installed, and pytest names it"


def test_a_project_without_an_engine_loads_nothing_heavy(tmp_path: Path) -> None:
    files = {"conftest.py": LOADED, "test_one.py": "def test_one():\n    assert True\n"}
    status, output = run_pytest(write(tmp_path, files), "-p", "no:xdist")
    assert status == 0, output
    assert "HEAVY []" in output
