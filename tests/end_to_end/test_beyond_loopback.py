"""An engine that others reach: TLS and accounts, and how commands are told of them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import Certificates, certificates
from tests.end_to_end.conftest import Here
from tests.end_to_end.lab import small
from tests.end_to_end.program import VMQTUI, Running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("pems"))


def own(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def account(name: str, role: str, password: str) -> str:
    command = [VMQTUI, "account", name, role]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory, pems: Certificates, _apart: None) -> Iterator[str]:
    """An engine on all addresses, with a viewer and an operator; its URL by the name its certificate has."""
    room = tmp_path_factory.mktemp("public")
    accounts = account("vic", "viewer", "see it") + account("ops", "operator", "do it")
    engine = Running(
        *("engine", "--scenario", own(room / "public.toml", small("public"))),
        *("--listen", "0.0.0.0:0", "--accounts", own(room / "accounts", accounts)),
        *("--tls-cert", pems.cert, "--tls-key", pems.key),
    )
    printed = urlsplit(engine.first_line())
    assert (printed.scheme, printed.username) == ("mqtts", None)
    yield f"mqtts://USER@localhost:{printed.port}"
    assert engine.end() == 0


def test_password_and_ca_come_from_files(
    public: str, pems: Certificates, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = own(tmp_path / "password", "see it\n")
    asked = ("--broker", public.replace("USER", "vic"), "--tls-ca", pems.ca)
    done = here("get", "hosts", "--json", *asked, "--password-file", password)
    assert [row["host"] for row in done.document["hosts"]] == ["public"]
    assert "see it" not in done.err
    monkeypatch.setattr("vmqtui.cli.get.ANSWER_S", 1.0)
    refused = here("get", "hosts", *asked, "--password-file", own(tmp_path / "other", "do it"))
    assert (refused.status, refused.out) == (1, "")
    assert "user name or password" in refused.err


def test_they_come_from_the_environment_too_and_roles_hold(
    public: str, pems: Certificates, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMQTUI_TLS_CA", pems.ca)
    monkeypatch.setenv("VMQTUI_PASSWORD", "do it")
    monkeypatch.setenv("VMQTUI_BROKER", public.replace("USER", "ops"))
    assert here("adapter", "set", "--link-gbps", "25").status == 0
    monkeypatch.setenv("VMQTUI_PASSWORD", "see it")
    monkeypatch.setenv("VMQTUI_BROKER", public.replace("USER", "vic"))
    done = here("adapter", "set", "--link-gbps", "40")
    assert (done.status, done.out) == (1, "")
    assert "did not answer" in done.err
    assert "did not answer 'set_adapter' within 5 s: it is online" in done.err


def test_commands_of_its_own_user_need_nothing(public: str, here: Here) -> None:
    assert [row["host"] for row in here("get", "hosts", "--json").document["hosts"]] == ["public"]


def test_they_come_from_the_configuration_too(
    public: str, pems: Certificates, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = own(tmp_path / "password", "see it\n")
    written = f'[broker]\npassword_file = "{password}"\ntls_ca = "{pems.ca}"\n'
    monkeypatch.setenv("VMQTUI_CONFIG", str(own(tmp_path / "config.toml", written)))
    done = here("get", "hosts", "--json", "--broker", public.replace("USER", "vic"))
    assert [row["host"] for row in done.document["hosts"]] == ["public"]


def test_a_server_that_can_not_be_believed_is_told(
    public: str, pems: Certificates, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmqtui.cli.get.ANSWER_S", 1.0)
    done = here("get", "hosts", "--broker", public, "--tls-ca", pems.other_ca)
    assert (done.status, done.out) == (1, "")
    assert "certificate verify failed" in done.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--listen", "0.0.0.0:0", "--tls-cert", "CERT", "--tls-key", "KEY"), "--accounts"),
        (("--listen", "0.0.0.0:0", "--accounts", "ACCOUNTS"), "--tls-cert"),
        (("--listen", "0.0.0.0:0", "--insecure", "--accounts", "missing"), "No such file"),
        (("--listen", "127.0.0.1:0", "--tls-cert", "KEY"), "not a PEM certificate"),
        (("--listen", "127.0.0.1:0", "--tls-ca", "CERT"), "needs a certificate"),
        (("--accounts", "ACCOUNTS"), "--listen"),
        (("--viewer", "a/b"), "no client id"),
        (("--broker", "mqtt://h", "--insecure"), "leave out"),
        (("--broker", "mqtt://h", "--tls-ca", "CERT"), "mqtts://"),
        (("--broker", "mqtts://h", "--tls-ca", "missing"), "No such file"),
        (("--broker", "mqtt://h", "--password-file", "CERT"), "chmod 600"),
        (("--broker", "mqtt://h", "--password-file", "ACCOUNTS"), "without a user"),
        (("--broker", "mqtt://me@h", "--password-file", "missing"), "No such file"),
    ],
)
def test_what_does_not_fit_is_told(
    arguments: tuple[str, ...], word: str, pems: Certificates, here: Here, tmp_path: Path
) -> None:
    Path(pems.cert).chmod(0o644)
    names = {
        "CERT": pems.cert,
        "KEY": pems.key,
        "ACCOUNTS": str(own(tmp_path / "accounts", account_of_ann())),
        "missing": str(tmp_path / "missing"),
    }
    done = here("engine", *(names.get(each, each) for each in arguments))
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert word in done.err


def account_of_ann() -> str:
    return f"ann viewer scrypt${'A' * 22}==${'A' * 86}==\n"


def test_beyond_loopback_without_anything_takes_a_word_for_it(tmp_path: Path, here: Here) -> None:
    scenario = own(tmp_path / "insecure.toml", small("insecure"))
    engine = Running("engine", "--scenario", scenario, "--listen", "0.0.0.0:0", "--insecure")
    port = urlsplit(engine.first_line()).port
    assert here("get", "hosts", "--broker", f"mqtt://127.0.0.1:{port}").status == 0
    assert engine.end() == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("owner", "viewer"), "another name"), (("ann", "king"), "viewer, operator, engine")],
)
def test_an_account_that_can_not_be_is_told(arguments: tuple[str, ...], word: str, here: Here) -> None:
    done = here("account", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert word in done.err
