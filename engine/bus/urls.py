"""Broker URLs: ``mqtt://[user[:password]@]host[:port]`` and ``mqtts://…``."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote, unquote, urlsplit

from engine.bus.errors import BadUrl
from engine.bus.tls import NO_FILES, TlsFiles

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}

_SHOWN = 256  # characters of an invalid URL in an error message
_FORM = "mqtt://[user[:password]@]host[:port] or mqtts://…"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can be reached only from this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class BrokerUrl:
    """Address of a broker, a user and TLS files. ``str()`` and ``repr()`` omit the password."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    files: TlsFiles = NO_FILES

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Parse a URL. User and password are percent-decoded; an IPv6 address must be in brackets.

        Raises ``BadUrl``; its text never contains the part before the ``@``.
        """
        text = text.strip()
        shown = text.rpartition("@")[2] if "@" in text else text
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
        try:
            text.encode()
        except UnicodeEncodeError:  # from bytes in the environment that are not UTF-8
            raise BadUrl(f"{shown!r} is not a broker URL: it is not UTF-8 text ({_FORM})") from None
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() not in DEFAULT_PORTS:
            raise BadUrl(f"{shown!r} is not a broker URL ({_FORM})")
        try:
            parts = urlsplit(f"//{rest}")
            host, port = parts.hostname, parts.port
            user = None if parts.username is None else unquote(parts.username, errors="strict")
            password = None if parts.password is None else unquote(parts.password, errors="strict")
        except ValueError:
            raise BadUrl(
                f"{shown!r} is not a broker URL: its host, port or escapes do not read ({_FORM})"
            ) from None
        if not host or any(c in "[]" or c.isspace() or not c.isprintable() for c in host):
            raise BadUrl(f"{shown!r} is not a broker URL: it names no host ({_FORM})")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise BadUrl(f"{shown!r} is not a broker URL: something follows the host and port ({_FORM})")
        if port == 0:
            raise BadUrl(f"{shown!r} is not a broker URL: 0 is not a port (1..65535)")
        if user == "" or "\0" in (user or "") + (password or ""):
            raise BadUrl(f"{shown!r} is not a broker URL: an empty user name or a NUL before the @ ({_FORM})")
        tls = scheme.lower() == "mqtts"
        return cls(host, port or DEFAULT_PORTS[scheme.lower()], tls, user, password)

    def __str__(self) -> str:
        return self._text(with_password=False)

    def with_password(self) -> str:
        """Return the complete URL with its password: for a file private to the user, never for a log."""
        return self._text(with_password=True)

    def _text(self, *, with_password: bool) -> str:
        user = "" if self.user is None else quote(self.user, safe="")
        if with_password and self.password is not None:
            user += ":" + quote(self.password, safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{'@' if user else ''}{host}:{self.port}"
