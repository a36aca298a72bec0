"""Whether what is on the screen is now: the honest states."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from engine.bus.host_view import SILENT_S, HostView
from engine.bus.messages import Status
from vmqtui.numbers import age

if TYPE_CHECKING:
    from engine.bus.connection import State as Connection
    from vmqtui.link import Link

State = Literal[
    "connecting", "empty", "live", "stale", "unreadable", "silent", "offline", "paused", "playing"
]
"""The last two: what is shown is a moment of the past that the viewer chose."""


STALE_INTERVALS: Final = 3
SHORTEST_INTERVAL_S: Final = 1.0


def is_stale(age_s: float, interval_ns: int) -> bool:
    """Whether a message of this age is older than three intervals, of at least a second."""
    return age_s > STALE_INTERVALS * max(SHORTEST_INTERVAL_S, interval_ns / 1e9)


def state_by_age(status: Status | None, age_s: float) -> str:
    """The state of a host whose newest message is of this age: online, stale or silent; as its status has it
    where that is offline or unknown."""
    if status is None or status.state == "offline":
        return "offline" if status else "unknown"
    if age_s > SILENT_S:
        return "silent"
    return "stale" if is_stale(age_s, status.interval_ns) else "online"


@dataclass(frozen=True)
class Liveness:
    """The state of what is shown, and a sentence for people."""

    state: State
    words: str


def liveness(
    connection: "Connection",
    progress: str,
    status: Status | None,
    received: float | None,
    now: float,
    heard: float | None = None,
    unreadable: int = 0,
) -> Liveness:
    """What may be believed of a host's numbers.

    On the clock of ``now``: when its last reading came (``received``), and its newest message of any kind
    (``heard``). ``unreadable`` counts readings that could not be decoded since the last that could.
    """
    if connection == "connecting" and received is None:
        return Liveness("connecting", progress or "connecting")
    if connection != "connected":
        return Liveness("offline", progress or "the broker is not answering")
    if status is None:
        return Liveness("empty", progress or "connected; no engine has reported yet")
    if status.state == "offline":
        return Liveness("offline", "the engine is offline")
    times = [when for when in (heard, received) if when is not None]
    if times and now - max(times) > SILENT_S:
        return Liveness("silent", f"no message for {age(now - max(times))}")
    if unreadable:
        return Liveness("unreadable", f"the newest readings can't be read ({unreadable} came)")
    if received is None:
        return Liveness("empty", progress or "the engine is online; no reading yet")
    late = now - received
    if is_stale(late, status.interval_ns):
        return Liveness("stale", f"no reading for {age(late)}")
    return Liveness("live", "")


def liveness_of(link: "Link", view: HostView) -> Liveness:
    """What may be believed of a host of a link."""
    return liveness(
        link.connection,
        link.progress,
        view.status,
        view.received_monotonic,
        link.clock(),
        view.heard_monotonic,
        view.stats_unreadable,
    )
