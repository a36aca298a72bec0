import pytest

from engine.bus import topics
from engine.bus.errors import BadName, BadUrl
from engine.bus.urls import BrokerUrl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://localhost", BrokerUrl("localhost", 1883)),
        ("mqtts://broker.example", BrokerUrl("broker.example", 8883, tls=True)),
        ("MQTT://h:99/", BrokerUrl("h", 99)),
        ("mqtt://[::1]:1884", BrokerUrl("::1", 1884)),
        ("mqtt://ann@h", BrokerUrl("h", 1883, user="ann")),
        ("mqtt://a%40b:p%3A%2F%C3%A4@h:7", BrokerUrl("h", 7, user="a@b", password="p:/ä")),
        ("mqtt://ann:@h", BrokerUrl("h", 1883, user="ann", password="")),
    ],
)
def test_a_broker_url_reads_and_its_whole_text_reads_again(text: str, expected: BrokerUrl) -> None:
    url = BrokerUrl.parse(text)
    assert url == expected
    assert BrokerUrl.parse(url.with_password()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:1883",
        "http://h",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://h:0",
        "mqtt://h:65536",
        "mqtt://h:x",
        "mqtt://h/path",
        "mqtt://h?x",
        "mqtt://[::1",
        "mqtt://u:%ff@h",
        "mqtt://@h",
        "mqtt://h h",
        "mqtt://[::]@]",
    ],
)
def test_what_is_no_broker_url_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadUrl, match="is not a broker URL"):
        BrokerUrl.parse(text)


@pytest.mark.parametrize(
    "text",
    ["http://u:sesame@h", "mqtt://u:sesame@h:x", "mqtt://u:sesame@h/p", "u:sesame@h", "mqtt://u:sesame@@"],
)
def test_no_error_and_no_text_of_a_url_shows_its_password(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        BrokerUrl.parse(text)
    assert "sesame" not in str(caught.value)
    url = BrokerUrl.parse("mqtt://u:sesame@h")
    assert "sesame" not in f"{url} {url!r}"
    assert str(url) == "mqtt://u@h:1883"


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", "a+b", "#", "ä", "a b", "a\n"])
def test_a_name_that_does_not_fit_a_topic_is_refused(name: str) -> None:
    with pytest.raises(BadName, match="is not a host name"):
        topics.checked_name(name, "host name")


def test_topics_lead_back_to_host_kind_and_client() -> None:
    assert topics.split_telemetry(topics.stats("hv01")) == ("hv01", "stats")
    assert topics.split_telemetry("vmq/v1/hv01/request") is None
    assert topics.split_telemetry("vmq/v1/a/b/stats") is None
    assert topics.client_of(topics.request("hv01", "me"), "hv01", "request") == "me"
    assert topics.client_of(topics.request("hv02", "me"), "hv01", "request") is None
    assert topics.client_of("vmq/v1/hv01/request/a/b", "hv01", "request") is None
    assert topics.host_of_response(topics.response("hv01", "me"), "me") == "hv01"
    assert topics.host_of_response(topics.response("hv01", "you"), "me") is None


def test_random_clients_differ_and_fit() -> None:
    names = {topics.random_client("engine") for _ in range(100)}
    assert len(names) == 100
    assert all(topics.valid_name(name) for name in names)


@pytest.mark.parametrize("text", ["mqtt://\udc80@host", "mqtt://me:\udc80@host", "mqtt://ho\udc80st"])
def test_bytes_of_the_environment_that_are_no_utf8_are_told(text: str) -> None:
    with pytest.raises(BadUrl, match="it is not UTF-8 text") as refused:
        BrokerUrl.parse(text)
    assert str(refused.value).isprintable()


def test_a_text_without_an_end_that_is_no_url_is_told_shortly() -> None:
    with pytest.raises(BadUrl) as refused:
        BrokerUrl.parse("[" * 20_000)
    assert len(str(refused.value)) < 400
