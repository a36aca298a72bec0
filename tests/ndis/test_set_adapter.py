"""``set_adapter``: what a running adapter lets itself be changed."""

from typing import Any

import msgspec
import pytest

from engine.ndis.effects import SetLink
from engine.scenario.model import CHANGEABLE, AdapterSpec
from engine.telemetry.snapshot import config_of
from tests.ndis.lab import MAC, OTHER_MAC, lab, snapshot


def test_a_link_of_another_speed_reaches_the_source_and_is_shown() -> None:
    host = lab()

    outcome = host.accept("set_adapter", link_gbps=25)

    assert outcome.effects == (SetLink(0, 25.0),)
    assert outcome.message == 'adapter "nic0" has a link of 25 Gbit/s'
    assert host.accept("query_capabilities").result["link_gbps"] == 25.0
    assert config_of(host.host).adapters[0].link_gbps == 25.0
    assert config_of(host.host).revision == 2


def test_limits_can_be_lowered_to_what_is_in_use_and_raised_again_to_the_start() -> None:
    host = lab(max_queues=6, max_filters=8)
    first, second = host.running(), host.running(mac=OTHER_MAC)

    assert host.accept("set_adapter", max_queues=2, max_filters=2).effects == ()

    shown = host.accept("query_capabilities").result
    assert (shown["max_queues"], shown["max_filters"]) == (2, 2)
    assert host.refuse("allocate_queue", name="a", vm="b", cpu=0, buffers=1)[0] == "RESOURCES"
    assert host.refuse("set_filter", queue_id=first, mac=MAC, vlan=11)[0] == "RESOURCES"
    host.accept("set_adapter", max_queues=6, max_filters=8)
    assert host.allocate() == 3
    host.accept("set_filter", queue_id=second, mac=MAC, vlan=11)


def test_a_freeing_queue_is_in_use() -> None:
    host = lab()
    queue_id = host.paused()
    host.plane.take(queue_id, 1)
    assert host.accept("free_queue", queue_id=queue_id).ndis_status == "NDIS_STATUS_PENDING"

    assert host.refuse("set_adapter", max_queues=0)[0] == "INVALID_PARAMETER"

    host.plane.give_back(queue_id, 1)
    host.returned(queue_id)
    host.accept("set_adapter", max_queues=0)


def test_lower_limits_leave_room_for_the_ports_and_vms_there_are() -> None:
    host = lab()
    adapter = host.host.adapters[0]
    before = adapter.max_ports, adapter.max_vms, adapter.max_steering_rows

    host.accept("set_adapter", max_queues=0, max_filters=0)

    assert (adapter.max_ports, adapter.max_vms, adapter.max_steering_rows) == before


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"max_queues": 0}, "max_queues: 0 is less than the 1 in use (1..6 fits)"),
        ({"max_queues": 7}, "max_queues: 7 is more than the engine was started with (1..6 fits)"),
        ({"max_filters": 0}, "max_filters: 0 is less than the 1 in use (1..8 fits)"),
        ({"max_filters": 9}, "max_filters: 9 is more than the engine was started with (1..8 fits)"),
        ({"max_filters": 70_000}, "max_filters: 70000 is not a whole number in 0..65536"),
        ({"link_gbps": 0}, "link_gbps: 0 is not a number in 0.001..10000"),
        ({"link_gbps": None}, "link_gbps: nothing is not a number in 0.001..10000"),
        ({"vlan_filtering": 0}, "vlan_filtering: 0 is not true or false"),
        (
            {"vlan_filtering": False},
            f"vlan_filtering: false does not fit while filter 1 ({MAC} VLAN 10) of queue 1 is set"
            " (true fits, or clear_filter first)",
        ),
        (
            {"link_gpbs": 1},
            'params: "link_gpbs" is not a parameter of set_adapter; the nearest is "link_gbps"',
        ),
        (
            {},
            f"params: nothing to change ({', '.join(CHANGEABLE)} fit)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(params: dict[str, Any], sentence: str) -> None:
    host = lab()
    host.running()

    assert host.refuse("set_adapter", **params) == ("INVALID_PARAMETER", sentence)


@pytest.mark.parametrize(
    "key",
    sorted({field.name for field in msgspec.structs.fields(AdapterSpec)} - set(CHANGEABLE)),
)
def test_the_other_keys_of_an_adapter_are_fixed(key: str) -> None:
    status, message = lab().refuse("set_adapter", **{key: 1})

    assert status == "NOT_SUPPORTED"
    assert message.startswith(f"{key}: is fixed while the engine runs")


def test_vlan_filtering_goes_off_when_no_filter_has_a_number_and_on_again() -> None:
    host = lab()
    queue_id = host.running(vlan="untagged")
    numbered = host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=10).result["filter_id"]
    host.accept("clear_filter", queue_id=queue_id, filter_id=numbered)

    host.accept("set_adapter", vlan_filtering=False)

    assert config_of(host.host).adapters[0].vlan_filtering is False
    assert host.refuse("set_filter", queue_id=queue_id, mac=MAC, vlan=10)[0] == "INVALID_PARAMETER"
    host.accept("set_adapter", vlan_filtering=True)
    host.accept("set_filter", queue_id=queue_id, mac=MAC, vlan=10)


def test_of_several_keys_one_that_does_not_fit_refuses_all() -> None:
    host = lab()

    host.refuse("set_adapter", link_gbps=1, max_queues=7)

    assert host.host.adapters[0].spec.link_gbps == 10.0


def test_setting_what_is_there_changes_nothing() -> None:
    outcome = lab().accept("set_adapter", link_gbps=10, max_queues=6)

    assert (outcome.changed, outcome.effects) == (False, ())


def test_a_what_if_changes_nothing() -> None:
    host = lab()
    before = snapshot(host.host)

    outcome = host.send("set_adapter", link_gbps=1, max_queues=0, what_if=True)

    assert outcome.message == 'what if: adapter "nic0" has a link of 1 Gbit/s and has 0 queues'
    assert (outcome.effects, outcome.changed) == ((), False)
    assert snapshot(host.host) == before
