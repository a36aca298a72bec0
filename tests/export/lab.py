"""Hosts as a watcher knows them, without a broker."""

import time
from collections.abc import Sequence

import msgspec

from engine.bus.codec import encode
from engine.bus.host_view import HostView
from engine.bus.messages import Status
from engine.bus.watcher import Watcher
from engine.ndis import counters
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from tests.vmqtui.scripted import VMS, make_config, make_stats

Vms = Sequence[tuple[str, str | None, int, int]]
NOW = time.monotonic()
INTERFACE = {"kernel_received_frames": 70, "kernel_dropped_frames": 3, "interface_dropped_frames": 2}


class Known:
    """As much of a watcher as is looked at: its hosts, and how its connection stands."""

    def __init__(self, *hosts: str, vms: Vms = VMS) -> None:
        self.hosts: dict[str, HostView] = {}
        self.state = "connected"
        self.left_out_hosts = 0
        self.undecodable = 0
        for host in hosts:
            self.add(host, full_stats(vms), make_config(vms))

    def add(self, host: str, stats: Stats, config: Config) -> HostView:
        view = self.hosts[host] = HostView(host, self.as_watcher)
        online = Status(state="online", version="1.2", interval_ns=250_000_000)
        for kind, message in (("status", online), ("config", config), ("stats", stats)):
            view.take(kind, encode(message))
        view.received_monotonic = NOW
        return view

    @property
    def as_watcher(self) -> Watcher:
        return self  # type: ignore[return-value]  # as much of one as an export reads


def full_stats(vms: Vms = VMS) -> Stats:
    """A reading with every counter there is."""
    stats = make_stats(40, vms)
    for adapter in stats.adapters.values():
        for place, one in enumerate(counters.QUEUE_LATENCY):
            adapter.queues[one.name] = [1500 * (place + 1)] * len(adapter.queues["id"])
    return msgspec.structs.replace(
        stats,
        real_time_ratio=1.0,
        adapters={
            name: msgspec.structs.replace(adapter, interface=INTERFACE)
            for name, adapter in stats.adapters.items()
        },
    )
