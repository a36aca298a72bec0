"""Clients that ask a live engine at random, and what they are answered held against the model of NDIS.md.

Nothing in a history says in which order requests were applied, but every answer carries the revision of the
configuration after it, and each change makes a new one. So a history is read revision by revision: one
answer tells of the change that made it (or no answer does: a queue whose buffers came back was freed);
every other answer with that revision must be right for the model as it stands then, and change nothing.

Two things are the data plane's and not in the tables: whether a queue's buffers are outstanding when it is
freed, which the answer tells; and how many a queue that shrinks still has, which is known within bounds.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.bus import codec, topics
from engine.bus.connection import Connection
from engine.bus.messages import Request, Response
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from tests.ndis.table_model import Expected, Model

HOST: Final = "lab"
CPUS: Final = 4
FLOWS: Final = 12
VLAN: Final = 10
PATIENCE_S: Final = 20
BURSTS: Final = 45
BURST: Final = 6
SHARED: Final = "pool"
"""A driver and a VM that every client acts for."""
CHANGING: Final = frozenset(
    [
        "allocate_queue",
        "complete_allocation",
        "set_queue_parameters",
        "free_queue",
        "set_filter",
        "clear_filter",
        "pause_vm",
        "resume_vm",
        "remove_vm",
        "migrate_vm",
    ]
)


def mac_of(flow: int) -> str:
    return f"00:15:5d:00:00:{flow + 1:02x}"


class Recorder:
    """A reader that keeps every reading, event and configuration it hears of."""

    def __init__(self, url: BrokerUrl) -> None:
        self.watcher = Watcher(url, HOST, on_change=self._hear)
        self.stats: list[Stats] = []
        self.events: list[Event] = []
        self.configs: dict[int, Config] = {}

    def has_begun(self) -> bool:
        """Whether it has a configuration and a reading."""
        return bool(self.configs and self.stats)

    def _hear(self) -> None:
        view = self.watcher.hosts.get(HOST)
        if view is None:
            return
        if view.stats_received > len(self.stats) and view.stats is not None:
            self.stats.append(view.stats)
        while len(self.events) < view.events_dropped + len(view.events):
            self.events.append(view.events[len(self.events) - view.events_dropped])
        if view.config is not None:
            self.configs.setdefault(view.config.revision, view.config)


@dataclass
class LiveModel(Model):
    """The model of an adapter whose data plane is not known but by what it tells.

    ``total`` of a queue is the most it may have, ``target`` the least; ``left`` is what is assumed to be.
    """

    assumed_left: int | None = None
    told: list[str] = field(default_factory=list)
    """Every event about a VM there must have been."""

    def left(self) -> int:
        return super().left() if self.assumed_left is None else self.assumed_left

    def possible_left(self) -> range:
        """How many buffers the adapter may have left."""
        most = self.buffers - sum(queue.target for queue in self.queues.values())
        return range(self.buffers - sum(queue.total for queue in self.queues.values()), most + 1)

    def resize(self, queue: Any, count: int) -> None:
        queue.target, queue.total = count, max(count, queue.total)

    def again(self) -> "LiveModel":
        trial = copy(self)
        trial.queues = {i: replace(queue, filters=dict(queue.filters)) for i, queue in self.queues.items()}
        trial.vms, trial.stopped = dict(self.vms), set(self.stopped)
        trial.ports, trial.told = list(self.ports), list(self.told)
        return trial


@dataclass(frozen=True)
class Exchange:
    """A request and its answer. ``refused`` holds the statuses it must be refused with whatever the state."""

    op: str
    params: dict[str, Any]
    answer: Response
    refused: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        return self.answer.ndis_status.removeprefix("NDIS_STATUS_")

    @property
    def may_change(self) -> bool:
        return self.answer.status == "ok" and self.op in CHANGING and not self.params.get("what_if")


def outcomes(model: LiveModel, one: Exchange) -> Iterator[LiveModel]:
    """The models that may be after a request, if its answer fits; none if it does not."""
    if one.refused:
        if one.answer.status == "error" and one.status in one.refused:
            yield model
    elif one.op == "enum_queues":
        listed = one.answer.result["queues"]
        if [each["queue_id"] for each in listed] == sorted(model.queues) and all(
            _is_listed(model, each) for each in listed
        ):
            yield model
    elif one.op == "query_capabilities":
        found = one.answer.result
        filters = sum(len(queue.filters) for queue in model.queues.values())
        if (found["num_queues"], found["num_filters"]) == (len(model.queues) - 1, filters) and found[
            "buffers_left"
        ] in model.possible_left():
            yield model
    else:
        yield from _applied(model, one)


def _applied(model: LiveModel, one: Exchange) -> Iterator[LiveModel]:
    """The same for what the model answers, for every number of buffers that may be left."""
    params = {key: value for key, value in one.params.items() if key != "what_if"}
    possible = model.possible_left()
    shared = one.op == "complete_allocation" or "buffers" in params
    for left in sorted(possible, key=lambda n: n not in (possible[0], possible[-1])) if shared else [0]:
        trial = model.again()
        trial.assumed_left = left
        if one.op == "free_queue" and one.params["queue_id"] in trial.queues:
            trial.queues[one.params["queue_id"]].outstanding = one.status == "PENDING"
        expected = trial.request(one.op, params)
        trial.assumed_left = None
        trial.told += expected.vm_events
        if _fits(model, one, expected):
            yield model if one.params.get("what_if") or expected.faults else trial
            return


def _fits(model: LiveModel, one: Exchange, expected: Expected) -> bool:
    if expected.faults:
        return one.answer.status == "error" and one.status in expected.faults
    if (one.answer.status, one.status) != ("ok", expected.status):
        return False
    result = one.answer.result
    if one.op == "complete_allocation":
        entries = [
            (each["queue_id"], each["ndis_status"].removeprefix("NDIS_STATUS_"), each["buffers"])
            for each in result["queues"]
        ]
        return bool(entries == expected.result["queues"])
    if one.op == "query_queue":
        return _is_listed(model, result)
    if one.op.endswith("_vm"):
        return [q["queue_id"] for q in result["queues"]] == [q["queue_id"] for q in expected.result["queues"]]
    return {key: result[key] for key in expected.result} == expected.result


def _is_listed(model: LiveModel, listed: dict[str, Any]) -> bool:
    """Whether an entry of ``enum_queues`` is the queue as the model has it."""
    queue = model.queues[listed["queue_id"]]
    expected = model.listed(listed["queue_id"])
    del expected["total_buffers"]
    return (
        queue.target <= listed["total_buffers"] <= queue.total
        and listed["buffers"] == queue.suggested
        and {key: listed[key] for key in expected} == expected
    )


class History:
    """Reads exchanges, events, configurations and readings of one adapter in the order of revisions."""

    def __init__(self, model: LiveModel, recorder: Recorder, exchanges: Sequence[Exchange]) -> None:
        self.model = model
        self._recorder = recorder
        self._freed = [event.queue_id for event in recorder.events if event.event == "queue_freed"]
        self._vm_events = [event.event for event in recorder.events if event.event.startswith("vm_")]
        self._at: dict[int, list[Exchange]] = defaultdict(list)
        for exchange in exchanges:
            self._at[exchange.answer.revision].append(exchange)
        self._readings: dict[int, list[Stats]] = defaultdict(list)
        for stats in recorder.stats:
            self._readings[stats.revision].append(stats)
        self.configs_held = 0

    def check(self) -> None:
        """Go through every revision; the events about freed queues tell no more and no less."""
        first = min(self._recorder.configs)
        self._hold(first)
        for revision in range(first + 1, max(self._at) + 1):
            trial = self._next(revision)
            gone = sorted(set(self.model.queues) - set(trial.queues))
            assert gone == self._freed[: len(gone)]
            del self._freed[: len(gone)]
            self.model = trial
            self._hold(revision)
        assert self._freed == []
        assert self._vm_events == self.model.told

    def _next(self, revision: int) -> LiveModel:
        """The model at a revision, which fits everything that was answered then."""
        misfits = []
        for trial, made in self._changes(revision):
            others = [one for one in self._at[revision] if one is not made]
            wrong = [one for one in others if all(after != trial for after in outcomes(trial, one))]
            if not wrong:
                return trial
            misfits.append((made, wrong))
        raise AssertionError(
            f"revision {revision}: no order fits {misfits or self._at[revision]} to {self.model}"
        )

    def _changes(self, revision: int) -> Iterator[tuple[LiveModel, Exchange | None]]:
        """What the model may be at a revision, and the exchange that made it so."""
        for one in self._at[revision]:
            if one.may_change:
                for trial in outcomes(self.model, one):
                    if trial != self.model:
                        yield trial, one
        freed = self._freed[0] if self._freed else None
        if freed is not None and freed in self.model.queues:
            queue = self.model.queues[freed]
            if queue.state == "Freeing" and queue.vm not in self.model.stopped:
                trial = self.model.again()
                trial.end(freed)
                yield trial, None

    def _hold(self, revision: int) -> None:
        """Hold the configuration and the readings of a revision against the model."""
        config = self._recorder.configs.get(revision)
        if config is not None:
            self._hold_config(config.adapters[0])
        for stats in self._readings[revision]:
            rows = next(iter(stats.adapters.values())).queues
            assert rows["id"] == sorted(self.model.queues)
            for queue_id, total, pending in zip(
                rows["id"], rows["total_buffers"], rows["pending"], strict=True
            ):
                queue = self.model.queues[queue_id]
                assert queue.target <= total <= queue.total
                assert pending == 0 or queue.state == "Running"
                queue.total = total

    def _hold_config(self, config: AdapterConfig) -> None:
        assert [one.queue_id for one in config.queues] == sorted(self.model.queues)
        for one in config.queues:
            expected = self.model.listed(one.queue_id)
            del expected["num_filters"], expected["total_buffers"]
            assert {key: getattr(one, key) for key in expected} == expected
        filters = {
            filter_id: (queue_id, mac, vlan, driver)
            for queue_id, queue in self.model.queues.items()
            for filter_id, (mac, vlan, driver) in queue.filters.items()
        }
        assert {f.filter_id: (f.queue_id, f.mac, f.vlan, f.driver) for f in config.filters} == filters
        assert [(port.vm, port.mac, port.vlan) for port in config.ports] == self.model.ports
        self.configs_held += 1


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
        async with asyncio.timeout(PATIENCE_S):
            while not all(self.heard.get(key) for key in keys):
                self.changed.clear()
                await self.changed.wait()

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
        return dict(zip(rows["id"], rows["outstanding"], strict=True)).get(queue_id, 0)

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
