"""The public interface: its names, their docstrings, and that nothing is loaded before it is used."""

import ast
import inspect
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

import vmqtui
from tests.traffic.captures import frame, pcap
from vmqtui import testing

SOURCE = Path(vmqtui.__file__)
HEAVY = ("engine", "numba", "numpy", "textual", "msgspec", "aiomqtt", "asyncio", "multiprocessing")


def for_type_checkers() -> dict[str, str]:
    """The module that each public name comes from, by the imports that type checkers see."""
    block = next(node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_the_interpreter_see_the_same_names_from_the_same_modules() -> None:
    assert vmqtui.__all__ == sorted(vmqtui.__all__)
    assert for_type_checkers() == vmqtui._HOME_OF
    assert sorted(vmqtui._HOME_OF) == vmqtui.__all__
    assert set(vmqtui.__all__) <= set(dir(vmqtui))


@pytest.mark.parametrize("name", [*vmqtui.__all__, *testing.__all__])
def test_each_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(vmqtui, name, None) or getattr(testing, name)
    if name == "__version__":
        assert isinstance(value, str)
        return
    assert inspect.isclass(value) or inspect.isfunction(value), name
    assert value.__doc__, name
    if inspect.isclass(value):
        members = [
            (member, found)
            for member, found in vars(value).items()
            if not member.startswith("_") and (inspect.isfunction(found) or isinstance(found, property))
        ]
        assert [member for member, found in members if not found.__doc__] == []


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The site-packages of a new environment, ``tmp_path/env``, which has this package and its libraries."""
    venv.create(tmp_path / "env")
    site = next(path for path in (tmp_path / "env").rglob("site-packages"))
    paths = [str(SOURCE.parents[1]), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "ours.pth").write_text("\n".join(paths), encoding="utf-8")
    return site


def verified(tmp_path: Path, package: str, *options: str) -> list[dict[str, Any]]:
    """What pyright reports of each symbol of a package that is installed in ``tmp_path/env``."""
    pytest.importorskip("pyright")
    programs = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", package, "--outputjson", *options],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "VIRTUAL_ENV": str(tmp_path / "env")},
        capture_output=True,
        text=True,
        check=False,
    )
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return symbols


@pytest.mark.slow
def test_a_type_checker_knows_the_type_of_everything_public(tmp_path: Path, installed: Path) -> None:
    """A package that has all public names as its own is verified, and with it what they consist of."""
    package = installed / "door"
    package.mkdir()
    (package / "py.typed").touch()
    names = {"vmqtui": [name for name in vmqtui.__all__ if name != "__version__"]}
    names["vmqtui.testing"] = [name for name in testing.__all__ if name not in vmqtui.__all__]
    lines = [f"from {module} import {one} as {one}" for module, found in names.items() for one in found]
    (package / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    symbols = verified(tmp_path, "door")
    ours = [one for one in symbols if one["name"].split(".")[0] in ("door", "vmqtui", "engine")]
    assert len(ours) > 500
    assert [one["name"] for one in ours if not one["isTypeKnown"]] == []


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_every_module_of_the_package_is_typed_the_same_for_all_type_checkers(tmp_path: Path) -> None:
    """This is ``pyright --verifytypes vmqtui --ignoreexternal``; the dashboard and the commands are in it."""
    exported = [one for one in verified(tmp_path, "vmqtui", "--ignoreexternal") if one["isExported"]]
    assert len(exported) > 2000
    assert [one["name"] for one in exported if one["isTypeAmbiguous"] or not one["isTypeKnown"]] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'vmqtui' has no attribute 'Enigne'"):
        _ = vmqtui.Enigne  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from vmqtui import Enigne")


def test_importing_the_door_loads_no_engine() -> None:
    script = f"import vmqtui, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_what_tests_need_loads_no_kernels() -> None:
    script = "import vmqtui.testing, sys; print([name for name in ('numba', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_plan_says_that_its_capture_breaks_off(tmp_path: Path) -> None:
    capture = tmp_path / "broken.pcap"
    capture.write_bytes(pcap([frame(), frame()])[:-10])
    planned = vmqtui.plan(capture)
    assert planned.scenario.adapter[0].queue[0].filter[0].mac == "00:15:5d:00:00:01"
    assert planned.notes[-1].endswith("; the plan covers the frames before it")
