"""Another project's tests, outside the checkout, against the installed wheel."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "project"
TESTS = 34
"""Tests of the project, at the least: that they ran is checked, too."""


def call(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def install(directory: Path) -> Path:
    """Install the wheel into a new environment that has this one's other packages; return its Python."""
    build: list[str | Path] = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", directory, ROOT]
    built = call(*build, cwd=directory)
    assert built.returncode == 0, built.stdout
    (wheel,) = directory.glob("vmqtui-*.whl")
    made = call(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=directory)
    assert made.returncode == 0, made.stdout
    (python,) = [path for path in directory.glob("venv/*/python*") if path.stem == "python"]
    # Without the .pth files of this environment: an editable install of vmqtui stays out.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    where = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory)
    (Path(where.stdout.strip()) / "others.pth").write_text("\n".join(sorted(paths)), encoding="utf-8")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
    put = call(*pip, "install", "-q", "--no-deps", wheel, cwd=directory)
    assert put.returncode == 0, put.stdout
    return python


@pytest.mark.slow
def test_the_tests_of_another_project_pass_against_the_installed_wheel(tmp_path: Path) -> None:
    python = install(tmp_path)
    project = Path(shutil.copytree(PROJECT, tmp_path / "project"))
    (tmp_path / "runtime").mkdir(mode=0o700)
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    where = call(python, "-c", "import vmqtui; print(vmqtui.__file__)", cwd=project, **own)
    assert Path(where.stdout.strip()).is_relative_to(tmp_path), where.stdout
    compiled = call(python, "-m", "vmqtui", "kernels", "compile", cwd=project, **own)
    assert compiled.returncode == 0, compiled.stdout

    done = call(python, "-m", "pytest", "-q", "--junitxml=report.xml", cwd=project, **own)

    assert done.returncode == 0, done.stdout
    suite = ElementTree.parse(project / "report.xml").getroot()[0]
    assert int(suite.attrib["tests"]) >= TESTS, done.stdout
    assert suite.attrib["skipped"] == "0", done.stdout
    for one in suite.iter("property"):
        print(f"{one.attrib['name']}: {one.attrib['value']}")

    if find_spec("mypy"):
        options = ["--strict", "--ignore-missing-imports", f"--cache-dir={tmp_path / 'mypy'}"]
        checked = call(python, "-m", "mypy", *options, ".", cwd=project, **own)
        assert checked.returncode == 0, checked.stdout
