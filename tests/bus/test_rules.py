"""Who may publish and read what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bus import topics
from engine.bus.access_rules import (
    RETAINED,
    ROLES,
    TELEMETRY,
    Principal,
    Role,
    may_clear,
    may_publish,
    may_read,
    may_subscribe,
)

VIEWER = Principal("viewer", "v")
OPERATOR = Principal("operator", "o")
ENGINE = Principal("engine", "e", "hv01")

OF_HV01 = [f"vmq/v1/hv01/{kind}" for kind in TELEMETRY]


@pytest.mark.parametrize("party", [VIEWER, OPERATOR, ENGINE, Principal("engine", "unclaimed")])
def test_everyone_reads_the_telemetry_of_every_host_and_the_answers_to_itself(party: Principal) -> None:
    for host in ("hv01", "hv02"):
        assert all(may_read(party, f"vmq/v1/{host}/{kind}") for kind in TELEMETRY)
        assert may_read(party, topics.response(host, party.client))
        assert not may_read(party, topics.response(host, "another"))
        assert not may_subscribe(party, topics.response("+", "another"))


def test_a_viewer_publishes_nothing() -> None:
    for topic in [*OF_HV01, topics.request("hv01", "v"), topics.response("hv01", "v"), "anything"]:
        assert not may_publish(VIEWER, topic)


def test_an_operator_asks_every_host_under_its_own_name_only() -> None:
    assert may_publish(OPERATOR, topics.request("hv01", "o"))
    assert may_publish(OPERATOR, topics.request("hv02", "o"))
    assert not may_publish(OPERATOR, topics.request("hv01", "v"))
    assert not any(may_publish(OPERATOR, topic) for topic in OF_HV01)
    assert not may_publish(OPERATOR, topics.response("hv01", "v"))


def test_an_operator_clears_what_hosts_retained_and_a_viewer_clears_nothing() -> None:
    for kind in TELEMETRY:
        topic = topics.telemetry("hv01", kind)
        assert may_clear(OPERATOR, topic) == may_clear(ENGINE, topic) == (kind in RETAINED)
        assert not may_clear(VIEWER, topic)
    assert not may_clear(OPERATOR, topics.request("hv01", "o"))


def test_an_engine_speaks_for_its_host_only() -> None:
    assert all(may_publish(ENGINE, topic) for topic in OF_HV01)
    assert may_publish(ENGINE, topics.response("hv01", "anyone"))
    assert may_read(ENGINE, topics.request("hv01", "anyone"))
    assert not may_read(ENGINE, topics.request("hv02", "anyone"))
    assert not may_publish(ENGINE, "vmq/v1/hv02/stats")
    assert not any(may_publish(Principal("engine", "unclaimed"), topic) for topic in OF_HV01)


@pytest.mark.parametrize("party", [VIEWER, OPERATOR])
def test_nobody_else_reads_requests(party: Principal) -> None:
    assert not may_read(party, topics.request("hv01", party.client))
    assert not may_subscribe(party, topics.request("+", "+"))


@pytest.mark.parametrize("topic_filter", ["#", "vmq/#", "vmq/v1/hv01/#", "+/+/+/+", "vmq/v1/+/response/+"])
def test_a_wide_subscription_stands_and_brings_what_may_be_read(topic_filter: str) -> None:
    assert may_subscribe(VIEWER, topic_filter)


@pytest.mark.parametrize(
    "topic_filter", ["$SYS/#", "other/#", "vmq/v1/hv01/request/#", "vmq/v1/hv01/status/#x"]
)
def test_a_subscription_that_can_bring_nothing_is_refused(topic_filter: str) -> None:
    assert not may_subscribe(VIEWER, topic_filter)


names = st.sampled_from(["hv01", "a", "b", "HOST", "CLIENT", "+", "", "x/y", "#"])
kinds = st.sampled_from(["status", "config", "stats", "event", "request/a", "response/a", "response/b", "x"])


@given(st.sampled_from(ROLES), names, names, kinds)
def test_a_topic_one_may_read_may_be_subscribed_to_by_its_name(
    role: Role, client: str, host: str, kind: str
) -> None:
    party = Principal(role, client, host)
    topic = f"vmq/v1/{host}/{kind}"
    assert may_subscribe(party, topic) or not may_read(party, topic)
