"""The public interface: its names, their docstrings, and that nothing is loaded before it is used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vmqtui
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
