"""Who may come in: whoever has the token, at this address, from this address's own pages; pure.

A web server on loopback is reached by every user of the machine and by every page in their browsers. The
token keeps users out; Host keeps out names that were made to lead here (DNS rebinding); Origin keeps out
other pages, whose requests would carry the cookie.
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
    """An address that can't be served at; the text is a sentence."""


@dataclass(frozen=True)
class Gate:
    """What a request must show. ``origins`` are the addresses it serves at; people are told the first."""

    token: str
    origins: tuple[str, ...]

    @classmethod
    def at(cls, host: str, port: int, public_url: str | None = None) -> "Gate":
        """The gate of a server that listens there, reached by ``public_url`` too, where there is one.

        Raises ``AddressError``: beyond loopback nobody but its owner knows how a server is reached.
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
        """What a person opens."""
        return f"{self.origins[0]}/?token={self.token}"

    @property
    def secure(self) -> bool:
        """Whether it is reached by TLS, so that the cookie goes no other way."""
        return self.origins[0].startswith("https:")

    def fits(self, shown: str | None) -> bool:
        """Whether a token is the one; takes the same time for all that are not."""
        return shown is not None and hmac.compare_digest(shown.encode(errors="replace"), self.token.encode())

    def refusal(self, host: str | None, origin: str | None, *, own_page_only: bool) -> str | None:
        """Why a request with these headers is refused, in a sentence, or None.

        ``own_page_only``: it must come from a page of this server, as a websocket must; else a request
        without Origin, as people's own are, is let in.
        """
        if not any(host is not None and host.lower() == urlsplit(one).netloc for one in self.origins):
            return "this server does not go by that name"
        if origin is None:
            return "that is for this server's own page" if own_page_only else None
        return None if origin.lower() in self.origins else "that is for this server's own page"


def _names_host(host: str) -> bool:
    """Whether a browser would send it as it stands: a name in ASCII, or an address."""
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _origin(url: str) -> str:
    """Scheme, host and port as browsers write them. Raises ``AddressError``."""
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
