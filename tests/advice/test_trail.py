"""What the trail remembers of configurations."""

import msgspec
import pytest

from engine.advice.evidence import MOST_GONE, MOST_MOVES, Moved, Trail
from tests.vmqtui.scripted import make_config, with_queue


def test_a_move_is_noted_with_where_the_queue_was() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 0)
    moved = with_queue(config, 1, cpu=5)
    assert trail.add(moved, 7).moves == {("nic0", 1, 2): (Moved(7, 2),)}


@pytest.mark.parametrize(
    ("mode", "changes", "by_balancer"),
    [
        ("dynamic", {"cpu": 5}, True),
        ("dynamic", {"cpu": 5, "home_cpu": 5}, False),
        ("off", {"cpu": 5}, False),
    ],
)
def test_the_balancer_alone_leaves_a_home_where_it_is(
    mode: str, changes: dict[str, int], by_balancer: bool
) -> None:
    config = msgspec.structs.replace(with_queue(make_config(), 1, home_cpu=2), balancer={"mode": mode})
    trail = Trail()
    trail.add(config, 0)
    moves = trail.add(with_queue(config, 1, **changes), 7).moves
    assert moves == {("nic0", 1, 2): (Moved(7, 2, by_balancer),)}


def test_moves_are_bounded() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 0)
    for at in range(1, MOST_MOVES + 10):
        config = with_queue(config, 1, cpu=at % 8)
        moves = trail.add(config, at).moves
    assert [len(one) for one in moves.values()] == [MOST_MOVES]


def test_a_queue_of_the_same_id_begins_anew() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 0)
    trail.add(with_queue(config, 1, cpu=5), 7)
    anew = with_queue(with_queue(config, 1, cpu=3), 1, generation=99)
    assert trail.add(anew, 9).moves == {}


def test_a_port_that_went_is_remembered_until_it_is_back() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 0)
    adapter = config.adapters[0]
    without = msgspec.structs.replace(adapter, ports=adapter.ports[1:])
    gone = trail.add(msgspec.structs.replace(config, adapters=[without], revision=8), 5).gone
    assert list(gone.values()) == [adapter.ports[0].vm]
    assert trail.add(msgspec.structs.replace(config, revision=9), 6).gone == {}


def test_what_left_is_bounded() -> None:
    vms = [("default", None, 0, 0), *((f"vm-{n}", f"vm-{n}", 1, 0) for n in range(1, MOST_GONE + 100))]
    trail = Trail()
    config = make_config(vms)
    trail.add(config, 0)
    empty = msgspec.structs.replace(config.adapters[0], ports=[])
    trace = trail.add(msgspec.structs.replace(config, adapters=[empty], revision=8), 1)
    assert len(trace.gone) == MOST_GONE


def test_time_that_went_back_is_another_run() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 100)
    trail.add(with_queue(config, 1, cpu=5), 200)
    assert trail.add(with_queue(config, 1, cpu=4), 50).moves == {}


def test_an_allocation_waits_from_when_it_was_first_seen_to_its_completion() -> None:
    trail = Trail()
    config = make_config()
    trail.add(config, 0)
    key = ("nic0", 1, 2)
    allocated = with_queue(config, 1, state="allocated")
    assert trail.add(allocated, 5).uncompleted_since == {key: 5}
    assert trail.add(with_queue(allocated, 1, state="set"), 9).uncompleted_since == {key: 5}
    assert trail.add(with_queue(allocated, 1, state="running"), 12).uncompleted_since == {}
