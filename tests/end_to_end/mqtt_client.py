"""An MQTT client that shares nothing with ours: paho and msgpack."""

import secrets
import threading
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import msgpack
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from vmqtui.testing import wait_until

Message = dict[str, Any]


class Reader:
    """Everything published of one host, in order, and requests to it."""

    def __init__(self, url: str, host: str) -> None:
        self.host = host
        self.name = "e2e-" + secrets.token_hex(6)
        self.messages: dict[str, list[Message]] = defaultdict(list)
        self.retained: dict[str, Message] = {}
        self.lost = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=self.name)
        self._client.on_message = self._keep
        self._client.on_disconnect = lambda *_: self.lost.set()
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        broker = urlsplit(url)
        assert broker.hostname
        assert broker.port
        self._client.username_pw_set(broker.username, broker.password)
        self._client.connect(broker.hostname, broker.port)
        self._client.subscribe(
            [(f"vmq/v1/{host}/{kind}", 0 if kind == "stats" else 1) for kind in ("status", "config", "event")]
            + [(f"vmq/v1/{host}/stats", 0), (f"vmq/v1/{host}/response/{self.name}", 1)]
        )
        self._client.loop_start()
        assert subscribed.wait(60)

    def _keep(self, client: Client, user: object, message: MQTTMessage) -> None:
        kind = message.topic.split("/")[3]
        content = msgpack.unpackb(message.payload)
        if message.retain:
            self.retained[kind] = content
        self.messages[kind].append(content)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, payload: bytes) -> None:
        self._client.publish(f"vmq/v1/{self.host}/request/{self.name}", payload, qos=1)

    def answers(self, request_id: str) -> list[Message]:
        return [each for each in self.messages["response"] if each["id"] == request_id]

    def send(self, request: Message) -> Message:
        """Publish a request as it is, and give the answer that comes next for its id."""
        before = len(self.answers(request["id"]))
        self.publish(msgpack.packb(request))
        wait_until(lambda: len(self.answers(request["id"])) > before, what=f"answer to {request}")
        return self.answers(request["id"])[before]

    def ask(self, op: str, **params: object) -> Message:
        return self.send({"id": secrets.token_hex(8), "op": op, "params": params})

    def ok(self, op: str, **params: object) -> Message:
        """The result of a request that must succeed."""
        answer = self.ask(op, **params)
        assert answer["status"] == "ok", answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def last(self, kind: str) -> Message:
        wait_until(lambda: self.messages[kind], what=f"a message of {kind}")
        return self.messages[kind][-1]

    def next_stats(self) -> Message:
        """Stats that were read after this call."""
        seen = self.last("stats")["seq"]
        wait_until(lambda: self.last("stats")["seq"] > seen + 1, what="further stats")
        return self.last("stats")

    def queue(self, adapter: str, queue_id: int) -> Message:
        """A queue as ``query_queue`` gives it."""
        return self.ok("query_queue", adapter=adapter, queue_id=queue_id)

    def states(self, adapter: str) -> dict[int, str]:
        queues = self.ok("enum_queues", adapter=adapter)["queues"]
        return {each["queue_id"]: each["state"] for each in queues}
