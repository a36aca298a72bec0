"""Which topic filters match which topics, and that nothing of them stays behind."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mqtt.router import Subscriptions, is_filter, matches

LEVEL = st.sampled_from(["a", "b", "+", "", "$a"])
TOPIC = st.lists(st.sampled_from(["a", "b", "", "$a"]), min_size=1, max_size=4).map("/".join)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVEL, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)


def pattern(topic_filter: str) -> str:
    """The same as a regular expression."""
    if topic_filter == "#":
        return "(?![$]).*"
    body, tail = (topic_filter[:-2], "(/.*)?") if topic_filter.endswith("/#") else (topic_filter, "")
    own = "(?![$])" if body[0:1] == "+" else ""
    return own + "/".join("[^/]*" if level == "+" else re.escape(level) for level in body.split("/")) + tail


@given(FILTER, TOPIC)
def test_a_filter_matches_as_the_standard_says(topic_filter: str, topic: str) -> None:
    assert is_filter(topic_filter)
    assert matches(topic_filter, topic.split("/")) == bool(re.fullmatch(pattern(topic_filter), topic))


@pytest.mark.parametrize("bad", ["a+", "+a/b", "a/#/b", "#/a", "a#", "a/b#", "++"])
def test_wildcards_stand_alone_and_the_last_one_last(bad: str) -> None:
    assert not is_filter(bad)


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), FILTER, st.integers(0, 1), st.booleans()), max_size=30), TOPIC
)
def test_each_client_is_found_once_with_its_highest_qos(
    changes: list[tuple[str, str, int, bool]], topic: str
) -> None:
    subscriptions = Subscriptions()
    model: dict[tuple[str, str], int] = {}
    for client, topic_filter, qos, stays in changes:
        if stays:
            subscriptions.add(client, topic_filter, qos)
            model[client, topic_filter] = qos
        else:
            assert subscriptions.remove(client, topic_filter) == ((client, topic_filter) in model)
            model.pop((client, topic_filter), None)
    wanted: dict[str, int] = {}
    for (client, topic_filter), qos in model.items():
        if re.fullmatch(pattern(topic_filter), topic):
            wanted[client] = max(qos, wanted.get(client, 0))
    assert subscriptions.matching(topic) == wanted
    for client in "xyz":
        assert subscriptions.filters_of(client) == {one for name, one in model if name == client}


def test_nothing_stays_of_filters_that_were_given_up() -> None:
    subscriptions = Subscriptions()
    for number in range(100):
        subscriptions.add("x", f"a/{number}", 0)
        subscriptions.add("y", f"a/{number}", 0)
        assert subscriptions.remove("x", f"a/{number}")
    subscriptions.forget("y")
    subscriptions.forget("y")
    assert not subscriptions._of_client
    assert not subscriptions._of_filter
