"""How a command reaches its broker: the URL, and what does not belong on a command line or in a URL.

Every command that talks to a broker has these options (``reaches``); a process runs one command.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import typer

from engine.bus.discovery import find_url
from engine.bus.tls import NO_FILES, TlsFiles, client_context
from engine.bus.urls import BrokerUrl
from engine.trusted import check_private, open_trusted
from vmqtui.cli.failures import sentences, unusable

if TYPE_CHECKING:
    from vmqtui.preferences.model import Broker

PASSWORD_VARIABLE: Final = "VMQTUI_PASSWORD"
_PASSWORD_BYTES: Final = 1024
_TLS_VARIABLES: Final = ("VMQTUI_TLS_CA", "VMQTUI_TLS_CERT", "VMQTUI_TLS_KEY")

_OPTIONS: Final[dict[str, Any]] = {
    "password_file": Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="F",
            envvar="VMQTUI_PASSWORD_FILE",
            help=f"File with the broker's password; or the variable {PASSWORD_VARIABLE}.",
        ),
    ],
    "tls_ca": Annotated[
        Path | None,
        typer.Option(
            "--tls-ca", metavar="F", envvar="VMQTUI_TLS_CA", help="CA certificates to believe, for mqtts://."
        ),
    ],
    "tls_cert": Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="F", envvar="VMQTUI_TLS_CERT", help="Certificate to show."),
    ],
    "tls_key": Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="F", envvar="VMQTUI_TLS_KEY", help="Its private key."),
    ],
}


@dataclass(frozen=True)
class Given:
    """What a command line and its environment say, beside the URL."""

    password_file: Path | None = None
    tls: TlsFiles = NO_FILES
    typed: bool = False
    """Whether TLS files stand on the command line: then somebody believes that a connection is encrypted."""


_given = Given()

Command = TypeVar("Command", bound=Callable[..., Any])


def reaches(command: Command) -> Command:
    """Give a command the options about how its broker is reached."""
    own = signature(command, eval_str=True)

    @wraps(command)
    def reached(*arguments: Any, **options: Any) -> Any:
        global _given
        password_file, *files = (options.pop(name) for name in _OPTIONS)
        tls = TlsFiles(*(None if file is None else str(file) for file in files))
        from_environment = TlsFiles(*map(os.environ.get, _TLS_VARIABLES))
        _given = Given(password_file, tls, typed=tls != from_environment)
        return command(*arguments, **options)

    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=None)
        for name, annotation in _OPTIONS.items()
    ]
    reached.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *added]
    )
    return cast("Command", reached)


def listening_tls() -> TlsFiles:
    """The TLS files for a broker of one's own; a CA that the environment names is for other brokers."""
    return _given.tls if _given.typed or _given.tls.cert is not None else NO_FILES


def broker_url(explicit: str | None, *, user: str) -> BrokerUrl | None:
    """The broker to talk to, as ``discovery.find_url`` has it, with password and TLS files. Ends with 2 when
    they don't fit.
    """
    with sentences():
        url = find_url(explicit, user=user)
        return None if url is None else completed(url)


def completed(url: BrokerUrl) -> BrokerUrl:
    """A URL with the password and the TLS files that it does not hold. Ends with 2 when they don't fit."""
    if _given.typed and not url.tls:
        unusable(f"--tls-ca, --tls-cert, --tls-key: are for mqtts://, and {url} is not encrypted")
    if not url.tls and url.password is not None:
        return url
    from vmqtui.preferences.file import load_preferences

    with sentences():
        written = load_preferences().broker
        if url.tls:
            url = replace(url, files=_tls_files(written))
            client_context(url.files)
    if url.password is not None:
        return url
    password = _password(written, url)
    if password is not None and url.user is None:
        unusable(f"a password without a user: say who you are in the URL (mqtt://USER@{url.host})")
    return replace(url, password=password)


def _tls_files(written: "Broker") -> TlsFiles:
    """The given files; those of the configuration where none is given."""
    ca, cert, key = (
        None if file is None else str(Path(file).expanduser())
        for file in (written.tls_ca, written.tls_cert, written.tls_key)
    )
    given = _given.tls
    if given.cert is not None or given.key is not None:
        cert, key = given.cert, given.key
    return TlsFiles(given.ca or ca, cert, key)


def _password(written: "Broker", url: BrokerUrl) -> str | None:
    """From the option, the environment, or, for a URL with a user, the configuration."""
    if _given.password_file is not None:
        return _first_line(_given.password_file)
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if written.password_file is None or url.user is None:
        return None
    return _first_line(Path(written.password_file).expanduser())


def _first_line(path: Path) -> str:
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
