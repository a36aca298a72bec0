"""TLS contexts: which CA certificates to trust, and which certificate to present."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from engine.bus.errors import BadTls
from engine.trusted import trusted_path


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: trusted ``ca`` certificates (None: the system's), a certificate and its key."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


NO_FILES = TlsFiles()


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For a client: requires a server certificate signed by ``ca`` for the host. Raises ``BadTls``."""
    ca = None if files.ca is None else _trusted(files.ca)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise BadTls(f"{ca}: does not hold CA certificates in PEM form") from None
    _present(context, files)
    return context


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server: with ``ca``, clients must present a certificate signed by it. Raises ``BadTls``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.cert is None:
        raise BadTls("a server needs a certificate and its key (--tls-cert, --tls-key)")
    _present(context, files)
    if files.ca is not None:
        try:
            context.load_verify_locations(_trusted(files.ca))
        except ssl.SSLError:
            raise BadTls(f"{files.ca}: does not hold CA certificates in PEM form") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _present(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.cert is None:
        if files.key is not None:
            raise BadTls(f"{files.key}: a key without its certificate (--tls-cert)")
        return
    _readable(files.cert, "a certificate")
    if files.key is not None:
        _readable(files.key, "a private key")
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError):
        both = files.cert if files.key is None else f"{files.cert} and {files.key}"
        raise BadTls(f"{both}: not a PEM certificate and its private key, without a passphrase") from None


def _no_passphrase() -> NoReturn:
    """Raise when OpenSSL requests a passphrase; without this callback, OpenSSL prompts on the terminal."""
    raise ValueError("the key has a passphrase")


def _trusted(path: str) -> str:
    """Check that no other user can write to a file of CA certificates; return its path."""
    try:
        return _readable(str(trusted_path(Path(path))), "CA certificates")
    except OSError as error:
        raise BadTls(f"{path}: {error.strerror or error}") from None


def _readable(path: str, what: str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadTls(f"{path}: {error.strerror or error}") from None
    if b"-----BEGIN " not in content:
        raise BadTls(f"{path}: does not hold {what} in PEM form")
    return path
