"""A finding: a problem, the numbers that show it, its cause and its fix."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from engine.advice.thresholds import AdviceThresholds
from engine.telemetry.bounds import Count, Name, OfAdapters, Words
from engine.telemetry.config import Vlan

Severity = Literal["bad", "warn", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("bad", "warn", "note")
"""Worst first: frames are lost; performance or resources suffer; worth knowing."""
Number = int | float | Words | None
MOST_FINDINGS: Final = 64
"""Most findings in a response or message, which counts the others."""
MOST_REQUESTS: Final = 256
"""Most requests in a fix."""
MOST_UNCHECKED: Final = 64
"""Most reasons for which rules could not look; there are fewer needs of rules."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a fix, in the form of the control plane. ``queue_from``: index, in its requests, of the
    allocation that returns the actual ``queue_id``; the one in ``params`` is a prediction.
    ``generation`` (of the queue) and ``mac`` (of the filter) identify the objects behind the ids in
    ``params``, because ids are reused."""

    op: Name
    params: dict[str, Any]
    queue_from: int | None = None
    generation: int | None = None
    mac: Name | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that a rule found. ``numbers`` are its evidence, with units in their names; None is unknown.

    ``value`` is the metric that the fix improves (``measure`` names it), and ``after`` its value with the fix
    applied; ``cleared``: the finding is then gone. None means unknown or not tried. ``requests`` apply the
    fix, if requests can; ``commands`` are PowerShell for an administrator. ``first_seen_ns`` and
    ``last_seen_ns`` are simulated times; ``recurs_ns`` is the longest simulated time between two sightings
    with an absence between them, within the window; 0 without an absence. ``lost_frames`` were dropped while
    the finding was present, within the window (``AdviceWindow``) or the time of the evidence.
    """

    rule: Name
    severity: Severity
    adapter: Name
    key: Words
    """Identifies its subject within the rule and the adapter; stable over time."""
    where: Words
    """Its subject in words: ``queue 3 (web-01)``."""
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
    """Whether ``after`` is an estimate from measured values; if not, the model ran again with the fix."""
    modelled: float | None = None
    """Of a measured host: what ``value`` is in the model of it that was run with the fix for ``after``; None
    if none was run, or if it does not know."""
    raises: Annotated[list[Words], Meta(max_length=64)] = []
    """The findings that the fix makes bad; it is then not offered."""
    withheld: Words = ""
    """Why the fix that was tried is not offered; "" if it is offered, or was not tried."""
    cpu: int | None = None
    queue_id: int | None = None
    generation: int | None = None
    """The generation of that queue."""
    vm: Name | None = None
    mac: Name | None = None
    vlan: Vlan = None
    filter_id: int | None = None
    revision: int = 0
    """The revision of the configuration that has the problem."""
    first_seen_ns: int = 0
    last_seen_ns: int = 0
    recurs_ns: int = 0
    lost_frames: int = 0

    @property
    def identity(self) -> tuple[str, str, str]:
        """Identifies the problem over time, independent of its numbers."""
        return (self.rule, self.adapter, self.key)


class Unchecked(msgspec.Struct, frozen=True, kw_only=True):
    """Rules that could not look, for one reason.

    ``adapters``: where; empty for the whole host. With ``left_out`` above 0 they looked at the other rows
    (queues, processors, ports without a queue) of ``rows``, and left these out. ``applies`` False: there is
    nothing for them to look at, as they are about another kind of host.
    """

    why: Words
    rules: Annotated[list[Name], Meta(max_length=256)]
    adapters: Annotated[list[Name], OfAdapters] = []
    left_out: Count = 0
    rows: Count = 0
    applies: bool = True


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The advice message: the findings of a host over ``window_s`` of simulated time, by ``thresholds``.
    ``more`` is the number of findings left out; ``counts`` has all of them, by severity. ``unchecked`` are
    the rules that could not look in the latest stretch, because something of the host is not known."""

    sim_time_ns: int
    time_ns: int
    revision: int
    window_s: float = 0.0
    counts: dict[Severity, int] = {}
    thresholds: AdviceThresholds | None = None
    findings: Annotated[list[Finding], Meta(max_length=MOST_FINDINGS)]
    more: int = 0
    unchecked: Annotated[list[Unchecked], Meta(max_length=MOST_UNCHECKED)] = []
    schema: Literal["vmq.advice/1"] = "vmq.advice/1"
