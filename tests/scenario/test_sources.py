"""A scenario is checked in the same way wherever it comes from: a file, a text, a dict, or the types."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.scenario.load import ScenarioError, default_scenario, load_scenario, loads, parse_scenario
from engine.scenario.model import (
    AdapterSpec,
    CpuSpec,
    FilterSpec,
    FlowSpec,
    HostSpec,
    MixSpec,
    PortSpec,
    QueueSpec,
    Scenario,
    TeamSpec,
    TrafficSpec,
)
from vmqtui.library.lessons import LESSONS

MAC = "00:15:5d:00:00:01"


def one_filter(vlan: Any, mac: str = MAC, **queue: Any) -> Scenario:
    rows = [QueueSpec(vm="web-01", filter=[FilterSpec(mac=mac, vlan=vlan)], **queue)]
    return Scenario(host=HostSpec(name="lab"), adapter=[AdapterSpec(queue=rows)])


def sentence_of(source: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(source)
    sentence = str(caught.value)
    assert sentence.isprintable()
    return sentence


BAD_TYPES = {
    "vlan": (
        one_filter(9999),
        '[host]\nname = "lab"\n[[adapter]]\n[[adapter.queue]]\nvm = "web-01"\n'
        f'[[adapter.queue.filter]]\nmac = "{MAC}"\nvlan = 9999',
    ),
    "cpus": (Scenario(host=HostSpec(cpus=0)), "[host]\ncpus = 0"),
    "numa": (Scenario(host=HostSpec(cpus=3, numa_nodes=2)), "[host]\ncpus = 3\nnuma_nodes = 2"),
    "clock": (Scenario(cpu=CpuSpec(clock_ghz=float("nan"))), "[cpu]\nclock_ghz = nan"),
    "no adapter": (Scenario(adapter=[]), "adapter = []"),
    "port": (
        Scenario(adapter=[AdapterSpec(port=[PortSpec(vm="", mac=MAC)])]),
        f'[[adapter]]\n[[adapter.port]]\nvm = ""\nmac = "{MAC}"',
    ),
    "team": (Scenario(team=[TeamSpec(members=["nic7"])]), '[[team]]\nmembers = ["nic7"]'),
    "mix": (
        Scenario(traffic=TrafficSpec(mix=[MixSpec(flow=[FlowSpec(kind="broadcast")])])),
        '[[traffic.mix]]\n[[traffic.mix.flow]]\nkind = "broadcast"',
    ),
    "flag": (Scenario(host=HostSpec(numa_nodes=True)), "[host]\nnuma_nodes = true"),
}


@pytest.mark.parametrize("case", BAD_TYPES)
def test_file_text_dict_and_types_are_refused_with_one_sentence(case: str, tmp_path: Path) -> None:
    scenario, text = BAD_TYPES[case]
    file = tmp_path / "lab.toml"
    file.write_text(text)
    sentence = sentence_of(scenario)
    assert sentence.startswith("scenario: ")
    assert sentence_of(tomllib.loads(text)) == sentence
    assert sentence_of(f"\n{text}\n") == sentence
    assert sentence_of(file) == sentence_of(str(file)) == sentence.replace("scenario", str(file), 1)


def test_a_vlan_that_is_none_has_the_sentence_of_the_contract() -> None:
    assert sentence_of(one_filter(9999)) == (
        "scenario: adapter[0].queue[0].filter[0].vlan:"
        ' 9999 is not a VLAN id (1..4094, "untagged", or left out)'
    )


def test_types_get_the_names_and_forms_that_a_file_gets() -> None:
    scenario = load_scenario(one_filter(10, "00-15-5D-00-00-01"))
    assert scenario.adapter[0].queue[0].name == "web-01"
    assert scenario.adapter[0].queue[0].filter[0].mac == MAC
    assert load_scenario(Scenario()).host.name


@pytest.mark.parametrize("name", LESSONS)
def test_a_scenario_that_fits_is_the_same_after_another_reading(name: str) -> None:
    scenario = LESSONS[name].scenario
    assert load_scenario(scenario) == scenario


def test_a_scenario_shares_nothing_with_what_it_was_read_from() -> None:
    given = one_filter(10)
    read = load_scenario(given)
    given.adapter[0].queue.clear()
    assert len(read.adapter[0].queue) == 1


def test_types_and_dicts_may_be_mixed_and_arrays_may_be_tuples() -> None:
    mixed: Any = {"host": HostSpec(name="lab"), "adapter": ({"queue": [QueueSpec(vm="a"), {"vm": "b"}]},)}
    read = load_scenario(mixed)
    assert [queue.name for queue in read.adapter[0].queue] == ["a", "b"]
    sizes: Any = (6, 2)
    assert load_scenario(Scenario(host=HostSpec(group_sizes=sizes))).host.group_sizes == [6, 2]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (7, "scenario: 7 is not a scenario (a path, a TOML text, a dict or a Scenario fits)"),
        (
            b"[host]",
            "scenario: binary data is not a scenario (a path, a TOML text, a dict or a Scenario fits)",
        ),
        ({"hosts": {}}, 'scenario: hosts: unknown key (did you mean "host"?)'),
        ({"host": None}, "scenario: host: nothing is not a table"),
        ({"host": AdapterSpec()}, "scenario: host: an AdapterSpec is not a table"),
        ({"adapter": HostSpec()}, "scenario: adapter: a HostSpec is not an array of tables ([[adapter]])"),
        ("no-such.toml", "no-such.toml: no such file"),
        (Path("no-such"), "no-such: no such file"),
        (
            "lab.tml",
            'scenario: "lab.tml" is neither a TOML text nor a path'
            " (a path ends in .toml, or is a pathlib.Path)",
        ),
        ("[host", "scenario: not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
    ],
)
def test_what_is_no_scenario_is_refused_in_a_sentence(source: Any, sentence: str) -> None:
    got = sentence_of(source)
    assert got.split(" (at")[0] == sentence.split(" (at")[0]


def test_nothing_is_the_default_scenario() -> None:
    assert load_scenario(None) == default_scenario()


def test_a_text_is_read_without_a_file() -> None:
    text = '[host]\nname = "lab"'
    assert parse_scenario(text) == load_scenario(text) == loads(text, "x")


def test_the_name_stands_for_the_file() -> None:
    with pytest.raises(ScenarioError, match=r"^setup of test_7: host\.cpus: 0 is not"):
        parse_scenario(Scenario(host=HostSpec(cpus=0)), "setup of test_7")
