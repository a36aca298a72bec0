"""Settings to vary: what may be typed, what it changes, and what is said of the rest."""

import tomllib
from typing import Any

import pytest

from engine.scenario.load import ScenarioError
from engine.service.compare.comparison import MAX_RUNS, Plan, SweepError, axis, combinations, runs_of, varied
from engine.service.compare.runs import Run
from engine.traffic.capture_file import capture_file

TWO = """
[[adapter]]
name = "a"
[[adapter.queue]]
buffers = 8
[[adapter.queue]]
[[adapter]]
name = "b"
[[adapter.queue]]
[[traffic.mix]]
adapter = "a"
rate_pps = 1000
flow = [{ kind = "broadcast" }]
"""


def changed(text: str, *sweeps: str) -> dict[str, Any]:
    """A scenario's tables with the first value of each axis."""
    return varied(tomllib.loads(text), combinations([axis(one) for one in sweeps])[0])


def runs(text: str, *sweeps: str) -> list[Run]:
    plan = Plan("lab.toml", tomllib.loads(text))
    capture = capture_file("x.pcap")
    return runs_of([plan], [axis(one) for one in sweeps], capture=capture, adapter=None, seconds=1.0)


def test_values_are_tomls_or_bare_words() -> None:
    words = axis('x.y=1, 2.5,true,"a,b",6.30,steady').values
    assert [value for _, value in words] == [1, 2.5, True, "a,b", 6.3, "steady"]
    assert [word for word, _ in words][3:5] == ['"a,b"', "6.30"]


@pytest.mark.parametrize(
    "text",
    ["", "cpu", "cpu.quota", "cpu.quota=", "cpu.quota=1,,2", "=1", "cpu..quota=1", "cpu.quota[x]=1", "9=1",
     "cpu.quota=1\n", f"{'a' * 2000}=1"],
)  # fmt: skip
def test_what_is_no_axis_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(SweepError, match="is not"):
        axis(text)


def test_a_key_without_a_number_means_every_table_with_one_that_table() -> None:
    every = changed(TWO, "adapter.queue.buffers=32")
    assert [queue["buffers"] for one in every["adapter"] for queue in one["queue"]] == [32, 32, 32]
    one = changed(TWO, "adapter[0].queue[1].buffers=32")
    assert one["adapter"][0]["queue"] == [{"buffers": 8}, {"buffers": 32}]
    assert "buffers" not in one["adapter"][1]["queue"][0]
    assert changed(TWO, "adapter.queue[0].buffers=9")["adapter"][1]["queue"] == [{"buffers": 9}]


def test_tables_that_a_scenario_leaves_out_are_made() -> None:
    assert changed("", "cpu.quota=8", "adapter.buffers=4096") == {
        "adapter": [{"buffers": 4096}],
        "cpu": {"quota": 8},
    }


def test_axes_make_every_combination_the_last_varying_fastest() -> None:
    made = runs(TWO, "cpu.quota=8,16", "cpu.moderation_us=0,10,50")
    assert [(one.scenario.cpu.quota, one.scenario.cpu.moderation_us) for one in made] == [
        (8, 0), (8, 10), (8, 50), (16, 0), (16, 10), (16, 50),
    ]  # fmt: skip
    assert made[0].label == "lab.toml quota=8 moderation_us=0"


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("cpu.qota=1", 'cpu.qota: unknown key (did you mean "quota"?)'),
        ("host=1", "not the path of a single value"),
        ("adapter[2].buffers=1", "there is no adapter[2]"),
        ("adapter.port.vlan=1", "this scenario has none to change"),
        ("cpu[1].quota=1", "cpu is no array of tables"),
        ("disk.size=1", "disk is no table"),
        ("adapter.queue=1", "not the path of a single value"),
    ],
)
def test_a_key_that_is_not_there_is_refused_in_a_sentence(sweep: str, sentence: str) -> None:
    with pytest.raises(SweepError) as refused:
        runs(TWO, sweep)
    assert str(refused.value).startswith("lab.toml: ")
    assert sentence in str(refused.value)


def test_a_value_that_does_not_fit_is_the_scenarios_error() -> None:
    with pytest.raises(ScenarioError, match=r"lab.toml: cpu.quota: 0 is not a whole number in 1..65536"):
        runs(TWO, "cpu.quota=0")
    with pytest.raises(ScenarioError, match="adapter: 3 is not an array of tables"):
        runs("adapter = 3", "adapter.buffers=1")


def test_there_is_a_bound_on_runs() -> None:
    many = ",".join(map(str, range(1, MAX_RUNS + 2)))
    with pytest.raises(SweepError, match=f"{MAX_RUNS} at most"):
        runs(TWO, f"cpu.quota={many}")
    with pytest.raises(SweepError, match="combinations are too many"):
        combinations([axis(f"a.b={many}")] * 50)


def test_without_a_capture_a_plan_without_traffic_has_the_first_ones() -> None:
    bare = Plan("bare", {"adapter": [{"name": "a"}]})
    given = Plan("given", tomllib.loads(TWO))
    made = runs_of([bare, given], [], capture=None, adapter=None, seconds=2.0)
    assert made[0].scenario.traffic == made[1].scenario.traffic
    assert [one.seconds for one in made] == [2.0, 2.0]
    with pytest.raises(ScenarioError, match="traffic: missing"):
        runs_of([bare], [], capture=None, adapter=None, seconds=1.0)
    with pytest.raises(ScenarioError, match=r"that of another plan is for a \(nic0 fits\)"):
        runs_of([Plan("other", {}), given], [], capture=None, adapter=None, seconds=1.0)


def test_traffic_for_a_team_fits_a_plan_that_has_it() -> None:
    both = {"adapter": [{"name": "a"}, {"name": "b"}], "team": [{"name": "t", "members": ["a", "b"]}]}
    flow = [{"kind": "broadcast"}]
    given = Plan("given", both | {"traffic": {"mix": [{"adapter": "t", "rate_pps": 1, "flow": flow}]}})
    made = runs_of([Plan("bare", both), given], [], capture=None, adapter=None, seconds=1.0)
    assert made[0].scenario.traffic == made[1].scenario.traffic
    with pytest.raises(ScenarioError, match=r"that of another plan is for a \(t fits\)"):
        runs_of(
            [Plan("bare", both), Plan("given", tomllib.loads(TWO))],
            [],
            capture=None,
            adapter=None,
            seconds=1.0,
        )
