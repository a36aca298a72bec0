"""A client that shares nothing with the engine's (paho): messages to the ledger; it asks, and asks again."""

import secrets
import threading
from typing import Any

import msgpack
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.soak.lab import Address
from tests.soak.ledger import Ledger, Message

ANSWER_S = 40.0
REPEAT_S = 1.0
ANSWERS_KEPT = 1000


class Observer:
    """Follows a host over every restart of its broker."""

    def __init__(self, address: Address, host: str, ledger: Ledger) -> None:
        self.name = "soak-" + secrets.token_hex(8)
        self._host = host
        self._ledger = ledger
        self._answers: dict[str, Message] = {}
        self._answered = threading.Condition()
        client = self._client = Client(CallbackAPIVersion.VERSION2, client_id=self.name)
        if address.user:
            client.username_pw_set(address.user, address.password)
        client.on_connect = self._subscribe
        client.on_message = self._take
        client.reconnect_delay_set(1, 1)
        client.connect_async(address.name, address.port, keepalive=10)
        client.loop_start()

    def _subscribe(self, client: Client, *_: Any) -> None:
        topic = f"vmq/v1/{self._host}"
        client.subscribe([(f"{topic}/{kind}", 1) for kind in ("status", "config", "event")])
        client.subscribe([(f"{topic}/stats", 0), (f"{topic}/response/{self.name}", 1)])

    def _take(self, client: Client, user: object, message: MQTTMessage) -> None:
        kind = message.topic.split("/")[3]
        if kind != "response":
            self._ledger.take(kind, bytes(message.payload))
            return
        answer = msgpack.unpackb(message.payload)
        with self._answered:
            self._answers[answer["id"]] = answer
            while len(self._answers) > ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
            self._answered.notify_all()

    def publish(self, payload: bytes) -> None:
        """Send bytes as a request."""
        self._client.publish(f"vmq/v1/{self._host}/request/{self.name}", payload, qos=1)

    def send(self, request: Message, seconds: float = ANSWER_S) -> Message | None:
        """Ask, the same again and again until there is an answer; it is carried out once at most."""
        payload = msgpack.packb(request)
        with self._answered:
            self._answers.pop(request["id"], None)
        for _ in range(round(seconds / REPEAT_S)):
            if self._client.is_connected():
                self.publish(payload)
            with self._answered:
                if self._answered.wait_for(lambda: request["id"] in self._answers, REPEAT_S):
                    return self._answers[request["id"]]
        return None

    def ask(self, op: str, **params: Any) -> Message | None:
        return self.send({"id": secrets.token_hex(8), "op": op, "params": params})

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
