"""Whether what is on the screen is now: the honest states."""

from dataclasses import dataclass
from typing import Literal

from engine.bus.messages import Status
from vmqtui.link import Connection
from vmqtui.numbers import age

State = Literal["connecting", "empty", "live", "stale", "offline", "paused", "playing"]
"""The last two: what is shown is a moment of the past that the viewer chose."""


@dataclass(frozen=True)
class Liveness:
    """The state of what is shown, and a sentence for people."""

    state: State
    words: str


def liveness(
    connection: Connection,
    progress: str,
    status: Status | None,
    received: float | None,
    now: float,
) -> Liveness:
    """What may be believed of a host's numbers.

    ``received`` is when its last reading came, on the clock of ``now``. A reading is stale after three
    intervals, at least 1.5 s.
    """
    if connection == "connecting" and received is None:
        return Liveness("connecting", progress or "connecting")
    if connection != "connected":
        return Liveness("offline", progress or "the broker is not answering")
    if status is None:
        return Liveness("empty", progress or "connected; no engine has reported yet")
    if status.state == "offline":
        return Liveness("offline", "the engine is offline")
    if received is None:
        return Liveness("empty", progress or "the engine is online; no reading yet")
    late = now - received
    if late > max(1.5, 3 * status.interval_ns / 1e9):
        return Liveness("stale", f"no reading for {age(late)}")
    return Liveness("live", "")
