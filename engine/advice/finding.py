"""A finding: a problem, the numbers that show it, its cause and its fix."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from engine.advice.thresholds import AdviceThresholds
from engine.telemetry.bounds import Name, Words
from engine.telemetry.config import Vlan

Severity = Literal["bad", "warn", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("bad", "warn", "note")
"""Worst first: frames are lost; something costs; worth knowing."""
Number = int | float | Words | None
MOST_FINDINGS: Final = 64
"""Most findings that an answer or a message lists; it counts the others."""
MOST_REQUESTS: Final = 256
"""Most requests of a fix."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a fix, as the control plane takes it. ``queue_from``: the place among the fix's requests
    of the allocation whose answer has the ``queue_id``; the one in ``params`` is the id it should get.
    ``generation`` (of the queue) and ``mac`` (of the filter) identify the objects behind the ids in
    ``params``: ids are given out again."""

    op: Name
    params: dict[str, Any]
    queue_from: int | None = None
    generation: int | None = None
    mac: Name | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a rule found. ``numbers`` show it, units in their names; None is unknown.

    ``value`` is the one metric that the fix improves (``measure`` names it); ``after`` is its value once
    the fix has been applied, ``cleared`` whether the finding is then gone; None: unknown, not tried.
    ``requests`` apply the fix, none where no request can; ``commands`` are PowerShell for an administrator.
    ``first_seen_ns`` and ``last_seen_ns`` are simulated times, ``lost_frames`` the frames that its queues
    dropped while it was seen, within the window (``AdviceWindow``) or the time of the evidence.
    """

    rule: Name
    severity: Severity
    adapter: Name
    key: Words
    """Names its subject within the rule and the adapter; stable over time."""
    where: Words
    """The same for people: ``queue 3 (web-01)``."""
    says: Words
    numbers: Annotated[dict[Name, Number], Meta(max_length=64)]
    cause: Words
    fix: Words
    requests: Annotated[list[Request], Meta(max_length=MOST_REQUESTS)] = []
    commands: Annotated[list[Words], Meta(max_length=MOST_REQUESTS)] = []
    measure: Words
    value: float | None = None
    after: float | None = None
    cleared: bool | None = None
    estimated: bool = False
    """``after`` is estimated from measured values; else the model ran again."""
    cpu: int | None = None
    queue_id: int | None = None
    generation: int | None = None
    """Of that queue."""
    vm: Name | None = None
    mac: Name | None = None
    vlan: Vlan = None
    filter_id: int | None = None
    revision: int = 0
    """Of the configuration that it was found in."""
    first_seen_ns: int = 0
    last_seen_ns: int = 0
    lost_frames: int = 0

    @property
    def identity(self) -> tuple[str, str, str]:
        """Tells it from others; the same as long as it is the same thing, whatever the numbers are."""
        return (self.rule, self.adapter, self.key)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The advice message: the findings of a host. ``more`` counts findings that are left out;
    ``counts`` has them all by severity. ``window_s`` of simulated time were judged, by ``thresholds``."""

    sim_time_ns: int
    time_ns: int
    revision: int
    window_s: float = 0.0
    counts: dict[Severity, int] = {}
    thresholds: AdviceThresholds | None = None
    findings: Annotated[list[Finding], Meta(max_length=MOST_FINDINGS)]
    more: int = 0
    schema: Literal["vmq.advice/1"] = "vmq.advice/1"
