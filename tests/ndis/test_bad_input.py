"""Every row of NDIS.md's table of bad input, each with the field, the value and what would fit."""

from typing import Any

import pytest

from engine.scenario.model import AdapterSpec, Scenario
from tests.ndis.lab import MAC, OTHER_MAC, lab, start

ALLOCATE = {"name": "web", "vm": "web", "cpu": 0, "buffers": 4}

BAD_PARAMETERS: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
    # op, params, status, field, what the message says
    ("free_queue", {"queue_id": 7}, "INVALID_PARAMETER", "queue_id", ["7", "0..1"]),
    ("free_queue", {"queue_id": 0}, "INVALID_PARAMETER", "queue_id", ["default queue"]),
    ("set_queue_parameters", {"queue_id": 0, "name": "x"}, "INVALID_PARAMETER", "name", ['"x"']),
    ("set_queue_parameters", {"queue_id": 1}, "INVALID_PARAMETER", "params", ["cpu", "buffers", "name"]),
    ("set_queue_parameters", {"queue_id": 1, "vm": "x"}, "INVALID_PARAMETER", "params", ['"vm"']),
    ("set_queue_parameters", {"queue_id": 1, "cpu": None}, "INVALID_PARAMETER", "cpu", ["nothing"]),
    ("set_queue_parameters", {"queue_id": 1, "buffers": 10_000}, "RESOURCES", "buffers", ["10000", "1..90"]),
    ("allocate_queue", {**ALLOCATE, "cpu": 4}, "INVALID_PARAMETER", "cpu", ["4", "0..3"]),
    ("allocate_queue", {**ALLOCATE, "cpu": -1}, "INVALID_PARAMETER", "cpu", ["-1", "0..3"]),
    ("allocate_queue", {**ALLOCATE, "cpu": True}, "INVALID_PARAMETER", "cpu", ["true", "whole number"]),
    ("allocate_queue", {**ALLOCATE, "cpu": 1.0}, "INVALID_PARAMETER", "cpu", ["1.0", "whole number"]),
    ("allocate_queue", {**ALLOCATE, "buffers": 0}, "INVALID_PARAMETER", "buffers", ["0", "1..65536"]),
    ("allocate_queue", {**ALLOCATE, "buffers": 65537}, "INVALID_PARAMETER", "buffers", ["65537", "1..65536"]),
    ("allocate_queue", {**ALLOCATE, "buffers": "8"}, "INVALID_PARAMETER", "buffers", ['"8"']),
    ("allocate_queue", {**ALLOCATE, "lookahead_bytes": 64}, "INVALID_PARAMETER", "lookahead_bytes", ["64"]),
    ("allocate_queue", {**ALLOCATE, "lookahead_bytes": -1}, "INVALID_PARAMETER", "lookahead_bytes", ["-1"]),
    ("allocate_queue", {**ALLOCATE, "bufers": 3}, "INVALID_PARAMETER", "params", ['"bufers"', '"buffers"']),
    ("allocate_queue", {**ALLOCATE, "name": "n" * 257}, "INVALID_LENGTH", "name", ["257", "1..256"]),
    ("allocate_queue", {**ALLOCATE, "vm": "n" * 257}, "INVALID_LENGTH", "vm", ["257", "1..256"]),
    ("allocate_queue", {**ALLOCATE, "name": 7}, "INVALID_PARAMETER", "name", ["7"]),
    ("allocate_queue", {**ALLOCATE, "name": ""}, "INVALID_PARAMETER", "name", ["1..256"]),
    ("allocate_queue", {**ALLOCATE, "driver": "d" * 257}, "INVALID_LENGTH", "driver", ["1..256"]),
    ("allocate_queue", {**ALLOCATE, "adapter": "nic1"}, "INVALID_PARAMETER", "adapter", ['"nic1"', '"nic0"']),
    ("allocate_queue", {**ALLOCATE, "what_if": 1}, "INVALID_PARAMETER", "what_if", ["true or false"]),
    ("set_filter", {"queue_id": 1, "mac": MAC, "vlan": 0}, "INVALID_PARAMETER", "vlan", ["0", "1..4094"]),
    (
        "set_filter",
        {"queue_id": 1, "mac": MAC, "vlan": 4095},
        "INVALID_PARAMETER",
        "vlan",
        ["4095", "1..4094"],
    ),
    ("set_filter", {"queue_id": 1, "mac": MAC, "vlan": True}, "INVALID_PARAMETER", "vlan", ["1..4094"]),
    ("set_filter", {"queue_id": 1, "mac": MAC, "vlan": "tagged"}, "INVALID_PARAMETER", "vlan", ['"tagged"']),
    ("set_filter", {"queue_id": 1, "mac": "00:00:00:00:00:00"}, "INVALID_PARAMETER", "mac", ["zero"]),
    ("set_filter", {"queue_id": 1, "mac": "01:00:5e:00:00:01"}, "INVALID_PARAMETER", "mac", ["group"]),
    ("set_filter", {"queue_id": 1, "mac": "00:15:5d-00:00:01"}, "INVALID_PARAMETER", "mac", ["00:15:5d-00"]),
    ("set_filter", {"queue_id": 1, "mac": 17}, "INVALID_PARAMETER", "mac", ["17"]),
    ("set_filter", {"queue_id": 1}, "INVALID_PARAMETER", "mac", ["missing"]),
    ("set_filter", {"queue_id": "1", "mac": MAC}, "INVALID_PARAMETER", "queue_id", ['"1"']),
    ("complete_allocation", {"queue_ids": 1}, "INVALID_PARAMETER", "queue_ids", ["1", "array"]),
    ("complete_allocation", {"queue_ids": [True]}, "INVALID_PARAMETER", "queue_ids", ["array"]),
    ("query_filter", {"filter_id": 9}, "INVALID_PARAMETER", "filter_id", ["9"]),
    ("clear_filter", {"queue_id": 1, "filter_id": 9}, "FILE_NOT_FOUND", "filter_id", ["9", "queue 1"]),
    ("clear_filter", {"queue_id": 9, "filter_id": 9}, "INVALID_PARAMETER", "queue_id", ["9"]),
    ("allocate_queues", {}, "NOT_SUPPORTED", "op", ['"allocate_queues"', '"allocate_queue"']),
    ("ping", {"pong": 1}, "INVALID_PARAMETER", "params", ['"pong"']),
]


