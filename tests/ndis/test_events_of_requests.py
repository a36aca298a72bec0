"""Each accepted request that changes something leaves its events; any other request leaves none."""

from typing import Any

import pytest

from tests.ndis.lab import MAC, OTHER_MAC, Lab, lab


def events_of(host: Lab, op: str, **params: Any) -> list[tuple[str, int | None, str | None, str]]:
    foreseen = host.accept(op, **params, what_if=True)
    assert foreseen.indications == ()
    outcome = host.accept(op, **params)
    assert outcome.changed == bool(outcome.indications)
    return [(one.event, one.queue_id, one.state, one.cause) for one in outcome.indications]


def test_a_move_is_an_event_from_where_to_where_and_by_which_driver() -> None:
    host = lab()
    host.running(driver="hv")
    moved = events_of(host, "set_queue_parameters", queue_id=1, cpu=3, driver="hv")
    assert moved == [("queue_moved", 1, "running", "moved by hv from 0:1 to 0:3")]
    assert events_of(host, "set_queue_parameters", queue_id=1, cpu=3, driver="hv") == []
    assert events_of(host, "set_queue_parameters", queue_id=0, cpu=2) == [
        ("queue_moved", 0, "running", "moved by vsp from 0:0 to 0:2")
    ]


def test_a_new_home_without_a_move_is_an_event() -> None:
    host = lab()
    host.running()
    host.accept("set_queue_parameters", queue_id=1, cpu=3, keep_home=True)
    at_home = events_of(host, "set_queue_parameters", queue_id=1, cpu=3)
    assert at_home == [("queue_changed", 1, "running", "changed by vsp: home 0:1 → 0:3")]


def test_other_buffers_and_another_name_are_one_event_beside_the_move() -> None:
    host = lab(buffers=4096)
    host.running(buffers=512)
    changed = 'changed by vsp: buffers 512 → 1,024, name "web" → "shop"'
    assert events_of(host, "set_queue_parameters", queue_id=1, cpu=2, buffers=1024, name="shop") == [
        ("queue_moved", 1, "running", "moved by vsp from 0:1 to 0:2"),
        ("queue_changed", 1, "running", changed),
    ]
    assert events_of(host, "set_queue_parameters", queue_id=1, cpu=2, buffers=1024, name="shop") == []


def test_a_queue_without_buffers_of_its_own_suggests_others() -> None:
    host = lab()
    host.allocate(buffers=8)
    suggested = events_of(host, "set_queue_parameters", queue_id=1, buffers=6)
    assert suggested == [("queue_changed", 1, "allocated", "changed by vsp: suggested buffers 8 → 6")]


def test_a_filter_is_an_event_of_its_own_where_no_state_changes() -> None:
    host = lab()
    host.running()
    second, first = f"({OTHER_MAC} VLAN 20)", f"({MAC} VLAN 10)"
    assert events_of(host, "set_filter", queue_id=1, mac=OTHER_MAC, vlan=20) == [
        ("filter_changed", 1, "running", f"filter 2 set by vsp {second}")
    ]
    assert events_of(host, "clear_filter", queue_id=1, filter_id=2) == [
        ("filter_changed", 1, "running", f"filter 2 cleared by vsp {second}")
    ]
    assert events_of(host, "clear_filter", queue_id=1, filter_id=1) == [
        ("queue_state", 1, "paused", f"last filter cleared by vsp {first}")
    ]
    assert events_of(host, "set_filter", queue_id=1, mac=MAC, vlan=10) == [
        ("queue_state", 1, "running", f"filter 1 set by vsp {first}")
    ]


def test_a_filter_of_the_default_queue_is_an_event() -> None:
    host = lab()
    of_it = f"({MAC} any VLAN)"
    assert events_of(host, "set_filter", queue_id=0, mac=MAC) == [
        ("filter_changed", 0, "running", f"filter 1 set by vsp {of_it}")
    ]
    assert events_of(host, "clear_filter", queue_id=0, filter_id=1) == [
        ("filter_changed", 0, "running", f"filter 1 cleared by vsp {of_it}")
    ]


def test_settings_of_an_adapter_are_one_event() -> None:
    host = lab()
    settings = {"link_gbps": 25, "vlan_filtering": False, "base_processor": "0:1"}
    changed = 'changed by vsp: link_gbps 10 → 25, vlan_filtering true → false, base_processor nothing → "0:1"'
    assert events_of(host, "set_adapter", **settings) == [("adapter_changed", None, None, changed)]
    assert events_of(host, "set_adapter", **settings) == []
    host.allocate()
    events = events_of(host, "set_adapter", vmq=False)
    assert events[0] == ("adapter_changed", None, None, "changed by vsp: vmq true → false")
    assert [one[0] for one in events[1:]] == ["queue_state", "queue_state", "queue_freed"]


def test_settings_of_the_balancer_are_one_event_of_the_host() -> None:
    host = lab()
    outcome = host.accept("set_balancer", mode="dynamic", scale_in=0.25)
    (event,) = outcome.indications
    assert (event.event, event.adapter, event.queue_id) == ("balancer_changed", None, None)
    assert event.cause == 'changed by vsp: mode "off" → "dynamic", scale_in 0.4 → 0.25'
    assert events_of(host, "set_balancer", mode="dynamic") == []


MIX = {"rate_pps": 1_500.0, "flow": [{"mac": MAC}, {"mac": OTHER_MAC}]}


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({"mix": [MIX]}, "no mix → 1 mix of 2 flows, 1,500 pkt/s"),
        ({"mix": [MIX | {"rate_pps": 10_000.0}]}, None),
        ({"seed": 7}, "seed 1 → 7"),
    ],
)
def test_other_traffic_is_one_event_of_the_host(given: dict[str, Any], changes: str | None) -> None:
    host = lab()
    if changes is None:
        host.accept("set_traffic", mix=[MIX])
        changes = "1 mix of 2 flows, 1,500 pkt/s → 1 mix of 2 flows, 10,000 pkt/s"
    assert events_of(host, "set_traffic", **given) == [
        ("traffic_changed", None, None, f"changed by vsp: {changes}")
    ]
    assert events_of(host, "set_traffic", **given) == []


def test_flows_that_differ_in_no_number_are_told_too() -> None:
    host = lab()
    host.accept("set_traffic", mix=[MIX])
    ((_, _, _, cause),) = events_of(host, "set_traffic", mix=[MIX | {"pattern": "random"}])
    assert cause == "changed by vsp: 1 mix of 2 flows, 1,500 pkt/s, of other flows or patterns"
