"""``query_traffic`` and ``set_traffic``: the host's own traffic, by the scenario file's rules."""

from typing import Any

import pytest

from engine.ndis.effects import SetTraffic
from engine.ndis.host import Host
from engine.scenario.load import ScenarioError, loads
from engine.scenario.model import AdapterSpec, FlowSpec, HostSpec, MixSpec, Scenario, TrafficSpec
from engine.telemetry.snapshot import config_of
from tests.ndis.lab import MAC, Buffers, Lab, lab, start

FLOW = {"mac": "00-15-5D-00-00-01"}
MIX = {"rate_pps": 1000, "flow": [FLOW]}
FILLED_FLOW = {"kind": "unicast", "mac": MAC, "weight": 1.0, "frame_bytes": "imix"}
FILLED = {
    "adapter": "nic0",
    "rate_pps": 1000.0,
    "pattern": "steady",
    "burst_frames": 32,
    "flow": [FILLED_FLOW],
}
READ = TrafficSpec(mix=[MixSpec(adapter="nic0", rate_pps=1000.0, flow=[FlowSpec(mac=MAC)])])


def traffic_of(host: Lab) -> Any:
    return host.accept("query_traffic").result


def test_a_host_without_traffic_has_none() -> None:
    assert traffic_of(lab()) == {"source": "none", "traffic": None}


def test_traffic_is_shown_with_its_defaults_and_without_what_has_none() -> None:
    host = start(Scenario(adapter=[AdapterSpec()], traffic=READ))

    assert traffic_of(host) == {"source": "synthetic", "traffic": {"seed": 1, "mix": [FILLED]}}


def test_what_is_shown_can_be_set_and_changes_nothing() -> None:
    host = start(Scenario(adapter=[AdapterSpec()], traffic=READ))

    outcome = host.accept("set_traffic", **traffic_of(host)["traffic"])

    assert (outcome.changed, outcome.effects) == (False, ())


def test_traffic_that_is_set_begins_is_shown_and_is_a_new_configuration() -> None:
    host = lab()
    before = config_of(host.host)

    outcome = host.accept("set_traffic", mix=[MIX])

    assert outcome.effects == (SetTraffic(READ),)
    assert traffic_of(host) == {"source": "synthetic", "traffic": {"seed": 1, "mix": [FILLED]}}
    after = config_of(host.host)
    assert (before.traffic, after.traffic) == ("none", "synthetic")
    assert after.revision == before.revision + 1


def test_each_key_replaces_what_was_there_and_leaves_the_other() -> None:
    host = lab()
    host.accept("set_traffic", seed=7, mix=[MIX, MIX])

    host.accept("set_traffic", mix=[{**MIX, "rate_pps": 5}])
    assert traffic_of(host)["traffic"] == {"seed": 7, "mix": [{**FILLED, "rate_pps": 5.0}]}

    host.accept("set_traffic", seed=8)
    assert traffic_of(host)["traffic"] == {"seed": 8, "mix": [{**FILLED, "rate_pps": 5.0}]}


def test_an_empty_mix_ends_the_frames() -> None:
    host = lab()
    host.accept("set_traffic", mix=[MIX])

    outcome = host.accept("set_traffic", mix=[])

    assert outcome.effects == (SetTraffic(TrafficSpec()),)
    assert traffic_of(host) == {"source": "none", "traffic": {"seed": 1, "mix": []}}
    assert config_of(host.host).traffic == "none"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"seed": -1}, "seed: -1 is not a whole number in 0..9223372036854775807"),
    ({"seed": None}, "seed: nothing is not a whole number in 0..9223372036854775807"),
    ({"mix": {"rate_pps": 1}}, "mix: a table is not an array of tables ([[traffic.mix]])"),
    ({"mix": [7]}, "mix[0]: 7 is not a table"),
    ({"mix": [MIX, {**MIX, "rate_pps": 0}]}, "mix[1].rate_pps: 0 is not a number in 0.001..1000000000"),
    (
        {"mix": [{**MIX, "flow": [FLOW, {**FLOW, "weight": 0}]}]},
        "mix[0].flow[1].weight: 0 is not a number in 1e-06..1000000",
    ),
    (
        {"mix": [{**MIX, "flow": [{**FLOW, "wieght": 2}]}]},
        'mix[0].flow[0].wieght: unknown key (did you mean "weight"?)',
    ),
    (
        {"mix": [{**MIX, "rate_gbps": 1}]},
        "mix[0]: both of rate_pps and rate_gbps given (exactly one fits)",
    ),
    ({"mix": [{"rate_pps": 1}]}, "mix[0].flow: missing (a mix needs at least one flow)"),
    (
        {"mix": [{**MIX, "flow": [{}]}]},
        "mix[0].flow[0].mac: missing (a unicast flow needs its destination MAC)",
    ),
    (
        {"mix": [{**MIX, "adapter": "nic9"}]},
        'mix[0].adapter: "nic9" is not an adapter of this scenario ("nic0")',
    ),
    ({"sed": 1}, 'params: "sed" is not a parameter of set_traffic; the nearest is "seed"'),
    ({}, "params: nothing to change (seed and mix fit)"),
]


