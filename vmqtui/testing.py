"""For tests: waiting for conditions, and the control plane as a model to compare with (docs/library.md)."""

from typing import TYPE_CHECKING, Any, Final

from vmqtui import _imported

if TYPE_CHECKING:
    from engine.ndis.conformance import ConformanceModel
    from engine.ndis.effects import Indication
    from engine.ndis.outcome import Outcome
    from engine.waiting import WaitTimeoutError, until, wait_until
    from vmqtui.pytest_plugin import StartEngine

__all__ = [
    "ConformanceModel",
    "Indication",
    "Outcome",
    "StartEngine",
    "WaitTimeoutError",
    "until",
    "wait_until",
]

_HOME_OF: Final = {
    "ConformanceModel": "engine.ndis.conformance",
    "Indication": "engine.ndis.effects",
    "Outcome": "engine.ndis.outcome",
    "StartEngine": "vmqtui.pytest_plugin",
    "WaitTimeoutError": "engine.waiting",
    "until": "engine.waiting",
    "wait_until": "engine.waiting",
}
"""The public names, imported when they are first used: some load NumPy or pytest."""

if not TYPE_CHECKING:  # else a type checker would accept every misspelt name

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = _imported(_HOME_OF[name], name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
