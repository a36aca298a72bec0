"""Clients that ask a live engine at random, and who hears what they are answered."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Final

from engine.bus import codec, topics
from engine.bus.connection import Connection
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.telemetry.config import AdapterConfig
from engine.telemetry.stats import known
from tests.service.live_history import HOST, Exchange, Recorder
from vmqtui.testing import until

CPUS: Final = 4
FLOWS: Final = 12
VLAN: Final = 10
PATIENCE_S: Final = 60
BURSTS: Final = 45
BURST: Final = 6
SHARED: Final = "pool"
"""A driver and a VM that every client acts for."""


def mac_of(flow: int) -> str:
    return f"00:15:5d:00:00:{flow + 1:02x}"


class Tap:
    """Hears every answer to anybody, and repeats requests in others' names."""

    def __init__(self, url: BrokerUrl) -> None:
        self.heard: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        self.sent: Counter[tuple[str, str]] = Counter()
        self.connected = asyncio.Event()
        self.changed = asyncio.Event()
        self.connection = Connection(
            url,
            "tap",
            [(topics.request(HOST, "+"), 1), (topics.response(HOST, "+"), 1)],
            self._hear,
            self._on_state,
        )

    def _on_state(self, state: str, why: str) -> None:
        if state == "connected":
            self.connected.set()

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        client = topic.rsplit("/", 1)[1]
        if topic == topics.request(HOST, client):
            self.sent[client, codec.decode_request(payload).id] += 1
            return
        self.heard[client, codec.decode(Response, payload).id].append(payload)
        self.changed.set()

    def repeat(self, client: str, request: Request) -> None:
        assert self.connection.publish(topics.request(HOST, client), codec.encode(request)) is not None

    async def wait_until_heard(self, keys: list[tuple[str, str]]) -> None:
        def missing() -> list[tuple[str, str]]:
            return [key for key in keys if not self.heard.get(key)]

        await until(lambda: not missing(), what="all answers", seen=missing, between=self._change)

    async def _change(self) -> None:
        await self.changed.wait()
        self.changed.clear()

    def check(self) -> None:
        """Every request is answered, once for each time it was sent at most, always with the same answer."""
        assert set(self.heard) == set(self.sent)
        for key, times in self.sent.items():
            assert 1 <= len(self.heard[key]) <= times, key
            first = self.heard[key][0]
            for other in self.heard[key][1:]:
                assert other == first or b"was used for another request" in other