@pytest.mark.parametrize(("params", "sentence"), BAD)
def test_traffic_that_does_not_fit_is_refused_with_the_sentence_of_a_scenario_file(
    params: dict[str, Any], sentence: str
) -> None:
    assert lab().refuse("set_traffic", **params) == ("INVALID_PARAMETER", sentence)


def test_a_key_that_is_no_string_is_an_unknown_one() -> None:
    status, message = lab().refuse("set_traffic", mix=[{**MIX, 5: 1}])

    assert status == "INVALID_PARAMETER"
    assert message.startswith("mix[0].5: unknown key")


def test_the_sentence_is_the_one_a_file_gets() -> None:
    flow = '{ mac = "00:15:5d:00:00:01", frame_bytes = 59 }'
    with pytest.raises(ScenarioError) as told:
        loads(f"[[traffic.mix]]\nrate_pps = 1\nflow = [{flow}]", "file")

    _, message = lab().refuse("set_traffic", mix=[{"rate_pps": 1, "flow": [{**FLOW, "frame_bytes": 59}]}])

    assert str(told.value) == f"file: traffic.{message}"


def test_mixes_of_a_host_with_several_adapters_name_theirs_and_the_request_need_not() -> None:
    host = start(Scenario(adapter=[AdapterSpec(name="a"), AdapterSpec(name="b")]))

    assert host.refuse("set_traffic", mix=[MIX]) == (
        "INVALID_PARAMETER",
        'mix[0].adapter: missing, and the host has several adapters ("a", "b")',
    )
    host.accept("set_traffic", mix=[{**MIX, "adapter": "b"}])
    assert traffic_of(host)["traffic"]["mix"][0]["adapter"] == "b"


def test_a_host_that_plays_a_capture_shows_no_traffic_and_takes_none() -> None:
    scenario = Scenario(host=HostSpec(name="hv"), adapter=[AdapterSpec()], traffic=READ)
    host = Lab(Host(scenario, "capture x.pcap"), Buffers())
    host.plane.carry_out(host.host.start())

    assert traffic_of(host) == {"source": "capture", "traffic": None}
    assert config_of(host.host).traffic == "capture x.pcap"
    status, message = host.refuse("set_traffic", mix=[])
    assert status == "NOT_SUPPORTED"
    assert "capture" in message


def test_a_what_if_says_what_would_come_and_changes_nothing() -> None:
    host = lab()

    outcome = host.send("set_traffic", mix=[MIX], what_if=True)

    assert outcome.message == "what if: the traffic is 1 mix of 1 flow, seed 1, from the next round on"
    assert outcome.result["ndis_status"] == "NDIS_STATUS_SUCCESS"
    assert outcome.result["next_state"] is None
    assert (outcome.effects, outcome.changed) == ((), False)
    assert traffic_of(host) == {"source": "none", "traffic": None}
    refused = host.send("set_traffic", mix=7, what_if=True)
    assert (refused.status, refused.result["ndis_status"]) == ("error", "NDIS_STATUS_INVALID_PARAMETER")
