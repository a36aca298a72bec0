"""Requests of CONTRACT 5 over MQTT, their answers, what they leave unchanged (statuses: NDIS.md)."""

import secrets
from typing import Any

import msgpack
import pytest

from tests.end_to_end.lab import MAC
from tests.end_to_end.mqtt_client import Message, Reader
from vmqtui.testing import wait_until

ALLOCATE: dict[str, Any] = {"name": "new", "vm": "new", "cpu": 3, "buffers": 32}


def clear_away(reader: Reader, queue_id: int, adapter: str = "nic0", driver: str = "vsp") -> None:
    for each in reader.ok("enum_filters", adapter=adapter, queue_id=queue_id)["filters"]:
        reader.ok(
            "clear_filter", adapter=adapter, queue_id=queue_id, filter_id=each["filter_id"], driver=driver
        )
    reader.ok("free_queue", adapter=adapter, queue_id=queue_id, driver=driver)
    wait_until(lambda: queue_id not in reader.states(adapter), what="the queue's end")


def event_of(reader: Reader, event: str, queue_id: int, after: int) -> Message | None:
    events = reader.messages["event"]
    return next(
        (each for each in events[after:] if each["event"] == event and each["queue_id"] == queue_id), None
    )


def test_ping_is_answered_with_its_id_and_the_revision(reader: Reader) -> None:
    answer = reader.send({"id": "a" * 64, "op": "ping", "params": {}})
    assert (answer["id"], answer["status"], answer["ndis_status"]) == ("a" * 64, "ok", "NDIS_STATUS_SUCCESS")
    assert answer["revision"] == reader.last("config")["revision"]
    assert answer["schema"].startswith("vmq.response/")


def test_unknown_keys_beside_params_are_ignored_and_within_them_refused(reader: Reader) -> None:
    request = {"id": "beside", "op": "ping", "params": {}, "colour": "red", "schema": "vmq.request/9"}
    assert reader.send(request)["status"] == "ok"
    answer = reader.ask("enum_queues", adapter="nic0", colour="red")
    assert (answer["status"], answer["ndis_status"]) == ("error", "NDIS_STATUS_INVALID_PARAMETER")
    assert "colour" in answer["message"]


def test_every_queue_is_listed_and_queried(reader: Reader) -> None:
    queues = reader.ok("enum_queues", adapter="nic0", driver="someone")["queues"]
    assert [each["queue_id"] for each in queues][:3] == [0, 1, 2]
    keys = "queue_id name vm cpu state operational_state num_filters total_buffers driver"
    assert set(queues[0]) >= set(keys.split())
    assert (queues[1]["name"], queues[1]["vm"], queues[1]["driver"]) == ("web", "web", "vsp")
    assert (queues[1]["state"], queues[1]["operational_state"]) == ("running", "running")
    assert (queues[1]["num_filters"], queues[1]["total_buffers"]) == (1, 256)
    assert reader.ok("enum_filters", adapter="nic0", queue_id=1)["filters"] == [
        {"filter_id": 1, "mac": MAC["web"], "vlan": 10}
    ]
    assert reader.queue("nic0", 2)["name"] == "slow"
    assert reader.ok("query_filter", adapter="nic0", filter_id=2)["mac"] == MAC["slow"]
    assert reader.ok("query_capabilities", adapter="nic0")


