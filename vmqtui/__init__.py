"""VMQ from Python: engines, watchers, replays, plans and scenarios; the command line and the dashboard.

The names in ``__all__`` are the public interface (docs/library.md). Each one is imported when it is first
used, so that the command line does not load what it does not need.
"""

import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine import __version__
    from engine.advice.thresholds import AdviceThresholds
    from engine.bus.accounts import Listen
    from engine.bus.errors import (
        BadAccounts,
        BadMessage,
        BadName,
        BadTls,
        BadUrl,
        BrokerFailed,
        BusError,
        HostTaken,
        NotConnected,
        RequestTimeout,
    )
    from engine.bus.host_view import HostView
    from engine.bus.messages import RequestError, Response, Status
    from engine.bus.tls import TlsFiles
    from engine.bus.urls import BrokerUrl
    from engine.bus.watcher import Watcher
    from engine.dataplane.memory import NotEnoughMemoryError
    from engine.kernels.prepare import KernelError
    from engine.ndis.outcome import NdisStatus
    from engine.scenario.load import ScenarioError, default_scenario, load_scenario, parse_scenario
    from engine.scenario.model import (
        AdapterSpec,
        BalancerSpec,
        CpuSpec,
        FilterSpec,
        FlowSpec,
        HostSpec,
        MixSpec,
        PortSpec,
        QueueSpec,
        Scenario,
        TeamSpec,
        TrafficSpec,
    )
    from engine.service.engine import Engine
    from engine.service.engine_api import EngineEndedError
    from engine.service.replay import ReplayResult, plan, replay
    from engine.service.rows import (
        AdapterRow,
        CpuRow,
        FilterRow,
        NoSuchRowError,
        NotReadYetError,
        PortRow,
        QueueCounters,
        QueueRow,
        ReasonsRow,
    )
    from engine.service.sources import ChoiceError, ReadCapture
    from engine.telemetry.config import Config
    from engine.telemetry.events import Event
    from engine.telemetry.stats import Stats
    from engine.telemetry.summary import Summary
    from engine.traffic.capture import CaptureError
    from engine.traffic.libpcap import InterfaceError
    from engine.traffic.plan import Hardware, Plan
    from engine.traffic.plan_placement import NoProcessorError
    from engine.waiting import WaitTimeoutError

__all__ = [
    "AdapterRow",
    "AdapterSpec",
    "AdviceThresholds",
    "BadAccounts",
    "BadMessage",
    "BadName",
    "BadTls",
    "BadUrl",
    "BalancerSpec",
    "BrokerFailed",
    "BrokerUrl",
    "BusError",
    "CaptureError",
    "ChoiceError",
    "Config",
    "CpuRow",
    "CpuSpec",
    "Engine",
    "EngineEndedError",
    "Event",
    "FilterRow",
    "FilterSpec",
    "FlowSpec",
    "Hardware",
    "HostSpec",
    "HostTaken",
    "HostView",
    "InterfaceError",
    "KernelError",
    "Listen",
    "MixSpec",
    "NdisStatus",
    "NoProcessorError",
    "NoSuchRowError",
    "NotConnected",
    "NotEnoughMemoryError",
    "NotReadYetError",
    "Plan",
    "PortRow",
    "PortSpec",
    "QueueCounters",
    "QueueRow",
    "QueueSpec",
    "ReadCapture",
    "ReasonsRow",
    "ReplayResult",
    "RequestError",
    "RequestTimeout",
    "Response",
    "Scenario",
    "ScenarioError",
    "Stats",
    "Status",
    "Summary",
    "TeamSpec",
    "TlsFiles",
    "TrafficSpec",
    "WaitTimeoutError",
    "Watcher",
    "__version__",
    "default_scenario",
    "load_scenario",
    "parse_scenario",
    "plan",
    "replay",
]

_HOMES: Final = {
    "engine": ("__version__",),
    "engine.advice.thresholds": ("AdviceThresholds",),
    "engine.bus.accounts": ("Listen",),
    "engine.bus.errors": (
        *("BadAccounts", "BadMessage", "BadName", "BadTls", "BadUrl", "BrokerFailed", "BusError"),
        *("HostTaken", "NotConnected", "RequestTimeout"),
    ),
    "engine.bus.host_view": ("HostView",),
    "engine.bus.messages": ("RequestError", "Response", "Status"),
    "engine.bus.tls": ("TlsFiles",),
    "engine.bus.urls": ("BrokerUrl",),
    "engine.bus.watcher": ("Watcher",),
    "engine.dataplane.memory": ("NotEnoughMemoryError",),
    "engine.kernels.prepare": ("KernelError",),
    "engine.ndis.outcome": ("NdisStatus",),
    "engine.scenario.load": ("ScenarioError", "default_scenario", "load_scenario", "parse_scenario"),
    "engine.scenario.model": (
        *("AdapterSpec", "BalancerSpec", "CpuSpec", "FilterSpec", "FlowSpec", "HostSpec", "MixSpec"),
        *("PortSpec", "QueueSpec", "Scenario", "TeamSpec", "TrafficSpec"),
    ),
    "engine.service.engine": ("Engine",),
    "engine.service.replay": ("ReplayResult", "plan", "replay"),
    "engine.service.rows": (
        *("AdapterRow", "CpuRow", "FilterRow", "NoSuchRowError", "NotReadYetError", "PortRow"),
        *("QueueCounters", "QueueRow", "ReasonsRow"),
    ),
    "engine.service.sources": ("ChoiceError", "ReadCapture"),
    "engine.service.engine_api": ("EngineEndedError",),
    "engine.telemetry.config": ("Config",),
    "engine.telemetry.events": ("Event",),
    "engine.telemetry.stats": ("Stats",),
    "engine.telemetry.summary": ("Summary",),
    "engine.traffic.capture": ("CaptureError",),
    "engine.traffic.libpcap": ("InterfaceError",),
    "engine.traffic.plan": ("Hardware", "Plan"),
    "engine.traffic.plan_placement": ("NoProcessorError",),
    "engine.waiting": ("WaitTimeoutError",),
}
"""The public names of each module: what type checkers see above, for the interpreter."""
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

logging.getLogger("vmqtui").addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # else a type checker would accept every misspelt name

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = _imported(module, name)
        return value


def _imported(module: str, name: str) -> Any:
    """A public name of a module. Raises ImportError with a sentence if another ``engine`` hides ours."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        if hidden := _engine_is_hidden(error):
            raise ImportError(hidden) from None
        raise


def _engine_is_hidden(error: Exception) -> str:
    """A sentence if another module has the name of the package ``engine``, which is why an import failed."""
    try:
        engine = import_module("engine")
    except ImportError:
        return ""
    folder = next(iter(getattr(engine, "__path__", ())), "")
    if Path(folder).resolve() == Path(__file__).resolve().parent.parent / "engine":
        return ""
    return (
        f"vmqtui's own package engine can't be imported ({error}); {engine.__file__ or folder} has its name"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