@pytest.mark.parametrize(("op", "params", "status", "field", "words"), BAD_PARAMETERS)
def test_bad_input_is_refused_with_its_status_and_a_sentence(
    op: str, params: dict[str, Any], status: str, field: str, words: list[str]
) -> None:
    host = lab()
    host.paused()

    answered, message = host.refuse(op, **params)

    assert answered == status
    assert message.startswith(f"{field}: ")
    for word in words:
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", sorted(ALLOCATE))
def test_allocate_queue_needs_every_parameter_without_a_default(missing: str) -> None:
    params = {key: value for key, value in ALLOCATE.items() if key != missing}

    assert lab().refuse("allocate_queue", **params)[0] == "INVALID_PARAMETER"


@pytest.mark.parametrize("params", [None, 7, "queue_id", [1], {1: 2}, {b"queue_id": 1}])
def test_params_that_are_no_map_of_strings_are_refused(params: Any) -> None:
    host = lab()

    outcome = host.host.apply("query_queue", params, host.plane)

    assert outcome.ndis_status == "NDIS_STATUS_INVALID_PARAMETER"


def test_a_vm_may_be_left_open_but_must_be_said_to_be() -> None:
    assert lab().allocate(vm=None) == 1


def test_a_name_of_256_characters_fits() -> None:
    host = lab()

    host.accept("allocate_queue", **{**ALLOCATE, "name": "n" * 256})

    assert host.accept("query_queue", queue_id=1).result["name"] == "n" * 256


def test_the_same_mac_and_vlan_test_fits_an_adapter_once_whatever_the_queue() -> None:
    host = lab()
    first, second = host.running(), host.paused()
    host.accept("set_filter", queue_id=0, mac=OTHER_MAC)

    for queue_id, mac, vlan in ((first, MAC, 10), (second, MAC, 10), (0, MAC, 10), (second, OTHER_MAC, None)):
        status, message = host.refuse("set_filter", queue_id=queue_id, mac=mac, vlan=vlan)
        assert (status, mac in message) == ("INVALID_PARAMETER", True)

    host.accept("set_filter", queue_id=second, mac=MAC, vlan=11)
    host.accept("set_filter", queue_id=second, mac=MAC)
    host.accept("set_filter", queue_id=second, mac=MAC, vlan="untagged")


