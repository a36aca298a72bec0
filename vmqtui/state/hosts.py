"""The hosts of a broker: the freshness of their messages, and a row for each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from engine.bus.host_view import SILENT_S, HostView
from engine.bus.messages import Status
from engine.telemetry.stats import Stats
from engine.telemetry.summary import Summary
from engine.view.rates import RateWindow, per_second
from vmqtui.numbers import age
from vmqtui.state.rows import HostRow
from vmqtui.state.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.bus.connection import State as Connection
    from vmqtui.link import Link


State = Literal[
    "connecting", "empty", "live", "stale", "unreadable", "silent", "offline", "paused", "playing"
]
"""``paused`` and ``playing``: the screen shows a moment of the past."""


STALE_INTERVALS: Final = 3
SHORTEST_INTERVAL_S: Final = 1.0


def is_stale(age_s: float, interval_ns: int) -> bool:
    """Whether a message is older than three intervals; intervals below a second count as a second."""
    return age_s > STALE_INTERVALS * max(SHORTEST_INTERVAL_S, interval_ns / 1e9)


def state_by_age(status: Status | None, age_s: float) -> str:
    """The state of a host whose newest message has this age: "unknown" without a status, "offline" if the
    status reports that, else "online", "stale" or "silent"."""
    if status is None or status.state == "offline":
        return "offline" if status else "unknown"
    if age_s > SILENT_S:
        return "silent"
    return "stale" if is_stale(age_s, status.interval_ns) else "online"


def why_unchanging(host: str, status: Status | None) -> str:
    """Why a host takes no requests, in a sentence; "" if it takes them, or if its status is unknown."""
    if status is None or status.controls:
        return ""
    if status.kind == "measured":
        return f"{host} is a real host, measured: nothing is changed on it"
    return f"{host} takes no requests: nothing is changed on it"


@dataclass(frozen=True)
class Liveness:
    """The freshness of the shown numbers, and a sentence for the user ("" if live)."""

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
    """The freshness of a host's numbers.

    ``received`` is the time of its last reading, ``heard`` of its newest message of any kind, both on the
    clock of ``now``. ``unreadable`` is the number of undecodable readings since the last decodable one.
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
    """The freshness of a host's numbers on a link."""
    return liveness(
        link.connection,
        link.progress,
        view.status,
        view.received_monotonic,
        link.clock(),
        view.heard_monotonic,
        view.stats_unreadable,
    )


class Hosts:
    """The hosts of a link. Rates of a host are unknown until it has sent two readings."""

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._windows: dict[str, RateWindow] = {}
        self._readings: dict[str, tuple[Stats, Stats | None]] = {}

    def take(self, shown: Snapshot | None = None) -> list[HostRow]:
        """Read new readings; return a row for each host, in order, with a ``State`` if the host is live.

        The row of the shown host comes from ``shown``, the snapshot on the screen, if that has the same
        reading.
        """
        link = self._link
        for host in self._readings.keys() - set(link.hosts):
            del self._readings[host], self._windows[host]
        rows: list[HostRow] = []
        for host in link.hosts:
            view = link.view(host)
            if view is None:
                continue
            now, before = self._reading(host, view.stats)
            snapshot = Snapshot(host, view.status, view.config, now, before)
            if shown is not None and shown.host == host and shown.stats is view.stats:
                snapshot = shown
            row = snapshot.host_row
            if (
                view.received_monotonic is not None or now is None
            ):  # otherwise it is a recording, which is never live
                row = msgspec.structs.replace(row, state=liveness_of(link, view).state)
            rows.append(row)
        return rows

    def _reading(self, host: str, stats: Stats | None) -> tuple[Stats | None, Stats | None]:
        if stats is None:
            return None, None
        known = self._readings.get(host)
        if known is None or known[0] is not stats:
            window = self._windows.setdefault(host, RateWindow())
            known = self._readings[host] = (stats, window.take(stats))
        return known


def row_of_summary(view: HostView, now: float) -> HostRow:
    """The row of a host, from its status and summaries; ``now`` is ``time.monotonic()``."""
    status, summary = view.status, view.summary
    known = summary or Summary(seq=0, time_ns=0, sim_time_ns=0)
    findings = known.findings
    bytes_a_second = _rate("offered_bytes", view)
    return HostRow(
        host=view.name,
        state=state_by_age(status, view.quiet_s(now)),
        version=status.version if status else "",
        started_at=status.started_at if status else 0.0,
        cpus=known.cpus,
        adapters=known.adapters,
        queues=known.queues,
        filters=None,
        sim_time_ns=summary.sim_time_ns if summary else None,
        pps=_rate("offered_frames", view),
        mbits=None if bytes_a_second is None else 8 * bytes_a_second / 1e6,
        drops=_rate("dropped_frames", view),
        age_s=view.age_s(now),
        kind=status.kind if status else None,
        cpus_down=known.cpus_down,
        busiest_cpu=known.busiest_cpu,
        busiest_load=known.busiest_load,
        default_pps=_rate("default_queue_frames", view),
        bad=findings.bad if findings else None,
        cost=findings.cost if findings else None,
        note=findings.note if findings else None,
        worst=known.worst,
    )


def _rate(counter: str, view: HostView) -> float | None:
    """Rate of a counter between the last two summaries, per second of simulated time; None: unknown."""
    if view.summary is None or view.summary_before is None:
        return None
    seconds = (view.summary.sim_time_ns - view.summary_before.sim_time_ns) / 1e9
    return per_second(getattr(view.summary, counter), getattr(view.summary_before, counter), seconds)
