"""The gate: nobody without the token, no other name, no other page."""

import pytest

from vmqtui.web.gate import AddressError, Gate

HERE = Gate.at("127.0.0.1", 8123)


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:8123", "LOCALHOST:8123"])
def test_its_own_names_pass(host: str) -> None:
    assert HERE.refusal(host, None, own_page_only=False) is None
    assert HERE.refusal(host, "http://127.0.0.1:8123", own_page_only=True) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8123",
        "127.0.0.1",
        "127.0.0.1:81234",
        "127.0.0.1.evil.example:8123",
    ],
)
def test_other_names_are_refused(host: str | None) -> None:
    assert HERE.refusal(host, None, own_page_only=False) == "this server does not go by that name"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8123",
        "http://127.0.0.1:8123.evil",
    ],
)
def test_other_pages_are_refused(origin: str) -> None:
    for own_page_only in (True, False):
        refusal = HERE.refusal("127.0.0.1:8123", origin, own_page_only=own_page_only)
        assert refusal == "that is for this server's own page"


def test_a_websocket_must_say_which_page_it_is_of() -> None:
    assert HERE.refusal("127.0.0.1:8123", None, own_page_only=True) is not None


def test_only_the_token_fits() -> None:
    assert HERE.fits(HERE.token)
    for other in (
        None,
        "",
        HERE.token[:-1],
        HERE.token + "x",
        "é",
        "\udcff",
        Gate.at("127.0.0.1", 8123).token,
    ):
        assert not HERE.fits(other)
    assert HERE.url == f"http://127.0.0.1:8123/?token={HERE.token}"
    assert len(HERE.token) >= 40


def test_a_public_address_is_told_first_and_is_the_only_one_beyond_loopback() -> None:
    behind = Gate.at("127.0.0.1", 8123, "https://vmq.example/")
    assert behind.origins == ("https://vmq.example", "http://127.0.0.1:8123", "http://localhost:8123")
    assert behind.secure
    assert behind.refusal("vmq.example", "https://vmq.example", own_page_only=True) is None
    open_to_all = Gate.at("0.0.0.0", 8123, "http://lab.example:8123")
    assert open_to_all.origins == ("http://lab.example:8123",)
    assert not open_to_all.secure


def test_beyond_loopback_an_address_is_needed() -> None:
    with pytest.raises(AddressError, match=r"0\.0\.0\.0 is beyond loopback; say with --public-url"):
        Gate.at("0.0.0.0", 8123)


@pytest.mark.parametrize(
    "url",
    [
        "vmq.example",
        "ftp://x",
        "http://",
        "http://x/path",
        "http://x?y",
        "http://u@x",
        "http://x:99999",
        "//x",
    ],
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(AddressError, match="is not the address of a server"):
        Gate.at("127.0.0.1", 1, url)


def test_ipv6_stands_in_brackets() -> None:
    assert Gate.at("::1", 80).origins == ("http://[::1]", "http://localhost")
