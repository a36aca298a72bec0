"""Topic filters of clients, and which of them match a topic (MQTT 4.7)."""


class Subscriptions:
    """The topic filters of each client, with the QoS it asked for."""

    def __init__(self) -> None:
        self._of_client: dict[str, dict[str, int]] = {}
        self._of_filter: dict[str, dict[str, int]] = {}

    def add(self, client: str, topic_filter: str, qos: int) -> None:
        """Add a filter, or change its QoS."""
        self._of_client.setdefault(client, {})[topic_filter] = qos
        self._of_filter.setdefault(topic_filter, {})[client] = qos

    def remove(self, client: str, topic_filter: str) -> bool:
        """Remove a filter of a client; whether it had it."""
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
        """How many different filters all clients have."""
        return len(self._of_filter)

    def filters_of(self, client: str) -> set[str]:
        """The filters of a client."""
        return set(self._of_client.get(client, ()))

    def matching(self, topic: str) -> dict[str, int]:
        """Clients with a filter that matches a topic, each once, and the highest QoS of these filters."""
        levels = topic.split("/")
        found: dict[str, int] = {}
        for topic_filter, clients in self._of_filter.items():
            if matches(topic_filter, levels):
                for client, qos in clients.items():
                    found[client] = max(qos, found.get(client, 0))
        return found


def is_filter(topic_filter: str) -> bool:
    """Whether wildcards stand where they may: ``+`` as a level, ``#`` as the last one (MQTT 4.7.1)."""
    *levels, last = topic_filter.split("/")
    return all(level == "+" or not set("+#") & set(level) for level in levels) and (
        last in ("+", "#") or not set("+#") & set(last)
    )


def matches(topic_filter: str, levels: list[str]) -> bool:
    """Whether a filter matches the topic with these levels.

    A wildcard at the beginning matches no topic that begins with ``$`` (MQTT 4.7.2).
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
