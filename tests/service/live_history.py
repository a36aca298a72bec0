"""What a live engine answered, held against the model of NDIS.md.

Nothing in a history says in which order requests were applied, but every answer carries the revision of the
configuration after it, and each change makes a new one. So a history is read revision by revision: one
answer tells of the change that made it (or no answer does: a queue whose buffers came back was freed);
every other answer with that revision must be right for the model as it stands then, and change nothing.

Two things are the data plane's and not in the tables: whether a queue's buffers are outstanding when it is
freed, which the answer tells; and how many a queue that shrinks still has, which is known within bounds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.bus.messages import Response
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.telemetry.config import AdapterConfig, Config
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats, known
from tests.ndis.table_model import Expected, Model

HOST: Final = "lab"
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
                *(known(rows[name]) for name in ("id", "total_buffers", "pending")), strict=True
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
