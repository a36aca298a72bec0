"""A real engine and a real reader, each behind a proxy of its own, and a count of what was applied."""

import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from engine.bus.errors import BusError
from engine.bus.host_view import HostView
from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from tests.faults.brokers import FaultyBroker
from tests.faults.proxy import Cut, Direction, Proxy, proxied
from vmqtui import Engine

PATIENCE_S: Final = 60

SCENARIO: Final = """
[host]
name = "lab"
cpus = 1

[[adapter]]
name = "nic0"
max_queues = 4096
max_filters = 4096
buffers = 8192

[[traffic.mix]]
rate_pps = 1000
  [[traffic.mix.flow]]
  mac = "00:15:5d:00:00:01"
"""

_numbers = itertools.count(1)


@dataclass
class Ledger:
    """What was asked and what was answered. Each request allocates a queue that is named as the request."""

    ok: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    carried_out: int = 0
    """Checked and found to be there once."""

    async def ask(self, watcher: Watcher, *, timeout: float = PATIENCE_S) -> None:
        """Ask for a queue, repeating until there is an answer or the time is over."""
        id_ = f"request-{next(_numbers)}"
        params = {"name": id_, "vm": id_, "cpu": 0, "buffers": 1}
        try:
            answer = await watcher.request("lab", "allocate_queue", params, id=id_, timeout=timeout)
        except BusError:
            self.unknown.append(id_)
        else:
            (self.ok if answer.status == "ok" else self.refused).append(id_)

    async def check(self, engine: Engine) -> None:
        """Every "ok" was applied once, no refusal was, and nothing was applied twice or by nobody's wish."""
        listed = (await engine.request("enum_queues")).result["queues"]
        applied = Counter(queue["name"] for queue in listed if queue["queue_id"])
        assert {id_: applied[id_] for id_ in self.ok} == dict.fromkeys(self.ok, 1)
        assert not applied.keys() & set(self.refused)
        assert max(applied.values(), default=1) == 1
        assert applied.keys() <= {*self.ok, *self.unknown}
        for queue in listed:
            if queue["queue_id"]:
                freed = await engine.request("free_queue", queue_id=queue["queue_id"])
                assert freed.status == "ok"
        self.carried_out += len(self.ok)
        self.ok.clear()


class Lab:
    """The engine's and the reader's ways to one broker, and the two of them."""

    def __init__(
        self, broker: FaultyBroker, engine: Engine, watcher: Watcher, of_engine: Proxy, of_reader: Proxy
    ) -> None:
        self.broker = broker
        self.engine = engine
        self.watcher = watcher
        self.of_engine = of_engine
        self.of_reader = of_reader
        self.ledger = Ledger()

    @property
    def view(self) -> HostView:
        return self.watcher.hosts["lab"]

    async def live(self) -> None:
        """Wait for a reading that comes after now."""
        seen = self.view.stats_received
        await self.watcher.wait_for(lambda: self.view.online and self.view.stats_received > seen, PATIENCE_S)

    async def ask(self) -> None:
        await self.ledger.ask(self.watcher)

    async def cut(self, proxy: Proxy, direction: Direction, after_bytes: int) -> bool:
        """Make a request over a new connection that is cut at a byte; whether it got so far."""
        proxy.cut_next = Cut(direction, after_bytes)
        before = proxy.connections
        proxy.drop()
        await self.ask()
        return proxy.connections > before + 1

    async def check(self) -> None:
        """Everything that was answered "ok" is there once; nothing waits any more."""
        await self.ledger.check(self.engine)
        assert self.ledger.unknown == []
        assert self.ledger.refused == []


@contextlib.asynccontextmanager
async def running_lab(broker: FaultyBroker) -> AsyncIterator[Lab]:
    """A lab on a broker that runs."""
    async with (
        proxied(broker.url) as of_engine,
        proxied(broker.url) as of_reader,
        Engine(loads(SCENARIO, "faults"), broker=of_engine.url.with_password(), interval_s=0.05) as engine,
        Watcher(of_reader.url, "lab") as watcher,
    ):
        lab = Lab(broker, engine, watcher, of_engine, of_reader)
        await watcher.wait_for(lambda: "lab" in watcher.hosts, PATIENCE_S)
        await lab.live()
        yield lab
