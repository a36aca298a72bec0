"""The interface of access control: the broker calls it, ``engine.bus`` implements it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.mqtt.packets import Connect


@dataclass(frozen=True, eq=False)
class Grant:
    """The rights of an admitted client. The functions take a topic; ``may_subscribe`` takes a topic filter.

    ``may_clear`` allows an empty retained message, which deletes the retained one, on a topic that
    ``may_publish`` forbids. Only one connected client may hold a given ``exclusive`` name. A ``trusted``
    client is exempt from the rate limit and from backpressure; a ``reserved`` client is exempt from the
    limits on connections, memory and retained messages.
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
        """Return the rights of a client that sent this CONNECT. Raises ``packets.Refused``."""
        ...

    def may_retain(self, topic: str) -> bool:
        """Return whether messages on a topic are retained if their RETAIN flag is set."""
        ...