def test_more_queues_than_the_adapter_has_are_refused_until_one_is_gone() -> None:
    host = lab(max_queues=2)
    host.paused()
    second = host.paused()
    host.plane.take(second, 1)

    assert host.refuse("allocate_queue", **ALLOCATE)[0] == "RESOURCES"
    host.accept("free_queue", queue_id=second)  # freeing: its id is still in use
    assert host.refuse("allocate_queue", **ALLOCATE)[0] == "RESOURCES"
    host.plane.give_back(second, 1)
    host.returned(second)
    assert host.allocate() == second


def test_more_filters_than_the_adapter_has_are_refused_until_one_is_cleared() -> None:
    host = lab(max_filters=2)
    queue_id = host.running()
    host.accept("set_filter", queue_id=0, mac=MAC, vlan=11)

    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC, vlan=12)[0] == "RESOURCES"
    host.accept("clear_filter", queue_id=0, filter_id=2)
    assert host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=12).result == {"filter_id": 2}


def test_ports_that_stay_behind_are_bounded() -> None:
    host = lab()
    queue_id = host.paused()
    adapter = host.host.adapters[0]
    for number in range(adapter.max_ports):
        adapter.add_port("web", number)

    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC)[0] == "RESOURCES"
    host.accept("set_filter", queue_id=0, mac=MAC)  # makes no port


def test_vms_that_stay_behind_are_bounded() -> None:
    host = lab()
    adapter = host.host.adapters[0]
    for number in range(adapter.max_vms):
        adapter.add_port(f"vm{number}", 1)

    assert host.refuse("allocate_queue", **{**ALLOCATE, "vm": "one too many"})[0] == "RESOURCES"
    assert host.allocate(vm="vm3") == 1


def test_ndis_620_refuses_a_filter_without_a_vlan_test_on_queue_0_too() -> None:
    host = lab(ndis_version="6.20")
    queue_id = host.allocate()

    for target in (queue_id, 0):
        status, message = host.refuse("set_filter", queue_id=target, mac=MAC)
        assert (status, message.startswith("vlan: ")) == ("INVALID_PARAMETER", True)
        host.accept("set_filter", queue_id=target, mac=MAC, vlan=10 + target)
    host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan="untagged")


def test_a_vlan_number_needs_vlan_filtering_and_untagged_does_not() -> None:
    host = lab(vlan_filtering=False)
    queue_id = host.allocate()

    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC, vlan=10)[0] == "INVALID_PARAMETER"
    host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan="untagged")
    host.accept("set_filter", queue_id=queue_id, mac=MAC)


def test_ndis_620_uses_the_smallest_lookahead_and_refuses_more_than_the_largest() -> None:
    host = lab(ndis_version="6.20", min_lookahead_bytes=64, max_lookahead_bytes=128)

    status, message = host.refuse("allocate_queue", **ALLOCATE, lookahead_bytes=129)
    assert (status, "129" in message, "0..128" in message) == ("NOT_SUPPORTED", True, True)
    assert host.refuse("allocate_queue", **ALLOCATE, lookahead_bytes=-1)[0] == "INVALID_PARAMETER"

    used = [
        host.accept("query_queue", queue_id=host.allocate(lookahead_bytes=asked)).result["lookahead_bytes"]
        for asked in (0, 1, 64, 100, 128)
    ]
    assert used == [0, 64, 64, 100, 128]


def test_with_several_adapters_a_request_must_name_one_but_ping_need_not() -> None:
    host = start(Scenario(adapter=[AdapterSpec(name="nic0"), AdapterSpec(name="nic1")]))

    status, message = host.refuse("enum_queues")
    assert (status, message) == ("INVALID_PARAMETER", 'adapter: missing ("nic0", "nic1" fits)')
    host.accept("enum_queues", adapter="nic1")
    host.accept("ping")
    assert host.refuse("ping", adapter="nic2")[0] == "INVALID_PARAMETER"


def test_a_stopping_engine_accepts_no_request() -> None:
    host = lab()
    host.host.stop()

    assert host.refuse("ping")[0] == "NOT_ACCEPTED"
