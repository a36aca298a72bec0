"""Who has subscribed to what: topic filters of clients, and whom a topic fits.

amqtt's own table keeps every filter that anybody ever unsubscribed from, sends a message once for each filter
that fits, and forgets the QoS of a filter that is subscribed again.
"""

from collections.abc import Iterable


class Subscriptions:
    """The topic filters of each client, with the QoS it asked for."""

    def __init__(self) -> None:
        self._of_client: dict[str, dict[str, int]] = {}
        self._of_filter: dict[str, dict[str, int]] = {}

    def add(self, client: str, topic_filter: str, qos: int) -> None:
        """Take note of a filter; of one that is there already, of its QoS."""
        self._of_client.setdefault(client, {})[topic_filter] = qos
        self._of_filter.setdefault(topic_filter, {})[client] = qos

    def remove(self, client: str, topic_filter: str) -> bool:
        """Forget a filter of a client; whether it had it."""
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
        """Forget a client."""
        for topic_filter in list(self._of_client.get(client, ())):
            self.remove(client, topic_filter)

    def wanting(self, topic: str, among: Iterable[str] | None = None) -> dict[str, int]:
        """Clients with a filter that fits a topic, each once, and the highest QoS of these filters.

        ``among``: only these few clients, which spares looking at all filters of everybody.
        """
        levels = topic.split("/")
        found: dict[str, int] = {}
        if among is not None:
            for client in among:
                fitting = [qos for one, qos in self._of_client.get(client, {}).items() if fits(one, levels)]
                if fitting:
                    found[client] = max(fitting)
            return found
        for topic_filter, clients in self._of_filter.items():
            if fits(topic_filter, levels):
                for client, qos in clients.items():
                    found[client] = max(qos, found.get(client, 0))
        return found


def is_filter(topic_filter: str) -> bool:
    """Whether wildcards stand where they may: ``+`` as a level, ``#`` as the last one (MQTT 4.7.1)."""
    *levels, last = topic_filter.split("/")
    return all(level == "+" or not set("+#") & set(level) for level in levels) and (
        last in ("+", "#") or not set("+#") & set(last)
    )


def fits(topic_filter: str, levels: list[str]) -> bool:
    """Whether a filter matches the topic with these levels (MQTT 4.7; no topic here begins with ``$``)."""
    wanted = topic_filter.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        if len(levels) < len(wanted):
            return False
    elif len(wanted) != len(levels):
        return False
    return all(mine in ("+", its) for mine, its in zip(wanted, levels, strict=False))
