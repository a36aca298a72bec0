"""What the broker asks of the rules of access that it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.mqtt.packets import Connect


@dataclass(frozen=True, eq=False)
class Grant:
    """What an admitted client may do. The functions take a topic, ``may_subscribe`` a topic filter.

    ``may_clear``: publish no bytes, retained, where it may not publish anything else.
    ``exclusive`` is a name that one connected client may hold at a time. A ``trusted`` client publishes at
    any rate. ``reserved`` is the client that the broker is for: there is always room for it.
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
    """Rules of access."""

    async def admit(self, connect: Connect) -> Grant:
        """Identify a client by its CONNECT. Raises ``packets.Refused``."""
        ...

    def may_retain(self, topic: str) -> bool:
        """Whether messages of a topic are retained where their sender asks for it."""
        ...
