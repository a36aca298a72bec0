"""TLS and accounts: the broker beyond loopback, and clients that check whom they talk to."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.bus import accounts
from engine.bus.accounts import Account, account_line, read_accounts
from engine.bus.broker import EmbeddedBroker
from engine.bus.errors import BadAccounts, BadTls
from engine.bus.tls import TlsFiles, client_context, server_context
from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from engine.mqtt.listener import WAITING_LIMIT
from tests.bus.conftest import EngineStandIn, running_bus
from tests.certificates import Certificates, certificates


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("pems"))


ACCOUNTS = [
    Account("vic", "viewer", accounts.hashed("see")),
    Account("ops", "operator", accounts.hashed("do")),
]


@pytest.fixture(scope="module")
async def public(pems: Certificates) -> AsyncIterator[EmbeddedBroker]:
    """A broker that speaks TLS to holders of accounts."""
    async with EmbeddedBroker(tls=TlsFiles(cert=pems.cert, key=pems.key), accounts=ACCOUNTS) as broker:
        yield broker


def url_for(broker: EmbeddedBroker, user: str | None, password: str | None, files: TlsFiles) -> BrokerUrl:
    assert broker.public_url is not None
    return replace(broker.public_url, host="localhost", user=user, password=password, files=files)


async def outcome(url: BrokerUrl) -> str:
    """ "connected", or why not."""
    async with Watcher(url) as watcher:
        await watcher.wait_for(lambda: watcher.state != "connecting", 10)
        return watcher.state if watcher.state == "connected" else watcher.why


async def test_accounts_have_their_roles_over_tls(
    public: EmbeddedBroker, pems: Certificates, host: str, stand_in: EngineStandIn
) -> None:
    files = TlsFiles(ca=pems.ca)
    async with (
        running_bus(public.url, host, stand_in),  # by loopback, where this machine is let in as before
        Watcher(url_for(public, "ops", "do", files), host) as operator,
        Watcher(url_for(public, "vic", "see", files), host) as viewer,
    ):
        assert (await operator.request(host, "ping")).status == "ok"
        assert await viewer.wait_for(lambda: host in viewer.hosts and viewer.hosts[host].online, 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(viewer.request(host, "ping"), 0.2)
    assert {client for client, _ in stand_in.requests} == {operator.client}


async def test_a_wrong_password_and_none_are_refused(public: EmbeddedBroker, pems: Certificates) -> None:
    files = TlsFiles(ca=pems.ca)
    assert "user name or password" in await outcome(url_for(public, "ops", "see", files))
    assert "not authori" in (await outcome(url_for(public, None, None, files))).lower()


async def test_a_server_is_believed_only_with_a_known_ca_and_under_its_own_name(
    public: EmbeddedBroker, pems: Certificates
) -> None:
    for ca in (pems.other_ca, None):
        assert "certificate verify failed" in await outcome(url_for(public, "ops", "do", TlsFiles(ca=ca)))
    misnamed = replace(url_for(public, "ops", "do", TlsFiles(ca=pems.ca)), host="127.0.0.1")
    assert "certificate is not valid for '127.0.0.1'" in await outcome(misnamed)


async def test_with_a_ca_clients_must_show_a_certificate(pems: Certificates) -> None:
    server = TlsFiles(ca=pems.ca, cert=pems.cert, key=pems.key)
    shown = TlsFiles(ca=pems.ca, cert=pems.client_cert, key=pems.client_key)
    async with EmbeddedBroker(tls=server, accounts=ACCOUNTS) as broker:
        assert await outcome(url_for(broker, "ops", "do", shown)) == "connected"
        assert await outcome(url_for(broker, "ops", "do", TlsFiles(ca=pems.ca))) != "connected"


async def test_nothing_but_tls_is_spoken_there(public: EmbeddedBroker, pems: Certificates) -> None:
    plain = replace(url_for(public, "ops", "do", TlsFiles()), tls=False)
    assert await outcome(plain) != "connected"
    assert await outcome(url_for(public, "ops", "do", TlsFiles(ca=pems.ca))) == "connected"


async def test_who_does_not_shake_hands_keeps_nobody_out(public: EmbeddedBroker, pems: Certificates) -> None:
    url = url_for(public, "ops", "do", TlsFiles(ca=pems.ca))
    address = ("localhost", url.port)
    with contextlib.ExitStack() as all_of_them:
        idle = [
            all_of_them.enter_context(socket.create_connection(address, 5)) for _ in range(WAITING_LIMIT + 9)
        ]
        assert await asyncio.to_thread(idle[0].recv, 1) == b""
        async with Watcher(url) as watcher:
            assert await watcher.wait_for(lambda: watcher.state == "connected", 60)


def test_files_that_are_no_certificates_are_said_so(tmp_path: Path, pems: Certificates) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    for make, files in (
        (client_context, TlsFiles(ca=str(junk))),
        (client_context, TlsFiles(ca=str(tmp_path / "missing"))),
        (client_context, TlsFiles(cert=pems.cert, key=pems.client_key)),
        (client_context, TlsFiles(key=pems.key)),
        (server_context, TlsFiles(cert=str(junk))),
        (server_context, TlsFiles(ca=pems.ca)),
        (server_context, TlsFiles(cert=pems.cert, key=pems.key, ca=pems.key)),
    ):
        with pytest.raises(BadTls) as caught:
            make(files)
        assert str(caught.value).isprintable()


def test_an_accounts_file_reads_as_it_was_printed(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    lines = ["# who", "", account_line("ann", "viewer", "sesame"), account_line("b", "engine", "ä")]
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    read = read_accounts(path)
    assert [(each.name, each.role) for each in read] == [("ann", "viewer"), ("b", "engine")]
    assert accounts.fits(b"sesame", read[0].hash)
    assert accounts.fits("ä".encode(), read[1].hash)
    assert not accounts.fits(b"sesamE", read[0].hash)
    assert "sesame" not in path.read_text()
    assert not accounts.fits(bytes(accounts.PASSWORD_LIMIT_BYTES + 1), read[0].hash)
    with pytest.raises(BadAccounts, match="1 to 1024 bytes"):
        account_line("ann", "viewer", "x" * (accounts.PASSWORD_LIMIT_BYTES + 1))


GOOD = account_line("ann", "viewer", "sesame")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", ": 0 in it"),
        ("ann viewer", "NAME ROLE HASH"),
        (GOOD.replace("viewer", "admin"), "viewer, operator, engine fit"),
        (GOOD.replace("ann", "owner"), "another name fits"),
        (GOOD.replace("ann", "a/b"), "not a user's name"),
        (GOOD[:-1], "hash"),
        ("ann viewer sesame", "hash"),
        (f"{GOOD}\n{GOOD}", "line 2: ann has an account already"),
    ],
    ids=itertools.count(),  # texts have a new salt in each process that collects them
)
def test_an_accounts_file_that_does_not_read_is_said_so(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "accounts"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadAccounts, match=word):
        read_accounts(path)


def test_an_accounts_file_that_is_too_large_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    many = "".join(GOOD.replace("ann", f"u{number}") + "\n" for number in range(accounts.ACCOUNT_LIMIT + 1))
    for text in (many, GOOD + "\n" + "#" * accounts._FILE_BYTES):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(BadAccounts, match="1 to 1024 accounts, a line each"):
            read_accounts(path)


def test_an_accounts_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text(GOOD)
    path.chmod(0o644)
    with pytest.raises(BadAccounts, match="chmod 600"):
        read_accounts(path)