@dataclass
class Client:
    """Asks at random, more often than not about its own queues, and keeps what it was answered."""

    number: int
    recorder: Recorder
    tap: Tap
    exchanges: list[Exchange] = field(default_factory=list)
    answered: list[tuple[Request, Response]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(1000 + self.number)
        self.name = self.recorder.watcher.client
        self.driver = f"driver-{self.number}"
        self.asked = 0

    async def ask(self, op: str, params: dict[str, Any], refused: tuple[str, ...] = ()) -> Response:
        self.asked += 1
        request = Request(id=f"{self.number}-{self.asked}", op=op, params=params)
        if twice := self.random.random() < 0.1:
            self.tap.repeat(self.name, request)
        answer = await self.recorder.watcher.request(HOST, op, params, id=request.id, timeout=PATIENCE_S)
        assert answer.id == request.id
        self.exchanges.append(Exchange(op, params, answer, refused))
        if not twice:  # its second answer may be on its way still
            self.answered.append((request, answer))
        return answer

    async def ask_again(self) -> None:
        """An id that was answered already, with the same request or another."""
        request, answer = self.random.choice(self.answered)
        self.answered.remove((request, answer))  # a watcher tells answers apart by their ids
        params = dict(request.params)
        if other := self.random.random() < 0.3:
            params["queue_id"] = 77
        again = await self.recorder.watcher.request(
            HOST, request.op, params, id=request.id, timeout=PATIENCE_S
        )
        if other:
            assert again.ndis_status == "NDIS_STATUS_INVALID_PARAMETER"
            assert again.message.startswith(f"id: '{request.id}'")
        else:
            assert again == answer

    async def set_up(self) -> None:
        """Three queues that take frames."""
        for flow in range(3 * self.number, 3 * self.number + 3):
            vm = SHARED if flow % 3 == 2 else f"vm-{flow}"
            params = {"driver": self.driver, "name": vm, "vm": vm, "cpu": flow % CPUS, "buffers": 100}
            params["lookahead_bytes"] = 40 * (flow % 2)
            queue_id = (await self.ask("allocate_queue", params)).result["queue_id"]
            await self.ask(
                "set_filter",
                {"driver": self.driver, "queue_id": queue_id, "mac": mac_of(flow), "vlan": VLAN},
            )
            await self.ask("complete_allocation", {"driver": self.driver, "queue_ids": [queue_id]})
        newest, configs = self.exchanges[-1].answer.revision, self.recorder.configs
        assert await self.recorder.watcher.wait_for(lambda: max(configs) >= newest, PATIENCE_S)
        await self.free_what_is_held(alone=True)

    async def go_wild(self) -> None:
        for burst in range(BURSTS):
            asking: list[Awaitable[object]] = [self.ask(*self.any_request()) for _ in range(BURST)]
            if self.random.random() < 0.5:
                asking.append(self.ask_again())
            if burst % 5 == 0:
                asking.append(self.free_what_is_held())
            await asyncio.gather(*asking)

    async def free_what_is_held(self, *, alone: bool = False) -> None:
        """Pause the VM of a queue that takes frames, and free the queue; ``alone``: once it holds some."""
        queues = [q for q in self.config.queues if q.driver == self.driver and q.state == "running" and q.vm]
        if not queues:
            return
        queue, by = self.random.choice(queues), {"driver": self.driver}
        await self.ask("pause_vm", {"vm": queue.vm})
        if alone:
            assert await self.recorder.watcher.wait_for(
                lambda: self.outstanding(queue.queue_id) > 0, PATIENCE_S
            )
        listed = await self.ask("enum_filters", {"queue_id": queue.queue_id})
        for one in listed.result.get("filters", ()):
            await self.ask("clear_filter", {**by, "queue_id": queue.queue_id, "filter_id": one["filter_id"]})
        await self.ask("free_queue", {**by, "queue_id": queue.queue_id})

    def outstanding(self, queue_id: int) -> int:
        """As of the last reading that has the queue."""
        rows = self.recorder.stats[-1].adapters["nic0"].queues
        return dict(zip(rows["id"], known(rows["outstanding"]), strict=True)).get(queue_id, 0)

    @property
    def config(self) -> AdapterConfig:
        """The newest this client knows."""
        return self.recorder.configs[max(self.recorder.configs)].adapters[0]

    def any_request(self) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """Operation, parameters, and what it must be refused with in any state."""
        op, params = self.a_request()
        if self.random.random() < 0.12:
            params["what_if"] = True
        if self.random.random() < 0.08:
            noise: list[dict[str, Any]] = [
                {"queueid": 1},
                {"driver": ""},
                {"adapter": "nic1"},
                {"what_if": 1},
            ]
            return op, {**params, **self.random.choice(noise)}, ("INVALID_PARAMETER",)
        if self.random.random() < 0.02:
            return op, {**params, "driver": "d" * 257}, ("INVALID_LENGTH", "INVALID_PARAMETER")
        if self.random.random() < 0.02:
            return "reset_queue", params, ("NOT_SUPPORTED",)
        return op, params, ()

    def a_request(self) -> tuple[str, dict[str, Any]]:
        """Valid as far as this client can know: others ask at the same time."""
        pick, config = self.random.choice, self.config
        mine = [queue for queue in config.queues if queue.driver in (self.driver, SHARED)]
        queue = pick((mine or config.queues) if self.random.random() < 0.75 else config.queues)
        if self.random.random() < 0.1:
            queue = config.queues[0]
        filters = [one for one in config.filters if one.queue_id == queue.queue_id] or config.filters
        a_filter = pick(filters).filter_id if filters and self.random.random() < 0.9 else 25
        own = queue.queue_id != 0 and self.random.random() < 0.9
        driver = queue.driver if own else pick([self.driver, SHARED])
        op = pick(
            ["allocate_queue", "set_filter"] * 4
            + ["complete_allocation", "set_queue_parameters", "clear_filter"] * 3
            + ["free_queue", "free_queue", "pause_vm", "resume_vm", "remove_vm", "migrate_vm"]
            + ["enum_queues", "query_capabilities", "query_queue", "enum_filters", "query_filter"]
        )
        params: dict[str, Any] = {"driver": driver}
        match op:
            case "allocate_queue":
                vm = pick([SHARED, None, *(f"vm-{3 * self.number + i}" for i in range(3))])
                params |= {"driver": pick([self.driver, SHARED]), "vm": vm, "name": pick(["q", "n" * 257])}
                params |= {"name": pick(["web", "db"]), "cpu": pick([*range(CPUS)] * 2 + [CPUS])}
                params |= {
                    "buffers": pick([16, 100, 400, 900, 0]),
                    "lookahead_bytes": pick([0, 0, 1, 40, 49]),
                }
            case "complete_allocation":
                waiting = [q.queue_id for q in mine if q.state in ("allocated", "set")] or [queue.queue_id]
                params["queue_ids"] = [pick([*waiting, queue.queue_id]) for _ in range(pick([1, 1, 2, 3, 0]))]
            case "set_queue_parameters":
                some: dict[str, Any] = {
                    "cpu": pick(range(CPUS)),
                    "buffers": pick([10, 60, 150, 700]),
                    "name": pick(["x", "y"]),
                }
                chosen = self.random.sample(sorted(some), 2)
                params |= {"queue_id": queue.queue_id, **{key: some[key] for key in chosen}}
            case "set_filter":
                flow = pick([3 * self.number + pick(range(3)), pick(range(FLOWS))])
                mac = pick([mac_of(flow)] * 8 + ["01:00:5e:00:00:01"])
                params |= {
                    "queue_id": queue.queue_id,
                    "mac": mac,
                    "vlan": pick([VLAN] * 4 + ["untagged", 20]),
                }
            case "clear_filter":
                params |= {"queue_id": queue.queue_id, "filter_id": a_filter}
            case "query_filter":
                params["filter_id"] = a_filter
            case "pause_vm" | "resume_vm" | "remove_vm" | "migrate_vm":
                params["vm"] = queue.vm or pick([SHARED, "nobody"])
            case "query_queue" | "enum_filters" | "free_queue":
                params["queue_id"] = queue.queue_id
        return op, params
