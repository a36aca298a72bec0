"""How a command connects to its broker: the URL, the password and the TLS files."""

import os
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vmqtui.cli.failures import sentences, unusable

if TYPE_CHECKING:
    from engine.bus.tls import TlsFiles
    from engine.bus.urls import BrokerUrl
    from vmqtui.preferences.model import Broker

HOST_HELP: Final = "The host, where there are several."
EVERY_HOST_HELP: Final = "Only this host; default: every host there is."
PASSWORD_VARIABLE: Final = "VMQTUI_PASSWORD"
_PASSWORD_BYTES: Final = 1024
_TLS_VARIABLES: Final = ("VMQTUI_TLS_CA", "VMQTUI_TLS_CERT", "VMQTUI_TLS_KEY")


@dataclass(frozen=True)
class BrokerOptions:
    """The broker of a command, and how to reach it."""

    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            metavar="URL",
            envvar="VMQTUI_BROKER",
            show_envvar=True,
            help="MQTT broker: mqtt://[user[:password]@]host[:port], or mqtts://…",
        ),
    ] = None
    _: KW_ONLY
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="F",
            envvar="VMQTUI_PASSWORD_FILE",
            help=f"File with the broker's password; or the variable {PASSWORD_VARIABLE}.",
        ),
    ] = None
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-ca", metavar="F", envvar="VMQTUI_TLS_CA", help="CA certificates to believe, for mqtts://."
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="F", envvar="VMQTUI_TLS_CERT", help="Certificate to show."),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="F", envvar="VMQTUI_TLS_KEY", help="Its private key."),
    ] = None

    def find(self, *, user: str) -> "BrokerUrl | None":
        """Return the URL of ``discovery.find_url``, completed with the password and TLS files. Ends with
        status 2 if they conflict."""
        from engine.bus.discovery import find_url

        with sentences():
            url = find_url(self.broker, user=user)
            return None if url is None else self.complete(url)

    def named(self, *, user: str) -> "BrokerUrl | None":
        """Like ``find``, but None if no broker is named."""
        return None if self.broker is None else self.find(user=user)

    def complete(self, url: "BrokerUrl") -> "BrokerUrl":
        """Add the password and TLS files that a URL lacks. Ends with status 2 if they conflict."""
        from engine.bus.tls import client_context

        if self._typed and not url.tls:
            unusable(f"--tls-ca, --tls-cert, --tls-key: are for mqtts://, and {url} is not encrypted")
        if not url.tls and url.password is not None:
            return url
        from vmqtui.preferences.file import load_preferences

        with sentences():
            written = load_preferences().broker
            if url.tls:
                url = replace(url, files=self._tls_files(written))
                client_context(url.files)
        if url.password is not None:
            return url
        password = self._password(written, url)
        if password is not None and url.user is None:
            unusable(f"a password without a user: say who you are in the URL (mqtt://USER@{url.host})")
        return replace(url, password=password)

    def listening_tls(self) -> "TlsFiles":
        """Return the TLS files for the engine's own broker; ignore a CA that only the environment names."""
        from engine.bus.tls import NO_FILES

        return self._tls if self._typed or self._tls.cert is not None else NO_FILES

    @property
    def _tls(self) -> "TlsFiles":
        from engine.bus.tls import TlsFiles

        files = (self.tls_ca, self.tls_cert, self.tls_key)
        return TlsFiles(*(None if file is None else str(file) for file in files))

    @property
    def _typed(self) -> bool:
        """Whether the command line names TLS files, which requires an encrypted connection."""
        from engine.bus.tls import TlsFiles

        return self._tls != TlsFiles(*map(os.environ.get, _TLS_VARIABLES))

    def _tls_files(self, written: "Broker") -> "TlsFiles":
        """Return the given TLS files; the configuration supplies those not given."""
        from engine.bus.tls import TlsFiles

        ca, cert, key = (
            None if file is None else str(Path(file).expanduser())
            for file in (written.tls_ca, written.tls_cert, written.tls_key)
        )
        given = self._tls
        if given.cert is not None or given.key is not None:
            cert, key = given.cert, given.key
        return TlsFiles(given.ca or ca, cert, key)

    def _password(self, written: "Broker", url: "BrokerUrl") -> str | None:
        """Read the password from the option, the environment, or, if the URL has a user, the preferences."""
        if self.password_file is not None:
            return _first_line(self.password_file)
        if PASSWORD_VARIABLE in os.environ:
            return os.environ[PASSWORD_VARIABLE]
        if written.password_file is None or url.user is None:
            return None
        return _first_line(Path(written.password_file).expanduser())


@dataclass(frozen=True)
class HostOptions(BrokerOptions):
    """A host of a broker."""

    host: Annotated[str | None, typer.Option("--host", metavar="H", help=HOST_HELP)] = None


@dataclass(frozen=True)
class EveryHostOptions(HostOptions):
    """All hosts of a broker, or one of them."""

    host: Annotated[str | None, typer.Option("--host", metavar="H", help=EVERY_HOST_HELP)] = None


def _first_line(path: Path) -> str:
    from engine.trusted import check_private, open_trusted

    try:
        with open_trusted(path) as file:
            check_private(path, file)
            content = file.read(_PASSWORD_BYTES + 1)
    except OSError as error:
        unusable(f"password file {path}: {error.strerror or error}")
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError:
        password = ""
    if not password or len(line) > _PASSWORD_BYTES or "\0" in password:
        unusable(f"password file {path}: its first line is no password (1 to {_PASSWORD_BYTES} bytes)")
    return password
