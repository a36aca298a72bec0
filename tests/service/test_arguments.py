"""A bad argument of an engine, a replay or a plan is refused in a sentence, before anything starts."""

import math
from pathlib import Path
from typing import Any

import pytest

from engine.dataplane import memory
from engine.scenario.load import ScenarioError
from engine.scenario.model import AdapterSpec, HostSpec, QueueSpec, Scenario
from engine.service.machine import Machine
from engine.service.replay import plan_capture, replay
from engine.traffic.plan import Hardware
from vmqtui import Engine


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval_s": 0}, "interval_s: 0 is not a number in 0.001..3600"),
        ({"interval_s": -1.0}, "interval_s: -1.0 is not a number in 0.001..3600"),
        ({"interval_s": math.nan}, "interval_s: nan is not a number in 0.001..3600"),
        ({"interval_s": math.inf}, "interval_s: inf is not a number in 0.001..3600"),
        ({"interval_s": 10**400}, f"interval_s: 1{'0' * 79}… is not a number in 0.001..3600"),
        ({"interval_s": "1"}, 'interval_s: "1" is not a number in 0.001..3600'),
        ({"interval_s": True}, "interval_s: true is not a number in 0.001..3600"),
        ({"worker_deadline_s": 0}, "worker_deadline_s: 0 is not a number in 0.05..3600"),
        ({"announce": "yes"}, 'announce: "yes" is not one of "no", "found", "named"'),
        ({"viewers": "view-*"}, 'viewers: "view-*" is not a list of client ids, or patterns of some'),
        ({"viewers": [1]}, "viewers: an array is not a list of client ids, or patterns of some"),
        ({"capture": 7}, "capture: 7 is not a capture (a path fits)"),
        ({"capture": "a", "interface": "b"}, "interface: the engine has a capture, and one of both fits"),
        ({"loop": True}, "loop: there is no capture to repeat (False fits)"),
        ({"promiscuous": True}, "promiscuous: there is no interface to read from (False fits)"),
        ({"adapter": "nic0"}, "adapter: there is no capture and no interface to feed it (None fits)"),
        ({"interface": 0}, "interface: 0 is not an interface's name"),
        ({"adapter": 0}, "adapter: 0 is not an adapter's name"),
        ({"broker": 1883}, "broker: 1883 is not a broker's URL"),
        ({"listen": "127.0.0.1"}, 'listen: "127.0.0.1" is not a Listen'),
        ({"progress": 7}, "progress: 7 is not a function"),
        ({"thresholds": {}}, "thresholds: a table is not AdviceThresholds"),
    ],
)
def test_bad_argument_of_an_engine_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^\w+: ") as caught:
        Engine(**options)
    assert str(caught.value) == sentence


def test_engine_refuses_a_scenario_made_in_python_as_it_refuses_a_file() -> None:
    with pytest.raises(ScenarioError, match=r"^scenario: host\.cpus: 0 is not a whole number in 1\.\.256$"):
        Engine(Scenario(host=HostSpec(cpus=0)))
    with pytest.raises(ScenarioError, match=r"^scenario: host\.cpus: 0 is not a whole number in 1\.\.256$"):
        Engine({"host": {"cpus": 0}})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("x.pcap", Scenario(host=HostSpec(cpus=0))),
            "scenario: host.cpus: 0 is not a whole number in 1..256",
        ),
        ((None, ""), "capture: nothing is not a capture (a path fits)"),
        (("x.pcap", "", 7), "adapter: 7 is not an adapter's name"),
    ],
)
def test_bad_argument_of_a_replay_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises((ScenarioError, ValueError)) as caught:
        replay(*arguments)
    assert str(caught.value) == sentence


def test_bad_pace_of_a_replay_is_refused() -> None:
    pace: Any = "fast"
    with pytest.raises(ValueError, match=r'^pace: "fast" is not one of "max", "real"$'):
        replay("x.pcap", "", pace=pace)


@pytest.mark.parametrize(
    ("hardware", "sentence"),
    [
        ({"cpus": 0}, "hardware.cpus: 0 is not a whole number in 1..256"),
        ({"link_gbps": math.nan}, "hardware.link_gbps: nan is not a number in 0.001..10000"),
        ({"max_queues": -1}, "hardware.max_queues: -1 is not a whole number in 0..4096"),
        ({"max_buffers": 0}, "hardware.max_buffers: 0 is not a whole number in 1..268500992"),
    ],
)
def test_impossible_hardware_of_a_plan_is_refused(hardware: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^hardware\.") as caught:
        plan_capture(Path("x.pcap"), Hardware(**hardware))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(host=HostSpec(cpus=1), adapter=[AdapterSpec(default_queue_cpu=3)]),
        Scenario(host=HostSpec(cpus=1), adapter=[AdapterSpec(queue=[QueueSpec(vm="a", cpu=5)])]),
    ],
)
def test_machine_that_fails_to_start_leaves_no_shared_memory(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    made: list[str] = []
    init, close = memory.Block.__init__, memory.Block.close

    def on_init(block: memory.Block, *arguments: Any) -> None:
        init(block, *arguments)
        made.append(block.name)

    def on_close(block: memory.Block) -> None:
        closed.append(block.name)
        close(block)

    monkeypatch.setattr(memory.Block, "__init__", on_init)
    monkeypatch.setattr(memory.Block, "close", on_close)
    with pytest.raises((IndexError, ValueError, ZeroDivisionError)):
        Machine(scenario)
    assert closed == made
