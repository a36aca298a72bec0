"""Private methods of libraries: none is overridden but those listed here, each with its reason."""

import importlib
import inspect
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OURS: Final = ("engine", "vmqtui")
OVERRIDDEN: Final = {
    ("vmqtui.app.VmqApp", "_handle_exception"): "Textual keeps the error to itself; the caller reports it",
    ("vmqtui.app.VmqApp", "_fatal_error"): "Textual's traceback shows local variables, passwords too",
    ("vmqtui.web.server.SessionService", "_open_app_process"): "textual-serve starts its program by a shell",
}
OF_THE_STANDARD_LIBRARY: Final = ("enum", "typing", "abc")
"""Their classes set private attributes of each class that is made."""


def modules() -> list[str]:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in OURS
        for path in (ROOT / room).rglob("*.py")
    ]
    return sorted(name for name in names if not name.endswith("__main__"))


def test_no_private_method_of_a_library_is_overridden_but_those_with_a_reason() -> None:
    found = set()
    for module in map(importlib.import_module, modules()):
        for name, kind in vars(module).items():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__:
                continue
            libraries = [base for base in kind.__mro__[1:] if base.__module__.partition(".")[0] not in OURS]
            for method, value in vars(kind).items():
                if not method.startswith("_") or method.startswith("__") or not inspect.isroutine(value):
                    continue
                owners = [base.__module__ for base in libraries if method in vars(base)]
                if set(owners) - set(OF_THE_STANDARD_LIBRARY):
                    found.add((f"{module.__name__}.{name}", method))
    assert found == set(OVERRIDDEN)
