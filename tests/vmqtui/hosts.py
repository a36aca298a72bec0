"""Hosts whose names, queues and states take more room on the screen than a lab's."""

from dataclasses import dataclass
from functools import cache

import msgspec

from engine.telemetry.config import AdapterConfig, Config, FilterConfig
from engine.telemetry.stats import Stats
from tests.vmqtui.scripted import EVENTS, ScriptedLink, live_link, mac, make_config, make_stats
from vmqtui.state.snapshot import Snapshot

_STATES = ("running", "running", "dma_stopped", "allocated", "paused", "freeing", "set")


@dataclass(frozen=True)
class Shape:
    """``name_cells`` is the length of every VM's name."""

    queues: int
    name_cells: int
    adapters: tuple[str, ...] = ("Ethernet 2",)
    cpus: int = 16

    @property
    def vms(self) -> list[tuple[str, str | None, int, int]]:
        """Queue name, VM, processor, frames per second."""
        names = [f"vm-{n:04}".ljust(self.name_cells, "x") for n in range(1, self.queues)]
        return [
            ("default", None, 0, 90_000),
            *((name, name, n % self.cpus, 997 * n % 40_000) for n, name in enumerate(names, 1)),
        ]


SHAPES = {
    "a lab": Shape(13, 9),
    "ten queues with long names": Shape(10, 64),
    "two adapters": Shape(10, 24, ("Ethernet 2", "SLOT 3 Port 1")),
    "1,024 queues": Shape(1024, 15, cpus=64),
    "1,024 queues with long names": Shape(1024, 64, ("SLOT 3 Port 1",), cpus=64),
}


def _hard(adapter: AdapterConfig) -> AdapterConfig:
    """Every state among its queues, VLANs "untagged", and a VM with many filters."""
    queues = [
        msgspec.structs.replace(queue, state=_STATES[n % len(_STATES)] if n else "running")
        for n, queue in enumerate(adapter.queues)
    ]
    filters = [
        msgspec.structs.replace(one, vlan="untagged") if one.queue_id % 3 == 0 else one
        for one in adapter.filters
    ]
    more = [
        FilterConfig(filter_id=20_000 + n, queue_id=1, mac=mac(0x2000 + n), vlan=10, driver="vsp")
        for n in range(120)
    ]
    return msgspec.structs.replace(adapter, queues=queues, filters=[*filters, *more])


@cache
def config_of(name: str) -> Config:
    """The configuration of a host of ``SHAPES``."""
    shape = SHAPES[name]
    config = make_config(shape.vms, adapters=shape.adapters, cpus=shape.cpus)
    return msgspec.structs.replace(config, adapters=[_hard(one) for one in config.adapters])


def stats_of(name: str, seq: int) -> Stats:
    """A reading of such a host."""
    shape = SHAPES[name]
    return make_stats(seq, shape.vms, adapters=shape.adapters, cpus=shape.cpus)


@cache
def snapshot_of(name: str) -> Snapshot:
    """Such a host with all that can be known of it."""
    return Snapshot(
        "hv01", config=config_of(name), stats=stats_of(name, 9), before=stats_of(name, 5), events=EVENTS
    )


def link_to(name: str) -> ScriptedLink:
    """A link to such a host, with two readings."""
    link = live_link()
    link.publish("hv01", config=config_of(name), stats=stats_of(name, 5))
    link.publish("hv01", stats=stats_of(name, 9))
    return link
