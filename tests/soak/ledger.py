"""What an engine publishes, held against contract 2 message by message. Shares nothing with the engine."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgpack

Message = dict[str, Any]

REASONS = ("broadcast", "multicast", "no_queue", "vlan_mismatch", "unknown_unicast")
GAUGES = (
    *("pending", "outstanding", "free_buffers", "low_free_buffers", "total_buffers"),
    *("latency_p50_ns", "latency_p99_ns"),
)
PROBLEMS_KEPT = 100
TURN_S = 0.5


class Ledger:
    """Takes messages as they come, in one thread, and is read from others. ``problems`` are sentences."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.kept: dict[str, Message] = {}
        """The newest stats, config and status."""
        self.readings = 0
        self.readings_missed = 0
        self.events: list[Message] = []
        self.events_missed = 0
        self.kinds: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._event_seq: int | None = None
        self._gone: set[tuple[str, int]] = set()

    def problem(self, sentence: str) -> None:
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(sentence)

    def take(self, kind: str, payload: bytes) -> None:
        """Check one message."""
        try:
            message = msgpack.unpackb(payload) if payload else {}
            with self.changed:
                if kind == "stats":
                    self._stats(message)
                elif kind == "event":
                    self._event(message)
                elif kind == "config":
                    self._config(message)
                if kind != "event":
                    self.kept[kind] = message
                self.changed.notify_all()
        except Exception as error:
            self.problem(f"a message of {kind} that can't be read: {error!r}")

    def wait_for(self, holds: Callable[[], object], seconds: float) -> bool:
        """Wait until ``holds()``, tried after every message; whether it does.

        Seconds are counted in turns: those in which the whole machine stood still don't count.
        """
        with self.changed:
            return any(self.changed.wait_for(holds, TURN_S) for _ in range(max(1, round(seconds / TURN_S))))

    def event_after(self, seen: int, *kinds: str) -> Message | None:
        """The first event of these kinds behind the first ``seen`` events."""
        return next((one for one in self.events[seen:] if one["event"] in kinds), None)

    @property
    def lost_frames(self) -> int:
        """Frames lost with workers so far, of all queues there were."""
        adapters = self.kept.get("stats", {}).get("adapters", {}).values()
        return sum(sum(one["queues"]["lost_frames"]) + one["freed"]["lost_frames"] for one in adapters)

    @property
    def offered_frames(self) -> int:
        adapters = self.kept.get("stats", {}).get("adapters", {}).values()
        return sum(one["port"]["offered_frames"] for one in adapters)

    def down(self) -> list[int]:
        """Processors that are down by the newest reading."""
        cpus = self.kept.get("stats", {}).get("cpus", {"id": [], "down": []})
        return [cpu for cpu, down in zip(cpus["id"], cpus["down"], strict=True) if down]

    def _event(self, message: Message) -> None:
        seq = message["seq"]
        if self._event_seq is not None:
            if seq <= self._event_seq:
                self.problem(f"event {seq} came after {self._event_seq}")
            self.events_missed += max(0, seq - self._event_seq - 1)
        self._event_seq = max(seq, self._event_seq or 0)
        self.kinds[message["event"]] += 1
        self.events.append(message)

    def _config(self, message: Message) -> None:
        before = self.kept.get("config")
        if before is not None and message["revision"] < before["revision"]:
            self.problem(f"configuration {message['revision']} came after {before['revision']}")
        for adapter in message["adapters"]:
            names = Counter(queue["name"] for queue in adapter["queues"])
            for name, count in names.items():
                if name.startswith("soak-") and count > 1:
                    self.problem(f"{count} queues are called {name}: a request was carried out twice")

    def _stats(self, message: Message) -> None:
        self.readings += 1
        before = self.kept.get("stats")
        if before is not None:
            if message["seq"] <= before["seq"] or message["sim_time_ns"] < before["sim_time_ns"]:
                self.problem(f"reading {message['seq']} came after {before['seq']}")
            self.readings_missed += max(0, message["seq"] - before["seq"] - 1)
        for name, adapter in message["adapters"].items():
            where = f"reading {message['seq']}, {name}"
            self._sums(where, adapter)
            if before is not None and name in before["adapters"]:
                self._grows(where, name, before["adapters"][name], adapter)
        cpus = message["cpus"]
        for busy, budget in zip(cpus["busy_cycles"], cpus["budget_cycles"], strict=True):
            self._holds(f"reading {message['seq']}", "busy <= budget", busy <= budget)

    def _holds(self, where: str, what: str, holds: bool) -> None:
        if not holds:
            self.problem(f"{where}: {what} does not hold")

    def _sums(self, where: str, adapter: Message) -> None:
        """The identities of contract 2."""
        port, freed, queues = adapter["port"], adapter["freed"], rows(adapter["queues"])
        steered = sum(queue["steered_frames"] for queue in queues) + freed["steered_frames"]
        offered = port["runt"] + port["oversize"] + steered
        self._holds(where, "offered = runt + oversize + steered", port["offered_frames"] == offered)
        for queue in queues:
            at = f"{where}, queue {queue['id']}"
            self._holds(at, f"no count is negative {queue}", min(queue.values()) >= 0)
            received = queue["received_frames"]
            ended = queue["indicated_frames"] + queue["discarded_frames"] + queue["lost_frames"]
            self._holds(
                at,
                "steered = received + dropped",
                queue["steered_frames"] == received + queue["dropped_no_buffer"],
            )
            self._holds(
                at, "received = indicated + discarded + lost + pending", received == ended + queue["pending"]
            )
            indicated = queue["returned_frames"] + queue["outstanding"]
            self._holds(at, "indicated = returned + outstanding", queue["indicated_frames"] == indicated)
            buffers = queue["free_buffers"] + queue["pending"] + queue["outstanding"]
            self._holds(at, "total = free + pending + outstanding", queue["total_buffers"] == buffers)
        ended = freed["indicated_frames"] + freed["discarded_frames"] + freed["lost_frames"]
        self._holds(
            where, "freed: received = indicated + discarded + lost", freed["received_frames"] == ended
        )
        reasons = sum(adapter["default_queue"][reason] for reason in REASONS)
        self._holds(where, "queue 0: steered = its reasons", reasons == queues[0]["steered_frames"])

    def _grows(self, where: str, name: str, before: Message, now: Message) -> None:
        """Counters only grow; a generation that is gone stays gone, and what it counted is in ``freed``."""
        for table in ("port", "freed", "default_queue"):
            for counter, value in before[table].items():
                self._holds(where, f"{table}.{counter} grows", now[table][counter] >= value)
        old = {queue["generation"]: queue for queue in rows(before["queues"])}
        new = {queue["generation"]: queue for queue in rows(now["queues"])}
        self._gone |= {(name, generation) for generation in old.keys() - new.keys()}
        back = [generation for generation in new if (name, generation) in self._gone]
        self._holds(where, f"generations {back} are gone for ever", not back)
        for generation in old.keys() & new.keys():
            for counter, value in old[generation].items():
                if counter not in GAUGES:
                    holds = new[generation][counter] >= value
                    self._holds(where, f"{counter} of generation {generation} grows", holds)
        for counter in now["freed"]:
            was = before["freed"][counter] + sum(before["queues"][counter])
            is_now = now["freed"][counter] + sum(now["queues"][counter])
            self._holds(where, f"{counter} of all queues there were grows", is_now >= was)


def rows(columns: dict[str, list[int]]) -> list[dict[str, int]]:
    """A table sent as columns, as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
