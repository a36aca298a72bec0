"""The interface of access control: the broker calls it, ``engine.bus`` implements it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.mqtt.packets import Connect


@dataclass(frozen=True, eq=False)
class Grant:
    """The rights of an admitted client. The functions take a topic, ``may_subscribe`` a topic filter.

    ``may_clear``: publish an empty retained message, which clears the retained one, on a topic that the
    client may not publish to otherwise. ``exclusive`` is a name that one connected client may hold at a time.
    A ``trusted`` client has no rate limit. A ``reserved`` client is admitted even when the broker is full.
    """

    client: str
    role: str
    may_publish: Callable[[str], bool]
    may_clear: Callable[[str], bool]
    may_subscribe: Callable[[str], bool]
    may_read: Callable[[str], bool]
    packet_limit_bytes: int
    exclusive: str | None = None
    trusted: bool = False
    reserved: bool = False


class AccessControl(Protocol):
    """Decides which clients connect, with which rights."""

    async def admit(self, connect: Connect) -> Grant:
        """Identify a client by its CONNECT. Raises ``packets.Refused``."""
        ...

    def may_retain(self, topic: str) -> bool:
        """Whether messages of a topic are retained where their sender asks for it."""
        ...