def test_a_queue_lives_from_allocation_to_its_end(reader: Reader) -> None:
    """Before and after completion, with and without filters; frames find it only while it runs."""
    events = len(reader.messages["event"])
    revision = reader.ask("ping")["revision"]
    queue_id = reader.ok("allocate_queue", adapter="nic0", **ALLOCATE)["queue_id"]
    assert queue_id == 3
    assert reader.ask("ping")["revision"] > revision
    assert reader.states("nic0")[queue_id] == "allocated"
    filter_id = reader.ok("set_filter", adapter="nic0", queue_id=queue_id, mac=MAC["spare"])["filter_id"]
    assert filter_id == 3
    assert reader.states("nic0")[queue_id] == "set"
    refused = reader.ask("free_queue", adapter="nic0", queue_id=queue_id)
    assert refused["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    entries = reader.ok("complete_allocation", adapter="nic0", queue_ids=[queue_id, 0, 77, queue_id])[
        "queues"
    ]
    assert [(each["queue_id"], each["ndis_status"]) for each in entries] == [
        (queue_id, "NDIS_STATUS_SUCCESS"),
        (0, "NDIS_STATUS_INVALID_PARAMETER"),
        (77, "NDIS_STATUS_INVALID_PARAMETER"),
        (queue_id, "NDIS_STATUS_INVALID_PARAMETER"),
    ]
    assert entries[0]["buffers"] == 32
    assert reader.states("nic0")[queue_id] == "running"

    def steered() -> int:
        columns = reader.next_stats()["adapters"]["nic0"]["queues"]
        return int(columns["steered_frames"][columns["id"].index(queue_id)])

    wait_until(lambda: steered() > 100, what="frames in the new queue")
    reader.ok("clear_filter", adapter="nic0", queue_id=queue_id, filter_id=filter_id)
    assert reader.states("nic0")[queue_id] == "paused"
    stopped = steered()
    assert steered() == stopped
    answer = reader.ask("free_queue", adapter="nic0", queue_id=queue_id)
    assert answer["ndis_status"] in ("NDIS_STATUS_SUCCESS", "NDIS_STATUS_PENDING")
    wait_until(lambda: event_of(reader, "queue_freed", queue_id, events), what="queue_freed")
    assert queue_id not in reader.states("nic0")
    adapter = reader.next_stats()["adapters"]["nic0"]
    assert adapter["freed"]["steered_frames"] >= stopped
    again = reader.ok("allocate_queue", adapter="nic0", **ALLOCATE)["queue_id"]
    assert again == queue_id
    columns = reader.next_stats()["adapters"]["nic0"]["queues"]
    assert columns["steered_frames"][columns["id"].index(again)] == 0
    generations = columns["generation"]
    assert len(set(generations)) == len(generations)
    reader.ok("free_queue", adapter="nic0", queue_id=again)


def test_a_queue_completed_without_filters_pauses_until_it_has_one(reader: Reader) -> None:
    queue_id = reader.ok("allocate_queue", adapter="nic0", **ALLOCATE)["queue_id"]
    reader.ok("complete_allocation", adapter="nic0", queue_ids=[queue_id])
    assert reader.states("nic0")[queue_id] == "paused"
    reader.ok("set_filter", adapter="nic0", queue_id=queue_id, mac="00-15-5D-AA-00-01", vlan="untagged")
    assert reader.states("nic0")[queue_id] == "running"
    [row] = reader.ok("enum_filters", adapter="nic0", queue_id=queue_id)["filters"]
    assert (row["mac"], row["vlan"]) == ("00:15:5d:aa:00:01", "untagged")
    clear_away(reader, queue_id)


