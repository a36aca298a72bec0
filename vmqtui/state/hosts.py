"""Every host of a broker at a glance: who is there, and how busy."""

from typing import TYPE_CHECKING

import msgspec

from engine.bus.host_view import HostView
from engine.telemetry.stats import Stats
from engine.telemetry.summary import Summary
from engine.view.rates import RateWindow
from vmqtui.state.liveness import liveness_of, state_by_age
from vmqtui.state.rows import HostRow
from vmqtui.state.snapshot import Snapshot

if TYPE_CHECKING:
    from vmqtui.link import Link


class Hosts:
    """The hosts of a link. Rates are known of a host once a second of readings was taken."""

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._windows: dict[str, RateWindow] = {}
        self._readings: dict[str, tuple[Stats, Stats | None]] = {}

    def take(self, shown: Snapshot | None = None) -> list[HostRow]:
        """Read what is new; a row for each host, in order. ``state`` is one of the screen's.

        ``shown`` is what the screen knows of the host it shows: more than one reading.
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
            ):  # else it is of a recording, which is never live
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
    """A host's line from its status and summaries; ``now`` is of ``time.monotonic``."""
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
    """Growth a second of simulated time between the last two summaries; None: unknown."""
    if view.summary is None or view.summary_before is None:
        return None
    passed_ns = view.summary.sim_time_ns - view.summary_before.sim_time_ns
    now, before = getattr(view.summary, counter), getattr(view.summary_before, counter)
    if now is None or before is None or now < before or passed_ns <= 0:
        return None
    return float(now - before) / passed_ns * 1e9
