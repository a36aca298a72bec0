"""The control plane against the model of NDIS.md's tables, with valid and invalid requests at random."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.ndis.effects import SteeringChanged
from engine.ndis.outcome import Outcome
from tests.ndis.lab import lab, snapshot
from tests.ndis.table_model import STEPS, WRITTEN, Model
from tests.slow import examples

LIMITS: dict[str, Any] = {"max_queues": 3, "max_filters": 5, "buffers": 24}
DEFAULT_BUFFERS = 4

CPUS = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 4, -1])
BUFFERS = st.one_of(st.integers(1, 12), st.integers(1, 12), st.sampled_from([0, 13, 24, 65536, 65537]))
NAMES = st.sampled_from(["web", "db", "app", "sql", "n" * 256, "n" * 257])
VMS = st.sampled_from(["web", "web", "db", "app", None])
LOOKAHEADS = st.sampled_from([0, 1, 64, 100, 128, 129, -1])
MACS = st.sampled_from(
    ["02:00:00:00:00:01", "02-00-00-00-00-0A", "02:00:00:00:00:0a", "02:00:00:00:00:02"] * 4
    + ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00", ""]
)
VLANS = st.sampled_from([None, "untagged", 1, 10, 4094, 1, 10, 20, 30, 0, 4095])
OPERATIONS = st.sampled_from(
    ["allocate_queue", "complete_allocation", "set_queue_parameters", "free_queue", "set_filter"] * 2
    + ["clear_filter"] * 5
    + ["free_queue", "query_queue", "enum_filters", "query_filter"]
    + ["pause_vm", "pause_vm", "resume_vm", "remove_vm", "migrate_vm"]
)


def a_request(data: st.DataObject, model: Model) -> tuple[str, dict[str, Any]]:
    """A request, more often than not about a queue and a filter that exist, from their driver."""
    op = data.draw(OPERATIONS)
    known = [queue_id for queue_id in model.queues if queue_id] or [0]
    queue_id = data.draw(st.sampled_from([*known * 4, 0, 0, 5]))
    queue = model.queues.get(queue_id)
    filter_id = data.draw(st.sampled_from([*(queue.filters if queue else []), 1, 6]))
    drivers = ["vsp", "vsp", "other"]
    if queue and queue_id:
        drivers = [queue.owner] * 4 + ["third"]
    elif queue and filter_id in queue.filters:
        drivers = [queue.filters[filter_id][2], "third"]
    params: dict[str, Any] = {"driver": data.draw(st.sampled_from(drivers))}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    match op:
        case "allocate_queue":
            params |= {key: data.draw(s) for key, s in {"name": NAMES, "vm": VMS, "cpu": CPUS}.items()}
            params["buffers"] = data.draw(BUFFERS)
            optional = {"lookahead_bytes": LOOKAHEADS}
        case "complete_allocation":
            params["queue_ids"] = data.draw(st.lists(st.sampled_from([*known * 3, 0, 5]), max_size=4))
        case "pause_vm" | "resume_vm" | "remove_vm" | "migrate_vm":
            params["vm"] = data.draw(st.sampled_from([*list(model.vms) * 4, "nobody", "n" * 257]))
        case "query_filter":
            params["filter_id"] = filter_id
        case "clear_filter":
            params |= {"queue_id": queue_id, "filter_id": filter_id}
        case "set_filter":
            params |= {"queue_id": queue_id, "mac": data.draw(MACS)}
            optional = {"vlan": VLANS}
        case "set_queue_parameters":
            params["queue_id"] = queue_id
            optional = {"cpu": CPUS, "buffers": BUFFERS, "name": NAMES}
        case _:
            params["queue_id"] = queue_id
    for key, values in optional.items():
        if data.draw(st.booleans()):
            params[key] = data.draw(values)
    return op, params


NOISE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"queueid": st.just(1)}),
    st.fixed_dictionaries({"queue_id": st.sampled_from(["1", 1.0, True, None, [1]])}),
    st.fixed_dictionaries({"adapter": st.sampled_from(["nic1", 0, ""])}),
    st.fixed_dictionaries({"what_if": st.sampled_from(["yes", 1, None])}),
    st.fixed_dictionaries({"driver": st.sampled_from([7, ""])}),
    st.fixed_dictionaries({"buffers": st.sampled_from(["8", 2.5, False])}),
    st.fixed_dictionaries({"vlan": st.sampled_from(["tagged", 10.0, True, -1])}),
)


class ControlPlane(RuleBasedStateMachine):
    """Every answer, and after every step every queue, is what the model says."""

    @initialize(
        old=st.booleans(),
        vlan_filtering=st.booleans(),
        paused=st.booleans(),
        freeing=st.sampled_from([False, False, True]),
    )
    def bring_up(self, old: bool, vlan_filtering: bool, paused: bool, freeing: bool) -> None:
        lookahead = (64, 128) if old else (0, 0)
        self.lab = lab(
            **LIMITS,
            default_queue_buffers=DEFAULT_BUFFERS,
            ndis_version="6.20" if old else "6.30",
            vlan_filtering=vlan_filtering,
            min_lookahead_bytes=lookahead[0],
            max_lookahead_bytes=lookahead[1],
        )
        self.model = Model(
            cpus=4,
            **LIMITS,
            default_buffers=DEFAULT_BUFFERS,
            old=old,
            vlan_filtering=vlan_filtering,
            min_lookahead=lookahead[0],
            max_lookahead=lookahead[1],
        )
        self.generations: dict[int, int] = {}
        self.indicated = {0: "running"}
        self.steering = self.compiled()
        asked = {"lookahead_bytes": 1} if old else {}
        vlan = 1 if vlan_filtering else "untagged"
        self.send_this("allocate_queue", {"name": "web", "vm": "web", "cpu": 0, "buffers": 8, **asked})
        self.send_this("set_filter", {"queue_id": 1, "mac": "02:00:00:00:00:01", "vlan": vlan})
        self.send_this("complete_allocation", {"queue_ids": [1]})
        self.send_this(
            "allocate_queue", {"name": "db", "vm": "db", "cpu": 1, "buffers": 7, "driver": "other"}
        )
        if paused:
            self.send_this("pause_vm", {"vm": "web"})
        if freeing:
            self.model.take(1, 2)
            self.lab.plane.take(1, 2)
            self.send_this("clear_filter", {"queue_id": 1, "filter_id": 1})
            self.send_this("free_queue", {"queue_id": 1})

    @rule(data=st.data(), ask_first=st.booleans())
    def send(self, data: st.DataObject, ask_first: bool) -> None:
        op, params = a_request(data, self.model)
        self.send_this(op, params, ask_first)

    def send_this(self, op: str, params: dict[str, Any], ask_first: bool = False) -> None:
        foreseen = None
        if ask_first:
            before = snapshot(self.lab.host)
            foreseen = self.lab.send(op, **params, what_if=True)
            assert snapshot(self.lab.host) == before
        expected = self.model.request(op, params)
        outcome = self.lab.send(op, **params)
        self.note(outcome)
        assert bool(outcome.indications) == outcome.changed
        status = outcome.ndis_status.removeprefix("NDIS_STATUS_")
        if expected.faults:
            assert outcome.status == "error"
            assert status in expected.faults, outcome.message
        else:
            assert (outcome.status, status) == ("ok", expected.status), outcome.message
            self.compare(op, outcome.result, expected.result)
            told = [one.event for one in outcome.indications if one.event.startswith("vm_")]
            assert told == expected.vm_events
        assert self.lab.host.freeing() == tuple(
            (0, queue_id) for queue_id, queue in sorted(self.model.queues.items()) if queue.state == "Freeing"
        )
        if foreseen is not None:
            assert foreseen.ndis_status == outcome.ndis_status == foreseen.result["ndis_status"]
            assert foreseen.message.endswith(outcome.message)
            if "queue_id" in params and foreseen.result["next_state"] is not None:
                queue = self.model.queues.get(params["queue_id"])
                state = WRITTEN[queue.state] if queue else "undefined"
                assert foreseen.result["next_state"] == state
            for entry in foreseen.result.get("queues", ()):
                queue = self.model.queues.get(entry["queue_id"])
                assert entry["next_state"] == (WRITTEN[queue.state] if queue else "undefined")

    def note(self, outcome: Outcome) -> None:
        """What a reader of events, and a data plane, know after an outcome."""
        for one in outcome.indications:
            if one.queue_id is None:
                continue
            if one.event in ("queue_moved", "queue_changed", "filter_changed"):
                assert one.state == self.indicated[one.queue_id]
                continue
            before = self.indicated.pop(one.queue_id, "undefined")
            assert one.state != before
            assert (before, one.state) in STEPS
            assert (one.event == "queue_freed") == (one.state == "undefined")
            if one.state is not None and one.state != "undefined":
                self.indicated[one.queue_id] = one.state
        if SteeringChanged(0) in outcome.effects:
            self.steering = self.compiled()

    def compiled(self) -> list[list[Any]]:
        """The steering rows as they would be compiled now."""
        rows = self.lab.host.adapters[0].steering_rows()
        columns = (rows.key, rows.queue, rows.filter, rows.default_filter, rows.port_vm)
        return [column.tolist() for column in columns]

    def compare(self, op: str, result: dict[str, Any], expected: dict[str, Any]) -> None:
        if op == "complete_allocation":
            entries = [
                (e["queue_id"], e["ndis_status"].removeprefix("NDIS_STATUS_"), e["buffers"])
                for e in result["queues"]
            ]
            assert entries == expected["queues"]
        else:
            assert {key: result[key] for key in expected} == expected

    @rule(data=st.data(), noise=NOISE)
    def send_what_does_not_fit(self, data: st.DataObject, noise: dict[str, Any]) -> None:
        op, params = a_request(data, self.model)
        before = snapshot(self.lab.host)
        outcome = self.lab.host.apply(op, {**params, **noise}, self.lab.plane)
        assert outcome.ndis_status in ("NDIS_STATUS_INVALID_PARAMETER", "NDIS_STATUS_INVALID_LENGTH")
        assert snapshot(self.lab.host) == before

    @precondition(lambda self: any(self.busy()))
    @rule(data=st.data())
    def frames_are_received(self, data: st.DataObject) -> None:
        queue_id = data.draw(st.sampled_from(self.busy()))
        queue = self.model.queues[queue_id]
        count = data.draw(st.integers(1, queue.total - queue.outstanding))
        self.model.take(queue_id, count)
        self.lab.plane.take(queue_id, count)

    def busy(self) -> list[int]:
        return [
            queue_id
            for queue_id, queue in self.model.queues.items()
            if queue.state == "Running" and queue.target == queue.total > queue.outstanding
        ]

    @precondition(lambda self: any(self.returning()))
    @rule(data=st.data())
    def buffers_are_returned(self, data: st.DataObject) -> None:
        queue_id = data.draw(st.sampled_from(self.returning()))
        queue = self.model.queues[queue_id]
        count = data.draw(st.integers(1, queue.outstanding))
        self.model.give_back(queue_id, count)
        self.lab.plane.give_back(queue_id, count)
        if queue.state == "Freeing" and not queue.outstanding:
            self.model.end(queue_id)
            outcome = self.lab.returned(queue_id)
            self.note(outcome)
            assert [one.event for one in outcome.indications] == ["queue_freed"]

    def returning(self) -> list[int]:
        return [
            queue_id
            for queue_id, queue in self.model.queues.items()
            if queue.outstanding and queue.vm not in self.model.stopped
        ]

    @invariant()
    def every_queue_is_as_the_model_has_it(self) -> None:
        if not hasattr(self, "model"):
            return
        listed = self.lab.accept("enum_queues").result["queues"]
        expected = [self.model.listed(queue_id) for queue_id in sorted(self.model.queues)]
        assert [{key: one[key] for key in expected[0]} for one in listed] == expected
        for one in listed:
            held = self.lab.plane.held[0, one["queue_id"]]
            assert one["total_buffers"] == held.total
            assert held.kept == one["vm_paused"]
            assert held.vm == self.model.vms.get(one["vm"])
        assert len(self.lab.plane.held) == len(listed)
        assert self.lab.accept("query_capabilities").result["buffers_left"] == self.model.left()
        assert self.model.left() >= 0

    @invariant()
    def every_vm_and_port_is_as_the_model_has_it(self) -> None:
        if not hasattr(self, "model"):
            return
        adapter = self.lab.host.adapters[0]
        assert adapter.vms == self.model.vms
        ports = [(port["vm"], port["mac"], port["vlan"]) for port in adapter.describe()["ports"]]
        assert ports == self.model.ports

    @invariant()
    def events_and_steering_tell_all_that_happened(self) -> None:
        if not hasattr(self, "model"):
            return
        states = {queue_id: WRITTEN[queue.state] for queue_id, queue in self.model.queues.items()}
        assert self.indicated == states
        assert self.steering == self.compiled()

    @invariant()
    def generations_tell_queues_with_one_id_apart(self) -> None:
        if not hasattr(self, "model"):
            return
        now = {q["queue_id"]: q["generation"] for q in self.lab.accept("enum_queues").result["queues"]}
        new = [
            generation for queue_id, generation in now.items() if self.generations.get(queue_id) != generation
        ]
        assert all(generation > max(self.generations.values(), default=0) for generation in new)
        self.generations.update(now)


TestControlPlane = ControlPlane.TestCase
TestControlPlane.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
