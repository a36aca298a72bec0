"""Which client gets which message: subscriptions, permissions, and retained messages."""

import logging
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from engine.logs import note
from engine.mqtt.access import AccessControl, Grant
from engine.mqtt.outbox import Message, Outbox
from engine.mqtt.packets import SUBSCRIPTION_REFUSED, Will
from engine.mqtt.subscriptions import Subscriptions, is_filter, matches

RETAINED_LIMIT = 4096
RETAINED_LIMIT_BYTES = 256 << 20

_TOPICS_REMEMBERED: Final = 1024

_log = logging.getLogger(__name__)


class RoutedClient(Protocol):
    """A connected client: its rights, its will, and where its messages go."""

    client: str
    grant: Grant
    will: Will | None
    outbox: Outbox

    def send(self, message: Message, qos: int) -> None:
        """Send a message to the client."""

    def close(self) -> None:
        """Release what is held for the client."""


class Router:
    """Hands each message to the clients that want it and may read it, at once and to each once."""

    def __init__(self, access: AccessControl) -> None:
        self.sessions: dict[str, RoutedClient] = {}
        """The connected clients, by id."""
        self.tried = 0
        """How often a topic filter, or a client's rights, was tried against a topic, which takes time."""
        self._access = access
        self._subscriptions = Subscriptions()
        self._readers: dict[str, list[tuple[RoutedClient, int]]] = {}  # of the topics published to lately
        self._retained: dict[str, tuple[Message, bool]] = {}
        self._retained_bytes = 0
        self._retained_count = 0

    def join(self, session: RoutedClient) -> None:
        """A client has come."""
        self.sessions[session.client] = session

    def leave(self, session: RoutedClient) -> None:
        """A client has gone; its will is published, if it left one."""
        del self.sessions[session.client]
        self._subscriptions.forget(session.client)
        self._readers.clear()
        session.close()
        if (will := session.will) is not None:
            message = Message(will.topic, will.payload, will.qos, None)
            self.publish(message, retain=will.retain, unbounded=session.grant.reserved)

    def subscribe(self, session: RoutedClient, topic_filter: str, qos: int) -> int:
        """Add a topic filter; the code that answers it."""
        if not is_filter(topic_filter) or not session.grant.may_subscribe(topic_filter):
            return SUBSCRIPTION_REFUSED
        self._subscriptions.add(session.client, topic_filter, qos)
        self._readers.clear()
        return qos

    def unsubscribe(self, session: RoutedClient, topic_filter: str) -> None:
        """Remove a topic filter, where the client has it."""
        if self._subscriptions.remove(session.client, topic_filter):
            self._readers.clear()

    def filters_of(self, session: RoutedClient) -> set[str]:
        """The topic filters of a client."""
        return self._subscriptions.filters_of(session.client)

    def publish(self, message: Message, *, retain: bool, unbounded: bool = False) -> None:
        """Hand a message to its readers; ``unbounded``: retained outside the bounds on that."""
        if retain and self._access.may_retain(message.topic):
            self._retain(message, unbounded)
        readers = self._readers.get(message.topic)
        if readers is None:
            readers = self._find_readers(message.topic)
        for session, qos in readers:
            session.send(message, min(qos, message.qos))

    def is_owned(self, topic: str) -> bool:
        """Whether a connected client that is exclusive may publish to a topic."""
        self.tried += len(self.sessions)
        grants = (session.grant for session in self.sessions.values())
        return any(grant.exclusive is not None and grant.may_publish(topic) for grant in grants)

    def kept(self, topic: str) -> Message | None:
        """The message that is retained on a topic."""
        message, _ = self._retained.get(topic, (None, False))
        return message

    def retained(self, filters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Topics of retained messages that match new filters, with the highest QoS of these."""
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
            kept = Message(topic, message.payload, message.qos, None)  # not one that its sender waits for
            self._retained[topic] = (kept, unbounded)
        else:
            self._retained.pop(topic, None)