def test_a_free_with_buffers_outstanding_is_pending_and_completes_with_an_event(reader: Reader) -> None:
    """The VM of queue 2 keeps each buffer for a second; the queue's filter is put back afterwards."""
    events = len(reader.messages["event"])
    wait_until(
        lambda: (lambda c: c["outstanding"][c["id"].index(2)])(
            reader.last("stats")["adapters"]["nic0"]["queues"]
        ),
        what="outstanding buffers",
    )
    reader.ok("clear_filter", adapter="nic0", queue_id=2, filter_id=2)
    answer = reader.ask("free_queue", adapter="nic0", queue_id=2)
    assert (answer["status"], answer["ndis_status"]) == ("ok", "NDIS_STATUS_PENDING")
    assert reader.states("nic0")[2] == "freeing"
    for op, more in (
        ("free_queue", {}),
        ("set_filter", {"mac": MAC["slow"]}),
        ("set_queue_parameters", {"cpu": 1}),
        ("enum_filters", {}),
    ):
        refused = reader.ask(op, adapter="nic0", queue_id=2, **more)
        assert refused["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER", (op, refused)
    other = reader.ok("allocate_queue", adapter="nic0", **ALLOCATE)["queue_id"]
    assert other == 3  # the id of a freeing queue is in use
    reader.ok("free_queue", adapter="nic0", queue_id=other)
    wait_until(lambda: event_of(reader, "queue_freed", 2, events), what="queue_freed")
    states = [
        each["state"]
        for each in reader.messages["event"][events:]
        if each["queue_id"] == 2 and each["event"] == "queue_state"
    ]
    assert "dma_stopped" in states
    assert 2 not in reader.states("nic0")


ERRORS: list[tuple[str, dict[str, Any], str, str]] = [
    ("allocate_queue", ALLOCATE | {"cpu": 4}, "INVALID_PARAMETER", "cpu"),
    ("allocate_queue", ALLOCATE | {"cpu": -1}, "INVALID_PARAMETER", "cpu"),
    ("allocate_queue", ALLOCATE | {"cpu": True}, "INVALID_PARAMETER", "cpu"),
    ("allocate_queue", ALLOCATE | {"buffers": 0}, "INVALID_PARAMETER", "buffers"),
    ("allocate_queue", ALLOCATE | {"buffers": 65537}, "INVALID_PARAMETER", "buffers"),
    ("allocate_queue", ALLOCATE | {"buffers": "many"}, "INVALID_PARAMETER", "buffers"),
    ("allocate_queue", ALLOCATE | {"lookahead_bytes": 64}, "INVALID_PARAMETER", "lookahead_bytes"),
    ("allocate_queue", ALLOCATE | {"name": "x" * 257}, "INVALID_LENGTH", "name"),
    ("allocate_queue", ALLOCATE | {"nmae": "x"}, "INVALID_PARAMETER", "nmae"),
    ("allocate_queue", {"name": "x", "vm": "x", "cpu": 1}, "INVALID_PARAMETER", "buffers"),
    ("allocate_queue", ALLOCATE | {"adapter": "nic9"}, "INVALID_PARAMETER", "adapter"),
    ("allocate_queue", ALLOCATE | {"what_if": "yes"}, "INVALID_PARAMETER", "what_if"),
    ("complete_allocation", {}, "INVALID_PARAMETER", "queue_ids"),
    ("complete_allocation", {"queue_ids": 3}, "INVALID_PARAMETER", "queue_ids"),
    ("set_queue_parameters", {"queue_id": 1, "cpu": 4}, "INVALID_PARAMETER", "cpu"),
    ("set_queue_parameters", {"queue_id": 1, "buffers": 0}, "INVALID_PARAMETER", "buffers"),
    ("set_queue_parameters", {"queue_id": 1, "vm": "x"}, "INVALID_PARAMETER", "vm"),
    ("set_queue_parameters", {"queue_id": 1, "buffers": 60_000}, "RESOURCES", "buffers"),
    ("set_queue_parameters", {"queue_id": 1, "name": "x" * 257}, "INVALID_LENGTH", "name"),
    ("set_queue_parameters", {"queue_id": 9, "cpu": 1}, "INVALID_PARAMETER", "queue"),
    ("set_queue_parameters", {"queue_id": 1, "cpu": 2, "driver": "other"}, "INVALID_PARAMETER", "driver"),
    ("set_queue_parameters", {"queue_id": 0, "name": "x"}, "INVALID_PARAMETER", "name"),
    ("free_queue", {"queue_id": 0}, "INVALID_PARAMETER", "queue"),
    ("free_queue", {"queue_id": 1}, "INVALID_PARAMETER", "filter"),
    ("free_queue", {"queue_id": 99}, "INVALID_PARAMETER", "queue"),
    ("free_queue", {"queue_id": "1"}, "INVALID_PARAMETER", "queue_id"),
    ("free_queue", {}, "INVALID_PARAMETER", "queue_id"),
    ("set_filter", {"queue_id": 1, "mac": "00:00:00:00:00:00"}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 1, "mac": "01:00:5e:00:00:01"}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 1, "mac": "ff:ff:ff:ff:ff:ff"}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 1, "mac": "00:15:5d:00:01"}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 1, "mac": MAC["more"], "vlan": 0}, "INVALID_PARAMETER", "vlan"),
    ("set_filter", {"queue_id": 1, "mac": MAC["more"], "vlan": 4095}, "INVALID_PARAMETER", "vlan"),
    ("set_filter", {"queue_id": 1, "mac": MAC["more"], "vlan": "tagged"}, "INVALID_PARAMETER", "vlan"),
    ("set_filter", {"queue_id": 1, "mac": MAC["web"], "vlan": 10}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 0, "mac": MAC["web"], "vlan": 10}, "INVALID_PARAMETER", "mac"),
    ("set_filter", {"queue_id": 1, "mac": MAC["more"], "driver": "other"}, "INVALID_PARAMETER", "driver"),
    ("set_filter", {"queue_id": 42, "mac": MAC["more"]}, "INVALID_PARAMETER", "queue"),
    ("clear_filter", {"queue_id": 1, "filter_id": 88}, "FILE_NOT_FOUND", "filter"),
    ("clear_filter", {"queue_id": 0, "filter_id": 1}, "FILE_NOT_FOUND", "filter"),
    ("clear_filter", {"queue_id": 55, "filter_id": 1}, "INVALID_PARAMETER", "queue"),
    ("clear_filter", {"queue_id": 1, "filter_id": 1, "driver": "other"}, "INVALID_PARAMETER", "driver"),
    ("query_queue", {"queue_id": 99}, "INVALID_PARAMETER", "queue"),
    ("query_filter", {"filter_id": 99}, "INVALID_PARAMETER", "filter"),
    ("enum_filters", {"queue_id": 99}, "INVALID_PARAMETER", "queue"),
    ("dance", {}, "NOT_SUPPORTED", "dance"),
    ("set_filter", {"adapter": "old", "queue_id": 0, "mac": MAC["web"]}, "INVALID_PARAMETER", "vlan"),
    ("allocate_queue", ALLOCATE | {"adapter": "old", "lookahead_bytes": 257}, "NOT_SUPPORTED", "lookahead"),
]


