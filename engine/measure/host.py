"""A real host as it was measured: its configuration, its readings in order, and what could not be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats


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
