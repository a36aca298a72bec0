"""Print the receive rate of every queue of a host. It needs paho-mqtt and msgpack, and nothing of vmqtui.

vmqtui engine                         # its first line is URL
python stats_consumer.py URL --readings 3
"""

import argparse
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

import msgpack
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

Key = tuple[str, int, int]
"""Adapter, queue id, generation: a queue that was freed and one that has its id now are two."""


class Consumer:
    """Reads the configuration and the stats of all hosts; prints a line for each queue and reading."""

    def __init__(self, url: str, readings: int) -> None:
        self.left = readings
        self.refused = ""
        self._before: dict[str, dict[str, Any]] = {}  # the last reading of each host
        self._names: dict[str, dict[Key, str]] = {}
        self._url = urlsplit(url)
        self._client = Client(CallbackAPIVersion.VERSION2)
        if self._url.username is not None:
            self._client.username_pw_set(unquote(self._url.username), unquote(self._url.password or ""))
        if self._url.scheme == "mqtts":
            self._client.tls_set()
        self._client.on_connect = self._subscribe
        self._client.on_message = self._read

    def run(self) -> None:
        """Read until enough readings have come; paho connects again where the broker was away."""
        default_port = 8883 if self._url.scheme == "mqtts" else 1883
        self._client.connect(self._url.hostname or "", self._url.port or default_port)
        self._client.loop_forever()

    def _subscribe(
        self, client: Client, user: object, flags: object, reason: Any, properties: object
    ) -> None:
        if reason.is_failure:
            self.refused = str(reason)
            client.disconnect()
        else:  # here, and not before: a new connection has no subscriptions
            client.subscribe([("vmq/v1/+/config", 1), ("vmq/v1/+/stats", 0)])

    def _read(self, client: Client, user: object, message: MQTTMessage) -> None:
        _, _, host, kind = message.topic.split("/")
        content = msgpack.unpackb(message.payload)
        if kind == "config":
            self._names[host] = {
                (adapter["name"], queue["queue_id"], queue["generation"]): queue["name"]
                for adapter in content["adapters"]
                for queue in adapter["queues"]
            }
        elif content["schema"] == "vmq.stats/1" and self.left:
            self._print_rates(host, content)
            if not self.left:
                client.disconnect()

    def _print_rates(self, host: str, reading: dict[str, Any]) -> None:
        before = self._before.get(host)
        self._before[host] = reading
        if before is None or reading["seq"] < before["seq"]:  # the first one, or the engine is a new one
            return
        seconds = (reading["sim_time_ns"] - before["sim_time_ns"]) / 1e9
        if not seconds:
            return
        then, names = rows(before), self._names.get(host, {})
        for key, row in rows(reading).items():
            frames, drops = (
                rate(row[name], then.get(key, {}).get(name, 0), seconds)
                for name in ("received_frames", "dropped_no_buffer")
            )
            name = names.get(key, f"queue {key[1]}")
            print(f"{host} {key[0]} {name}: {frames} frames/s, {drops} dropped/s", flush=True)
        self.left -= 1


def rate(now: int | None, before: int | None, seconds: float) -> str:
    """Return the growth of a counter per second; a measured host may not know it (null), which is no 0."""
    return "–" if now is None or before is None else f"{(now - before) / seconds:.0f}"


def rows(reading: dict[str, Any]) -> dict[Key, dict[str, int | None]]:
    """Turn the columns of a reading into one row for each queue."""
    found = {}
    for adapter, stats in reading["adapters"].items():
        columns = stats["queues"]
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            found[adapter, row["id"], row["generation"]] = row
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the receive rate of every queue.")
    parser.add_argument("url", help="mqtt://user:password@host:port")
    parser.add_argument("--readings", type=int, default=-1, help="end after so many (default: never)")
    given = parser.parse_args()
    if not urlsplit(given.url).hostname:
        parser.error(f"{given.url!r} is not a URL of a broker (mqtt://user:password@host:port)")
    consumer = Consumer(given.url, given.readings)
    try:
        consumer.run()
    except (OSError, KeyboardInterrupt) as error:
        sys.exit(f"error: {error}" if isinstance(error, OSError) else 130)
    sys.exit(f"error: the broker refuses: {consumer.refused}" if consumer.refused else 0)
