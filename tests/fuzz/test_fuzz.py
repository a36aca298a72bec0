"""Whatever bytes come from outside, each decoder takes them or refuses them in a sentence.

A short run. ``python -m tests.fuzz`` goes on for as long as it is told, guided by coverage.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, check_seeds

QUICK = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def mutated(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """A seed with pieces replaced: (place, bytes taken out, bytes put in)."""
    data = seed
    for place, taken, put in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + taken :]
    return data


EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_seed_holds_is_taken(name: str) -> None:
    check_seeds(name)


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\x1b[2J\x9b31m")
@example(data=b"[" * 20_000)
@example(data=b"\x91" * 20_000)
@example(data=b"\xff\xfe\x00")
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(which=st.integers(0, 100), edits=EDITS)
def test_what_nearly_fits_is_taken_or_refused(
    name: str, which: int, edits: list[tuple[int, int, bytes]]
) -> None:
    seeds = TARGETS[name].seeds()
    TARGETS[name].run(mutated(seeds[which % len(seeds)], edits))


MESSAGES = ("request", "stats", "configuration", "small_messages")
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["untagged", "nic0", "00:15:5d:00:00:01", "\x1b[2J\x9b", "running", "vsp"])
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a decoded message."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def changed(node: Any, path: tuple[Any, ...], change: str, value: Any) -> Any:
    """A message with one value replaced, left out, or doubled."""
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    if len(path) > 1:
        copy[path[0]] = changed(copy[path[0]], path[1:], change, value)
    elif change == "leave out":
        del copy[path[0]]
    elif change == "double" and isinstance(copy, list):
        copy.insert(path[0], copy[path[0]])
    else:
        copy[path[0]] = value
    return copy


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_well_formed_message_that_says_nonsense_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    message = msgspec.msgpack.decode(data.draw(st.sampled_from(TARGETS[name].seeds())))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(message)))
        change = data.draw(st.sampled_from(["replace", "leave out", "double"]))
        message = changed(message, path, change, data.draw(ANYTHING))
    TARGETS[name].run(msgspec.msgpack.encode(message))
