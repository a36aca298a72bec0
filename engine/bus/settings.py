"""What the embedded broker's process is told at its start: where to listen, and whom to let in."""

from dataclasses import dataclass
from typing import Final

import msgspec

from engine.bus.rules import Role
from engine.bus.tls import TlsFiles
from engine.bus.urls import is_loopback

USERS: Final[dict[str, Role]] = {"viewer": "viewer", "operator": "operator", "owner": "engine"}
"""Users with a password of the run, and what each may do."""

ENGINE: Final = "engine"
"""The user that the broker's own engine is; an account of that name would not be asked."""


class Account(msgspec.Struct, frozen=True):
    """A user of an accounts file: what it may do, and its password's hash (``hashed``)."""

    name: str
    role: Role
    hash: str


@dataclass(frozen=True)
class Listen:
    """Where an engine's own broker listens; port 0: a free one. As ``EmbeddedBroker`` has it."""

    host: str = "127.0.0.1"
    port: int = 0
    insecure: bool = False
    tls: TlsFiles | None = None
    accounts: tuple[Account, ...] = ()

    @property
    def public(self) -> bool:
        """Whether it is for other machines too; commands of this one then go by another port."""
        return self.tls is not None or not is_loopback(self.host)


class Guests(msgspec.Struct, frozen=True):
    """Who is let in: the engine of ``host``, the ``USERS`` and ``ENGINE`` by their passwords, ``accounts``,
    and, as ``anonymous``, who names no user.
    """

    host: str
    engine_client: str
    passwords: dict[str, str]
    accounts: list[Account] = []
    anonymous: Role | None = None


class Place(msgspec.Struct, frozen=True):
    """Where to listen; port 0: a free one. With ``tls`` nothing else is spoken there."""

    host: str
    port: int
    tls: TlsFiles | None = None


class Settings(msgspec.Struct, frozen=True):
    """All of it."""

    places: list[Place]
    guests: Guests
