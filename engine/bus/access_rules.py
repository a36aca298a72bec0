"""Access rules, as data: which role may publish and read which topics.

The embedded broker applies them to every message; tests compare them with the configurations for other
brokers in docs/access.md. Roles are nested: an operator has the rights of a viewer, an engine those of both.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

from engine.bus import topics

Role = Literal["viewer", "operator", "engine"]
Action = Literal["publish", "read", "clear"]
""""clear": publish an empty retained message, which removes the retained one."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
TELEMETRY: Final = ("status", "config", "stats", "summary", "event", "advice")
RETAINED: Final = ("status", "config", "summary", "advice")
"""Kinds of messages that a broker retains; other messages are delivered but not retained."""

HOST: Final = "HOST"
CLIENT: Final = "CLIENT"


@dataclass(frozen=True)
class Rule:
    """Allows ``role``, and the roles above it, to perform ``action`` on ``topic``.

    In ``topic``, ``CLIENT`` stands for the client's own id, ``HOST`` for the host whose engine the client is,
    and ``+`` for any name.
    """

    role: Role
    action: Action
    topic: str


RULES: Final = (
    *(Rule("viewer", "read", f"{topics.PREFIX}/+/{kind}") for kind in TELEMETRY),
    Rule("viewer", "read", topics.response("+", CLIENT)),
    Rule("operator", "publish", topics.request("+", CLIENT)),
    *(Rule("operator", "clear", f"{topics.PREFIX}/+/{kind}") for kind in RETAINED),
    *(Rule("engine", "publish", f"{topics.PREFIX}/{HOST}/{kind}") for kind in TELEMETRY),
    Rule("engine", "publish", topics.response(HOST, "+")),
    Rule("engine", "read", topics.request(HOST, "+")),
)


@dataclass(frozen=True)
class Principal:
    """A client and its role; ``host`` is the host whose engine it is, if any."""

    role: Role
    client: str
    host: str | None = None


def may_publish(principal: Principal, topic: str) -> bool:
    """Return whether ``principal`` may publish to ``topic``, including by its will."""
    return any(_matches(allowed, topic) for allowed in _allowed(principal, "publish"))


def may_clear(principal: Principal, topic: str) -> bool:
    """Return whether ``principal`` may clear the retained message of ``topic``."""
    return any(_matches(allowed, topic) for allowed in _allowed(principal, "clear"))


def may_read(principal: Principal, topic: str) -> bool:
    """Return whether ``principal`` may receive messages on ``topic``, regardless of its topic filters."""
    return any(_matches(allowed, topic) for allowed in _allowed(principal, "read"))


def may_subscribe(principal: Principal, topic_filter: str) -> bool:
    """Return whether ``topic_filter`` matches a topic that ``principal`` may read; it receives no other."""
    return any(_overlap(allowed, topic_filter) for allowed in _allowed(principal, "read"))


@lru_cache(maxsize=1024)
def _allowed(principal: Principal, action: Action) -> tuple[str, ...]:
    rank = ROLES.index(principal.role)
    names = {CLIENT: principal.client, HOST: principal.host}
    allowed = []
    for rule in RULES:
        levels = [names.get(level, level) for level in rule.topic.split("/")]
        if rule.action == action and ROLES.index(rule.role) <= rank and None not in levels:
            allowed.append("/".join(map(str, levels)))
    return tuple(allowed)


def _matches(allowed: str, topic: str) -> bool:
    """Return whether a topic without wildcards matches a rule, where ``+`` stands for a valid name."""
    rule, levels = allowed.split("/"), topic.split("/")
    return len(rule) == len(levels) and all(
        mine == its or (mine == "+" and topics.valid_name(its))
        for mine, its in zip(rule, levels, strict=True)
    )


def _overlap(allowed: str, topic_filter: str) -> bool:
    rule, levels = allowed.split("/"), topic_filter.split("/")
    if levels[-1] == "#":
        levels = levels[:-1]
        if len(levels) > len(rule):
            return False
        rule = rule[: len(levels)]
    return len(rule) == len(levels) and all(
        "+" in (mine, its) or mine == its for mine, its in zip(rule, levels, strict=True)
    )
