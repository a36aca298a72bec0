"""amqtt as our listener uses it: topics held to the rules, a message sent once, what is retained bounded."""

import asyncio
import logging
from collections import deque
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError
from amqtt.session import Session

from engine.bus import rules, topics
from engine.bus.rules import Party
from engine.bus.subscriptions import Subscriptions, is_filter
from engine.logs import note

RETAINED_LIMIT = 3072
RETAINED_LIMIT_BYTES = 256 << 20

_REFUSED = 0x80
_GRANTED_QOS = 1

_log = logging.getLogger("engine.bus.broker")


class CheckedBroker(Broker):  # type: ignore[misc]
    """amqtt, believing our listener about who may connect, and ``rules`` about topics.

    What is retained of ``own_host``, the host of the engine it is for, is in nobody's bound.
    """

    def __init__(self, config: BrokerConfig, own_host: str = "") -> None:
        super().__init__(config)
        self._own_host = own_host
        self.parties: dict[str, Party] = {}
        """The connected clients, by id."""
        self._wanted = Subscriptions()
        self._sending: set[asyncio.Task[Any]] = set()
        self._retained_bytes = 0

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        party = self.parties.get(session.client_id or "")
        if party is None:
            return False
        if action == Action.RECEIVE:
            return rules.may_read(party, topic)
        asks = rules.may_publish if action == Action.PUBLISH else rules.may_subscribe
        if not asks(party, topic):
            fields = {"client": party.client, "role": party.role, "topic": topic}
            note(_log, logging.WARNING, f"{action.value}_refused", **fields)
            return False
        return True

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        return True

    async def retain_message(
        self, source_session: Session | None, topic_name: str | None, data: Any, qos: int | None = None
    ) -> None:
        topic = topic_name or ""
        host_and_kind = topics.split_telemetry(topic)
        if host_and_kind is None or host_and_kind[1] not in rules.RETAINED:
            return
        if host_and_kind[0] == self._own_host:
            await super().retain_message(source_session, topic, data, qos)
            return
        kept = self._retained_messages
        before = len(kept[topic].data) if topic in kept else 0
        after = self._retained_bytes + len(data or b"") - before
        if data and (after > RETAINED_LIMIT_BYTES or (topic not in kept and len(kept) >= RETAINED_LIMIT)):
            note(_log, logging.WARNING, "retain_refused", topic=topic, why="no more than this is retained")
            return
        self._retained_bytes = after
        await super().retain_message(source_session, topic, data, qos)

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        topic_filter, qos = subscription
        if not is_filter(topic_filter) or not await self._topic_filtering(
            session, topic_filter, Action.SUBSCRIBE
        ):
            return _REFUSED
        granted = min(qos, _GRANTED_QOS)
        self._wanted.add(session.client_id, topic_filter, granted)
        return granted

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        return int(self._wanted.remove(session.client_id, a_filter))

    async def _del_all_subscriptions(self, session: Session) -> None:
        if self._sessions.get(session.client_id, (session,))[0] is session:
            self._wanted.forget(session.client_id)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        topic_filter, qos = subscription
        await super()._publish_retained_messages_for_subscription(
            (topic_filter, min(qos, _GRANTED_QOS)), session
        )

    async def _run_broadcast(self, _: deque[asyncio.Task[Any]]) -> None:
        """Send the next message to whoever wants it and may read it."""
        message = await self._broadcast_queue.get()
        topic = message["topic"]
        most = min(message.get("qos", _GRANTED_QOS), _GRANTED_QOS)
        for client, qos in self._wanted.wanting(topic, self._addressed(topic)).items():
            party, (session, handler) = self.parties.get(client), self._sessions.get(client, (None, None))
            if party is None or handler is None or not rules.may_read(party, topic):
                continue
            if session.transitions.state == "connected":
                sending = handler.mqtt_publish(topic, message["data"], min(qos, most), retain=False)
                task = asyncio.ensure_future(sending)
                self._sending.add(task)
                task.add_done_callback(self._sent)

    def _addressed(self, topic: str) -> list[str] | None:
        """The only clients that a request or an answer can be for; None: everybody may want it."""
        match topic.split("/"):
            case [_, _, _, "response", client]:
                return [client]
            case [_, _, host, "request", _]:
                return [party.client for party in self.parties.values() if party.host == host]
        return None

    def _sent(self, task: asyncio.Task[Any]) -> None:
        self._sending.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, AMQTTError | TimeoutError | OSError):
            _log.error("message_not_sent", exc_info=error)

    def queued(self, client: str) -> int:
        """Messages of ``client`` that are not yet on their way to the subscribers."""
        session, _ = self._sessions.get(client, (None, None))
        return 0 if session is None else int(session.delivered_message_queue.qsize())

    def unanswered(self, client: str) -> int:
        """Packets of ``client`` with topic filters that wait to be answered."""
        _, handler = self._sessions.get(client, (None, None))
        if handler is None:
            return 0
        return int(handler._pending_subscriptions.qsize() + handler._pending_unsubscriptions.qsize())

    def give_up_acknowledgements(self, client: str) -> None:
        """Have nothing wait for a client that is gone: amqtt would for 5 s a message, and hold its id."""
        _, handler = self._sessions.get(client, (None, None))
        if handler is not None:
            handler._stop_waiters()

    def queued_in_all(self) -> int:
        """Messages that every subscription still has to be tried for."""
        return int(self._broadcast_queue.qsize())