def test_bad_input_is_named_and_changes_nothing(reader: Reader) -> None:
    def unchanging() -> object:
        return (
            reader.ask("ping")["revision"],
            reader.last("config"),
            reader.states("nic0"),
            reader.states("old"),
        )

    before = unchanging()
    wrong = []
    for op, params, status, named in ERRORS:
        answer = reader.ask(op, **({"adapter": "nic0"} | params))
        if (answer["status"], answer["ndis_status"]) != ("error", f"NDIS_STATUS_{status}"):
            wrong.append(
                f"{op} {params}: {status} expected, got {answer['ndis_status']} {answer['message']!r}"
            )
        elif named not in answer["message"]:
            wrong.append(f"{op} {params}: {named!r} is not in {answer['message']!r}")
    assert not wrong, "\n".join(wrong)
    assert unchanging() == before


def test_several_adapters_and_none_named_is_an_error(reader: Reader) -> None:
    answer = reader.ask("enum_queues")
    assert answer["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    assert "nic0" in answer["message"]


def test_what_if_answers_and_changes_nothing(reader: Reader) -> None:
    revision, states = reader.ask("ping")["revision"], reader.states("nic0")
    for op, params, status in (
        ("allocate_queue", ALLOCATE, "SUCCESS"),
        ("set_filter", {"queue_id": 1, "mac": MAC["more"], "vlan": 3}, "SUCCESS"),
        ("clear_filter", {"queue_id": 1, "filter_id": 1}, "SUCCESS"),
        ("set_queue_parameters", {"queue_id": 1, "cpu": 3, "name": "other", "buffers": 128}, "SUCCESS"),
        ("free_queue", {"queue_id": 1}, "INVALID_PARAMETER"),
        ("clear_filter", {"queue_id": 1, "filter_id": 9}, "FILE_NOT_FOUND"),
    ):
        answer = reader.ask(op, adapter="nic0", what_if=True, **params)
        assert answer["ndis_status"] == f"NDIS_STATUS_{status}", (op, answer)
    assert reader.ask("ping")["revision"] == revision
    assert reader.states("nic0") == states
    queue = reader.queue("nic0", 1)
    assert (queue["cpu"], queue["name"]) == (1, "web")


def test_what_a_request_changes_is_an_event_and_nothing_else_is(reader: Reader) -> None:
    """The same request again changes nothing; what is changed is put back."""
    events = len(reader.messages["event"])
    of_queue = {"adapter": "nic0", "queue_id": 1}
    for cpu, name in ((3, "shop"), (3, "shop"), (1, "web")):
        reader.ok("set_queue_parameters", **of_queue, cpu=cpu, name=name, what_if=True)
        reader.ok("set_queue_parameters", **of_queue, cpu=cpu, name=name)
    second = reader.ok("set_filter", **of_queue, mac=MAC["more"], vlan=3)["filter_id"]
    reader.ok("clear_filter", **of_queue, filter_id=second)
    for mode in ("dynamic", "off", "off"):
        reader.ok("set_balancer", mode=mode, interval_ms=3_600_000)
    reader.ok("set_balancer", interval_ms=100)
    filter_id = f"filter {second}"
    expected = [
        ("queue_moved", 1, "moved by vsp from 0:1 to 0:3"),
        ("queue_changed", 1, 'changed by vsp: name "web" → "shop"'),
        ("queue_moved", 1, "moved by vsp from 0:3 to 0:1"),
        ("queue_changed", 1, 'changed by vsp: name "shop" → "web"'),
        ("filter_changed", 1, f"{filter_id} set by vsp ({MAC['more']} VLAN 3)"),
        ("filter_changed", 1, f"{filter_id} cleared by vsp ({MAC['more']} VLAN 3)"),
        ("balancer_changed", None, 'changed by vsp: mode "off" → "dynamic", interval_ms 100 → 3,600,000'),
        ("balancer_changed", None, 'changed by vsp: mode "dynamic" → "off"'),
        ("balancer_changed", None, "changed by vsp: interval_ms 3,600,000 → 100"),
    ]

    def changes() -> list[tuple[str, int | None, str]]:
        return [
            (each["event"], each["queue_id"], each["cause"])
            for each in reader.messages["event"][events:]
            if each["event"] == "queue_moved" or each["event"].endswith("_changed")
        ]

    wait_until(lambda: len(changes()) >= len(expected), what="the events")
    assert changes() == expected


def test_a_repeated_id_brings_the_first_answer_and_does_nothing(reader: Reader) -> None:
    request = {"id": "once", "op": "allocate_queue", "params": ALLOCATE | {"adapter": "nic0"}}
    first = reader.send(request)
    queues = reader.states("nic0")
    assert reader.send(request) == first
    assert reader.states("nic0") == queues
    for other in (
        {"id": "once", "op": "ping", "params": {}},
        {"id": "once", "op": "allocate_queue", "params": ALLOCATE | {"adapter": "nic0", "cpu": 2}},
    ):
        answer = reader.send(other)
        assert (answer["status"], answer["ndis_status"]) == ("error", "NDIS_STATUS_INVALID_PARAMETER")
    assert reader.states("nic0") == queues
    reader.ok("free_queue", adapter="nic0", queue_id=first["result"]["queue_id"])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"plain text",
        msgpack.packb([1, 2]),
        msgpack.packb({"op": "ping", "params": {}}),
        msgpack.packb({"id": 7, "op": "ping", "params": {}}),
        msgpack.packb({"id": "x" * 65, "op": "ping", "params": {}}),
        msgpack.packb({"id": "é" * 33, "op": "ping", "params": {}}),
        b"\x91" * 5000 + b"\xc0",
    ],
    ids=["empty", "reserved", "text", "list", "no id", "number id", "long id", "long in bytes", "deep"],
)
def test_what_cannot_be_decoded_is_an_event_and_no_answer(payload: bytes, reader: Reader) -> None:
    answers, events = len(reader.messages["response"]), len(reader.messages["event"])
    reader.publish(payload)
    wait_until(
        lambda: any(each["event"] == "bad_request" for each in reader.messages["event"][events:]),
        what="the event",
    )
    assert reader.name not in str(reader.messages["event"])  # whose it was is nobody else's business
    assert reader.send({"id": secrets.token_hex(4), "op": "ping", "params": {}})["status"] == "ok"
    assert len(reader.messages["response"]) == answers + 1


