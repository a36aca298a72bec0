"""A real host as it was measured: its configuration, its readings in order, and what could not be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from engine.telemetry.config import Config
from engine.telemetry.events import Event, NewEvent
from engine.telemetry.stats import Stats


class SourceError(ValueError):
    """A file holds no measured host, or not that one; the message is a sentence that names the file."""


class UnknownAdapterError(ValueError):
    """A host has no adapter of this name; the sentence names those that are there."""


@dataclass(frozen=True)
class MeasuredHost:
    """``readings`` are in order of time and belong to ``config``, which is the newest configuration.

    ``origin`` says in words what it was read from. ``remarks`` are sentences for users: what was missing, cut
    off or worked around.
    """

    origin: str
    config: Config
    readings: Sequence[Stats]
    events: Sequence[Event] = ()
    remarks: Sequence[str] = field(default=())


class Measured(NamedTuple):
    """One reading of a real host as messages; ``config`` is None if it has not changed."""

    config: Config | None
    stats: Stats
    events: Sequence[NewEvent] = ()


class MeasuredSource(Protocol):
    """What is read again and again: a Linux machine, or a Windows host by a script."""

    def read(self) -> Measured:
        """Read once. It may block, and raises ``OSError`` if it fails."""
        ...

    def close(self) -> None:
        """End what a reading keeps open."""
        ...
