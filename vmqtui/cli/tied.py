"""Options of the engine or agent that a dashboard starts, and that ends when its standard input closes.

They are one JSON object, so that it starts without the libraries that read a command line, which take a fifth
of a second.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from vmqtui.cli.failures import conclude
from vmqtui.cli.frames import SourceOptions
from vmqtui.cli.options import LogForm


@dataclass(frozen=True)
class TiedEngine:
    """An engine's options: ``interval_s`` is the time between stats, None: as the configuration says;
    ``duration_s`` None: until its end."""

    command: ClassVar[str] = "engine"
    source: SourceOptions = field(default_factory=SourceOptions)
    interval_s: float | None = None
    log_format: LogForm = "text"
    duration_s: float | None = None


@dataclass(frozen=True)
class TiedAgent:
    """An agent's options; no ``adapters``: those with several queues, else all."""

    command: ClassVar[str] = "agent"
    adapters: Sequence[str] = ()
    interval_s: float = 0.25
    capture_default: bool = False
    log_format: LogForm = "text"


Tied: TypeAlias = TiedEngine | TiedAgent
T = TypeVar("T", bound=Tied)


def arguments(tied: Tied) -> list[str]:
    """Return the arguments of ``python -m vmqtui`` that start it."""
    return [tied.command, "--tied", json.dumps(asdict(tied), default=str)]


def run(kind: type[T], options: str, command: Callable[[T], int]) -> int:
    """Run a command with the options that ``arguments`` wrote; return the exit status."""
    return conclude(lambda: command(read(kind, options)))


def read(kind: type[T], text: str) -> T:
    """Read the JSON object of ``arguments``. The name of a file may have bytes that are no text, which the
    standard library keeps and others refuse."""
    import msgspec

    return msgspec.convert(json.loads(text), kind, dec_hook=_path)


def _path(kind: type[Path], text: Any) -> Path:
    return kind(text)