@pytest.mark.parametrize("request_", [{"op": 5, "params": {}}, {"op": "ping", "params": [1]}, {"params": {}}])
def test_a_wrong_op_or_params_with_an_id_is_answered(request_: Message, reader: Reader) -> None:
    answer = reader.send(request_ | {"id": secrets.token_hex(4)})
    assert (answer["status"], answer["ndis_status"]) == ("error", "NDIS_STATUS_INVALID_PARAMETER")


def test_filters_of_the_default_queue_are_credited_and_change_neither_state_nor_reason(
    reader: Reader,
) -> None:
    """MAC "spare" is unknown; it stays so when queue 0, and only queue 0, has a filter for it."""
    filter_id = reader.ok("set_filter", adapter="nic0", queue_id=0, mac=MAC["spare"], driver="guest")[
        "filter_id"
    ]
    assert reader.states("nic0")[0] == "running"

    def matched() -> int:
        columns = reader.next_stats()["adapters"]["nic0"]["filters"]
        return int(columns["matched_frames"][columns["id"].index(filter_id)])

    wait_until(lambda: matched() > 0, what="a frame credited")
    before, after = (reader.next_stats()["adapters"]["nic0"]["default_queue"] for _ in range(2))
    refused = reader.ask("clear_filter", adapter="nic0", queue_id=0, filter_id=filter_id)
    assert refused["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"  # only who set it may clear it
    reader.ok("clear_filter", adapter="nic0", queue_id=0, filter_id=filter_id, driver="guest")
    assert reader.states("nic0")[0] == "running"
    assert after["unknown_unicast"] > before["unknown_unicast"]


def test_the_default_queue_moves_and_grows(reader: Reader) -> None:
    reader.ok("set_queue_parameters", adapter="nic1", queue_id=0, cpu=3, buffers=50)
    queue = reader.queue("nic1", 0)
    assert queue["cpu"] == 3
    wait_until(
        lambda: reader.next_stats()["adapters"]["nic1"]["queues"]["total_buffers"][0] == 50,
        what="fewer buffers",
    )
    reader.ok("set_queue_parameters", adapter="nic1", queue_id=0, cpu=0, buffers=100, driver="other")
    assert reader.queue("nic1", 0)["cpu"] == 0


def test_a_batch_that_asks_for_more_than_there_is_shares_it(reader: Reader) -> None:
    """100 buffers are left on nic1."""

    def complete(*suggested: int) -> list[tuple[str, int]]:
        ids = [
            reader.ok("allocate_queue", adapter="nic1", **ALLOCATE | {"buffers": each, "name": f"q{each}"})[
                "queue_id"
            ]
            for each in suggested
        ]
        entries = reader.ok("complete_allocation", adapter="nic1", queue_ids=ids)["queues"]
        assert [each["queue_id"] for each in entries] == ids
        for each in ids:
            reader.ok("free_queue", adapter="nic1", queue_id=each)
        return [(each["ndis_status"], each["buffers"]) for each in entries]

    good, none = "NDIS_STATUS_SUCCESS", "NDIS_STATUS_RESOURCES"
    assert complete(60, 40) == [(good, 60), (good, 40)]
    assert complete(100, 60) == [(good, 62), (good, 37)]
    assert [status for status, _ in complete(100, 1000)] == [good, none]
    assert complete(100, 1000)[0] == (good, 100)
    shared = complete(90, 90, 90)
    assert shared[:2] == [(good, 50), (good, 50)]
    assert shared[2][0] == none


def test_queues_and_filters_end_with_resources(reader: Reader) -> None:
    ids = []
    while (answer := reader.ask("allocate_queue", adapter="nic0", **ALLOCATE))["status"] == "ok":
        ids.append(answer["result"]["queue_id"])
    assert answer["ndis_status"] == "NDIS_STATUS_RESOURCES"
    assert len(reader.states("nic0")) == 9
    count = 0
    while count < 20:
        answer = reader.ask("set_filter", adapter="nic0", queue_id=ids[0], mac=f"00:15:5d:bb:00:{count:02x}")
        if answer["status"] == "error":
            break
        count += 1
    assert answer["ndis_status"] == "NDIS_STATUS_RESOURCES"
    clear_away(reader, ids[0])
    for each in ids[1:]:
        reader.ok("free_queue", adapter="nic0", queue_id=each)


def test_another_drivers_queue_is_its_own(reader: Reader) -> None:
    queue_id = reader.ok("allocate_queue", adapter="nic1", driver="guest", **ALLOCATE)["queue_id"]
    row = next(
        each for each in reader.ok("enum_queues", adapter="nic1")["queues"] if each["queue_id"] == queue_id
    )
    assert row["driver"] == "guest"
    for op, more in (
        ("free_queue", {}),
        ("set_filter", {"mac": MAC["more"]}),
        ("set_queue_parameters", {"cpu": 1}),
    ):
        answer = reader.ask(op, adapter="nic1", queue_id=queue_id, **more)
        assert answer["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    [entry] = reader.ok("complete_allocation", adapter="nic1", queue_ids=[queue_id])["queues"]
    assert entry["ndis_status"] == "NDIS_STATUS_INVALID_PARAMETER"
    reader.ok("free_queue", adapter="nic1", queue_id=queue_id, driver="guest")
