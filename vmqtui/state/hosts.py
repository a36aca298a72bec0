"""Every host of a broker at a glance: who is there, and how busy."""

import msgspec

from engine.telemetry.stats import Stats
from vmqtui.link import Link
from vmqtui.state.liveness import liveness
from vmqtui.state.readings import Window
from vmqtui.state.rows import HostRow
from vmqtui.state.snapshot import Snapshot


class Hosts:
    """The hosts of a link. Rates are known of a host once a second of readings was taken."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._windows: dict[str, Window] = {}
        self._readings: dict[str, tuple[Stats, Stats | None]] = {}

    def take(self, shown: Snapshot | None = None) -> list[HostRow]:
        """Read what is new; a row for each host, in order. ``state`` is one of the screen's.

        ``shown`` is what the screen knows of the host it shows: more than one reading.
        """
        link = self._link
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
            if view.received is not None or now is None:  # else it is of a recording, which is never live
                alive = liveness(link.connection, link.progress, view.status, view.received, link.clock())
                row = msgspec.structs.replace(row, state=alive.state)
            rows.append(row)
        return rows

    def _reading(self, host: str, stats: Stats | None) -> tuple[Stats | None, Stats | None]:
        if stats is None:
            return None, None
        known = self._readings.get(host)
        if known is None or known[0] is not stats:
            window = self._windows.setdefault(host, Window())
            known = self._readings[host] = (stats, window.take(stats))
        return known
