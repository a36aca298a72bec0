"""Processor groups, and the sets that Set-NetAdapterVmq gives (WINDOWS.md, "The processor set")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scenario.processor_set import (
    HostProcessors,
    Place,
    SetKeys,
    SetLine,
    default_group_sizes,
    host_processors,
    parse_place,
)


@pytest.mark.parametrize(
    ("cpus", "numa_nodes", "sizes"),
    [
        (8, 1, (8,)),
        (64, 4, (64,)),  # 4 × 16 are one group
        (80, 2, (40, 40)),  # a node is never cut in two
        (96, 3, (64, 32)),
        (128, 2, (64, 64)),
        (80, 1, (64, 16)),  # a node that no group can hold
        (200, 2, (64, 36, 64, 36)),
        (256, 256, (64, 64, 64, 64)),
    ],
)
def test_default_groups_are_whole_nodes_of_at_most_64_processors(
    cpus: int, numa_nodes: int, sizes: tuple[int, ...]
) -> None:
    assert default_group_sizes(cpus, numa_nodes) == sizes


def test_processors_are_named_by_their_group_and_their_number_in_it() -> None:
    two = host_processors(80, 2, False)
    assert [two.name(cpu) for cpu in (0, 39, 40, 79)] == ["0:0", "0:39", "1:0", "1:39"]
    assert two.by_place[Place(1, 2)] == 42
    assert two.groups_in_words == "0:0..0:39, 1:0..1:39"
    assert two.names([0, 38, 39, 40, 41, 42, 44]) == "0:0, 0:38, 0:39, 1:0..1:2, 1:4"


def test_groups_of_given_sizes() -> None:
    host = host_processors(8, 1, False, (6, 2))
    assert [host.name(cpu) for cpu in range(8)] == ["0:0", "0:1", "0:2", "0:3", "0:4", "0:5", "1:0", "1:1"]
    assert host.group_sizes == (6, 2)


def test_with_hyper_threading_a_base_of_0_and_6_processors_are_the_even_ones() -> None:
    host = host_processors(24, 2, True)
    assert host.given_by(SetLine(0, 0, 63, 6)) == (0, 2, 4, 6, 8, 10)


def test_a_set_ends_at_the_max_number_at_the_max_count_and_at_its_group() -> None:
    host = host_processors(80, 2, False)
    assert host.given_by(SetLine(0, 36, 63, 16)) == (36, 37, 38, 39)
    assert host.given_by(SetLine(1, 0, 3, 16)) == (40, 41, 42, 43)
    assert host.given_by(SetLine(1, 4, 63, 2)) == (44, 45)
    assert host.given_by(SetLine(2, 0, 63, 2)) == ()


@pytest.mark.parametrize(
    ("cpus", "hyperthreading", "line"),
    [
        ([2, 4, 6], True, SetLine(0, 2, 6, 3)),
        ([6, 2, 4, 2], True, SetLine(0, 2, 6, 3)),
        ([0, 2, 4, 6], False, None),  # holes
        ([2, 4, 8], True, None),
        ([1, 2, 3], True, None),  # odd ones are not usable
        ([38, 39, 40], False, None),  # two groups
        ([40, 41], False, SetLine(1, 0, 1, 2)),
        ([], False, None),
        ([80], False, None),
    ],
)
def test_a_line_exists_for_consecutive_usable_processors_of_one_group(
    cpus: list[int], hyperthreading: bool, line: SetLine | None
) -> None:
    assert host_processors(80, 2, hyperthreading).line_for(cpus) == line


def test_without_a_key_nothing_is_known_of_the_set() -> None:
    assert host_processors(8, 1, False).configured(SetKeys()) is None


@pytest.mark.parametrize(
    ("keys", "cpus"),
    [
        (SetKeys(base=Place(0, 2)), range(2, 40)),
        (SetKeys(max=Place(0, 3)), range(4)),
        (SetKeys(base=Place(1, 0), max=Place(1, 63), max_processors=3), range(40, 43)),
        (SetKeys(max_processors=5), range(5)),
        (SetKeys(preferred_numa_node=1), range(40, 80)),
        (SetKeys(base=Place(0, 2), preferred_numa_node=1), range(2, 40)),  # none of the range is on it
    ],
)
def test_keys_left_out_are_the_systems_defaults(keys: SetKeys, cpus: range) -> None:
    assert host_processors(80, 2, False).configured(keys) == tuple(cpus)


def test_a_preferred_node_leaves_the_processors_of_the_range_that_are_on_it() -> None:
    host = host_processors(16, 2, True)
    assert host.configured(SetKeys(base=Place(0, 4), max_processors=3, preferred_numa_node=1)) == (8, 10, 12)


@pytest.mark.parametrize(
    "text", ["", "0", "0:", ":0", "0:1:2", " 0:1", "0:1 ", "-0:1", "0:+1", "0:١", "0:999999"]
)
def test_a_place_has_one_form(text: str) -> None:
    assert parse_place(text) is None


_HOSTS = st.builds(
    lambda node, nodes, hyperthreading: host_processors(2 * node * nodes, nodes, hyperthreading),
    st.integers(1, 40),
    st.integers(1, 3),
    st.booleans(),
)


@given(_HOSTS, st.data())
def test_a_line_and_its_processors_say_the_same(host: HostProcessors, data: st.DataObject) -> None:
    line = SetLine(
        data.draw(st.integers(0, len(host.group_sizes) - 1)),
        data.draw(st.integers(0, 63)),
        data.draw(st.integers(0, 63)),
        data.draw(st.integers(1, 64)),
    )
    cpus = host.given_by(line)
    assert len(cpus) <= line.max_processors
    back = host.line_for(cpus)
    assert (back is None) == (not cpus)
    if back is not None:
        assert host.given_by(back) == cpus


@given(_HOSTS, st.sets(st.integers(0, 90), max_size=5))
def test_any_line_for_processors_gives_them_and_no_others(host: HostProcessors, cpus: set[int]) -> None:
    line = host.line_for(cpus)
    if line is not None:
        assert set(host.given_by(line)) == cpus
