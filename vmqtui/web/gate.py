"""Access control of the web server by token, Host and Origin; pure functions without I/O.

Every user of the machine, and every web page in their browsers, can connect to a web server on loopback. The
token excludes other users. The check of Host excludes foreign names that resolve to this address (DNS
rebinding). The check of Origin excludes foreign pages, whose requests would carry the cookie.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from engine.bus.urls import is_loopback

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,252}")


class AddressError(ValueError):
    """The server can't use an address; the text is a sentence."""


@dataclass(frozen=True)
class Gate:
    """Checks requests. ``origins`` are the valid addresses of the server; the first one is shown to users."""

    token: str
    origins: tuple[str, ...]

    @classmethod
    def at(cls, host: str, port: int, public_url: str | None = None) -> "Gate":
        """Create the gate, with a new token, of a server that listens on ``host`` and ``port``.

        ``public_url`` is another address of the server. Raises ``AddressError`` if it is missing and ``host``
        is not on loopback: the server can't find out its own public address.
        """
        origins: list[str] = [] if public_url is None else [_origin(public_url)]
        if host == "localhost":
            names = ["localhost", "127.0.0.1", "[::1]"]
        elif is_loopback(host):
            names = [f"[{host}]" if ":" in host else host, "localhost"]
        elif public_url is None:
            raise AddressError(
                f"{host} is beyond loopback; say with --public-url how browsers reach it (https://name)"
            )
        else:
            names = []
        origins += [_origin(f"http://{name}:{port}") for name in names]
        return cls(secrets.token_urlsafe(32), tuple(dict.fromkeys(origins)))

    @property
    def url(self) -> str:
        """The address to open in a browser, with the token."""
        return f"{self.origins[0]}/?token={self.token}"

    @property
    def secure(self) -> bool:
        """Return whether browsers reach the server by TLS; if so, the cookie is restricted to TLS."""
        return self.origins[0].startswith("https:")

    def fits(self, shown: str | None) -> bool:
        """Return whether a token is correct; compares in constant time."""
        return shown is not None and hmac.compare_digest(shown.encode(errors="replace"), self.token.encode())

    def refusal(self, host: str | None, origin: str | None, *, own_page_only: bool) -> str | None:
        """Return a sentence on why a request with these headers is refused, or None if it is allowed.

        ``own_page_only``: the request must come from a page of this server, as a websocket must. Otherwise a
        request without Origin is allowed, because browsers omit it when the user opens an address.
        """
        if not any(host is not None and host.lower() == urlsplit(one).netloc for one in self.origins):
            return "this server does not go by that name"
        if origin is None:
            return "that is for this server's own page" if own_page_only else None
        return None if origin.lower() in self.origins else "that is for this server's own page"


def _names_host(host: str) -> bool:
    """Return whether browsers send a host unchanged: an ASCII name, or an address without scope."""
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _origin(url: str) -> str:
    """The origin of a URL (scheme, host, port) in the form that browsers send. Raises ``AddressError``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    whole = parts.scheme in _PORTS and _names_host(parts.hostname or "")
    if not whole or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise AddressError(f"{url!r} is not the address of a server (https://name or http://name:port)")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    at = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{at}"
