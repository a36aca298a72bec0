"""Routes messages to clients: topic filters (MQTT 4.7), permissions, and retained messages."""

import logging
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from engine.logs import note
from engine.mqtt.access import AccessControl, Grant
from engine.mqtt.outbox import Message, Outbox
from engine.mqtt.packets import SUBSCRIPTION_REFUSED, Will

RETAINED_LIMIT = 4096
RETAINED_LIMIT_BYTES = 256 << 20

_TOPICS_REMEMBERED: Final = 1024

_log = logging.getLogger(__name__)


class RoutedClient(Protocol):
    """A connected client: its rights, its will, and the queue of messages to it."""

    client: str
    grant: Grant
    will: Will | None
    outbox: Outbox

    def send(self, message: Message, qos: int) -> None:
        """Send a message to the client."""

    def close(self) -> None:
        """Release the client's queued messages and memory."""


class Router:
    """Delivers each message once to every client that has a matching filter and may read the topic."""

    def __init__(self, access: AccessControl) -> None:
        self.sessions: dict[str, RoutedClient] = {}
        """The connected clients, by client id."""
        self.tried = 0
        """Number of comparisons of a topic with a filter or a client's rights: the cost of routing."""
        self._access = access
        self._subscriptions = Subscriptions()
        self._readers: dict[str, list[tuple[RoutedClient, int]]] = {}  # cached for recently published topics
        self._retained: dict[str, tuple[Message, bool]] = {}
        self._retained_bytes = 0
        self._retained_count = 0

    def join(self, session: RoutedClient) -> None:
        """Add a client."""
        self.sessions[session.client] = session

    def leave(self, session: RoutedClient) -> None:
        """Remove a client; publish its will, if it has one."""
        del self.sessions[session.client]
        self._subscriptions.forget(session.client)
        self._readers.clear()
        session.close()
        if (will := session.will) is not None:
            message = Message(will.topic, will.payload, will.qos, None)
            self.publish(message, retain=will.retain, unbounded=session.grant.reserved)

    def subscribe(self, session: RoutedClient, topic_filter: str, qos: int) -> int:
        """Add a topic filter; return its SUBACK code."""
        if not is_filter(topic_filter) or not session.grant.may_subscribe(topic_filter):
            return SUBSCRIPTION_REFUSED
        self._subscriptions.add(session.client, topic_filter, qos)
        self._readers.clear()
        return qos

    def unsubscribe(self, session: RoutedClient, topic_filter: str) -> None:
        """Remove a topic filter of a client, if present."""
        if self._subscriptions.remove(session.client, topic_filter):
            self._readers.clear()

    def filters_of(self, session: RoutedClient) -> set[str]:
        """The topic filters of a client."""
        return self._subscriptions.filters_of(session.client)

    def publish(self, message: Message, *, retain: bool, unbounded: bool = False) -> None:
        """Deliver a message to its readers; ``unbounded`` skips the limits on retained messages."""
        if retain and self._access.may_retain(message.topic):
            self._retain(message, unbounded)
        readers = self._readers.get(message.topic)
        if readers is None:
            readers = self._find_readers(message.topic)
        for session, qos in readers:
            session.send(message, min(qos, message.qos))

    def is_owned(self, topic: str) -> bool:
        """Return whether a connected client with an ``exclusive`` name may publish to a topic."""
        self.tried += len(self.sessions)
        grants = (session.grant for session in self.sessions.values())
        return any(grant.exclusive is not None and grant.may_publish(topic) for grant in grants)

    def kept(self, topic: str) -> Message | None:
        """Return the retained message of a topic, or None."""
        message, _ = self._retained.get(topic, (None, False))
        return message

    def retained(self, filters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Yield each retained topic that matches ``filters``, with the highest QoS of those that match."""
        self.tried += len(filters) * len(self._retained)
        for topic in self._retained:
            levels = topic.split("/")
            fitting = [qos for one, qos in filters.items() if matches(one, levels)]
            if fitting:
                yield topic, max(fitting)

    def _find_readers(self, topic: str) -> list[tuple[RoutedClient, int]]:
        self.tried += self._subscriptions.filter_count
        found = []
        for client, qos in self._subscriptions.matching(topic).items():
            session = self.sessions[client]
            if session.grant.may_read(topic):
                found.append((session, qos))
        if len(self._readers) >= _TOPICS_REMEMBERED:
            self._readers.clear()
        self._readers[topic] = found
        return found

    def _retain(self, message: Message, unbounded: bool) -> None:
        topic, size_bytes = message.topic, len(message.payload)
        earlier, was_unbounded = self._retained.get(topic, (None, True))
        before_bytes = 0 if earlier is None or was_unbounded else len(earlier.payload)
        count = self._retained_count - (not was_unbounded)
        if size_bytes and not unbounded:
            after_bytes = self._retained_bytes + size_bytes - before_bytes
            if count >= RETAINED_LIMIT or after_bytes > RETAINED_LIMIT_BYTES:
                why = "no more than this is retained"
                note(_log, logging.WARNING, "retain_refused", topic=topic, why=why)
                return
            self._retained_bytes = after_bytes
            self._retained_count = count + 1
        else:
            self._retained_bytes -= before_bytes
            self._retained_count = count
        if size_bytes:
            kept = Message(topic, message.payload, message.qos, None)  # no sender to put on hold
            self._retained[topic] = (kept, unbounded)
        else:
            self._retained.pop(topic, None)


class Subscriptions:
    """The topic filters of each client, with the requested QoS."""

    def __init__(self) -> None:
        self._of_client: dict[str, dict[str, int]] = {}
        self._of_filter: dict[str, dict[str, int]] = {}

    def add(self, client: str, topic_filter: str, qos: int) -> None:
        """Add a filter, or change its QoS."""
        self._of_client.setdefault(client, {})[topic_filter] = qos
        self._of_filter.setdefault(topic_filter, {})[client] = qos

    def remove(self, client: str, topic_filter: str) -> bool:
        """Remove a filter of a client; return whether the client had it."""
        filters = self._of_client.get(client, {})
        if topic_filter not in filters:
            return False
        del filters[topic_filter]
        if not filters:
            del self._of_client[client]
        clients = self._of_filter[topic_filter]
        del clients[client]
        if not clients:
            del self._of_filter[topic_filter]
        return True

    def forget(self, client: str) -> None:
        """Remove all filters of a client."""
        for topic_filter in list(self._of_client.get(client, ())):
            self.remove(client, topic_filter)

    @property
    def filter_count(self) -> int:
        """Number of distinct filters across all clients."""
        return len(self._of_filter)

    def filters_of(self, client: str) -> set[str]:
        """The filters of a client."""
        return set(self._of_client.get(client, ()))

    def matching(self, topic: str) -> dict[str, int]:
        """Return the clients with matching filters, each with the highest QoS of those filters."""
        levels = topic.split("/")
        found: dict[str, int] = {}
        for topic_filter, clients in self._of_filter.items():
            if matches(topic_filter, levels):
                for client, qos in clients.items():
                    found[client] = max(qos, found.get(client, 0))
        return found


def is_filter(topic_filter: str) -> bool:
    """Return whether wildcards are valid: ``+`` is a whole level, ``#`` is the last level (MQTT 4.7.1)."""
    *levels, last = topic_filter.split("/")
    return all(level == "+" or not set("+#") & set(level) for level in levels) and (
        last in ("+", "#") or not set("+#") & set(last)
    )


def matches(topic_filter: str, levels: list[str]) -> bool:
    """Return whether a filter matches a topic, given as its levels.

    A leading wildcard does not match a topic that begins with ``$`` (MQTT 4.7.2).
    """
    wanted = topic_filter.split("/")
    if levels[0][:1] == "$" and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted.pop()
        if len(levels) < len(wanted):
            return False
    elif len(wanted) != len(levels):
        return False
    return all(mine in ("+", its) for mine, its in zip(wanted, levels, strict=False))
