"""The modules of both packages: how many there are, and that none imports itself through others."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 327
"""Limit of Python files in both packages: a new subject belongs in a file of its room where there is one. 32
of them are for real hosts: ``engine/measure``, and the commands that read them."""


def sources() -> dict[str, str]:
    """The text of each module of both packages, by dotted name."""
    found = {}
    for package in ("engine", "vmqtui"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path.read_text(encoding="utf-8")
    return found


def imports(modules: dict[str, str]) -> dict[str, set[str]]:
    """The modules among ``modules`` that each one imports, wherever the import stands."""
    graph: dict[str, set[str]] = {}
    for name, text in modules.items():
        imported = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: line {node.lineno} imports from a relative place"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    imported.add(inner if inner in modules else str(node.module))
        graph[name] = imported & modules.keys() - {name}
    return graph


def check_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " → ".join(reversed(error.args[1])))


def test_there_are_no_more_files_than_a_newcomer_can_survey() -> None:
    assert len(sources()) <= MOST_FILES


def test_no_import_cycle_between_modules() -> None:
    graph = imports(sources())
    assert "engine.ndis.queue" in graph["engine.ndis.adapter"]
    check_no_cycle(graph)


def test_a_cycle_for_type_checkers_or_in_a_function_is_found() -> None:
    modules = {
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import B",
        "b": "def f() -> None:\n    import c.d",
        "c": "",
        "c.d": "from a import A",
    }
    with pytest.raises(pytest.fail.Exception, match=r"import cycle: .*(a → b → c\.d)"):
        check_no_cycle(imports(modules))
