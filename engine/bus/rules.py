"""Who may publish and read what: the rules of access, as data.

The embedded broker asks them for every message; the configurations for other brokers that docs/access.md
shows are held to them by tests. Roles include each other: an engine may do what an operator may, an
operator what a viewer may.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

from engine.bus import topics

Role = Literal["viewer", "operator", "engine"]
Action = Literal["publish", "read", "clear"]
"""To clear is to publish no bytes, retained: a broker then forgets what it retained."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
TELEMETRY: Final = ("status", "config", "stats", "summary", "event", "advice")
RETAINED: Final = ("status", "config", "summary", "advice")
"""What a broker keeps for those who come later; anything else that says it is to be retained is not."""

HOST: Final = "HOST"
CLIENT: Final = "CLIENT"


@dataclass(frozen=True)
class Rule:
    """``role``, and those above it, may do ``action`` with ``topic``.

    In it ``CLIENT`` is the client's own id, ``HOST`` the host whose engine it is, ``+`` any.
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
class Party:
    """A client with its role; ``host`` is the one it is the engine of, if any."""

    role: Role
    client: str
    host: str | None = None


def may_publish(party: Party, topic: str) -> bool:
    """Whether ``party`` may publish to ``topic``, itself or by its will."""
    return any(_matches(allowed, topic) for allowed in _allowed(party, "publish"))


def may_clear(party: Party, topic: str) -> bool:
    """Whether ``party`` may clear what is retained on ``topic``."""
    return any(_matches(allowed, topic) for allowed in _allowed(party, "clear"))


def may_read(party: Party, topic: str) -> bool:
    """Whether a message on ``topic`` may be given to ``party``, whatever it has subscribed to."""
    return any(_matches(allowed, topic) for allowed in _allowed(party, "read"))


def may_subscribe(party: Party, topic_filter: str) -> bool:
    """Whether ``topic_filter`` matches anything that ``party`` may read; the rest is not given to it."""
    return any(_overlap(allowed, topic_filter) for allowed in _allowed(party, "read"))


@lru_cache(maxsize=1024)
def _allowed(party: Party, action: Action) -> tuple[str, ...]:
    rank = ROLES.index(party.role)
    names = {CLIENT: party.client, HOST: party.host}
    allowed = []
    for rule in RULES:
        levels = [names.get(level, level) for level in rule.topic.split("/")]
        if rule.action == action and ROLES.index(rule.role) <= rank and None not in levels:
            allowed.append("/".join(map(str, levels)))
    return tuple(allowed)


def _matches(allowed: str, topic: str) -> bool:
    """Whether a topic, which has no wildcards, fits; a level that ``+`` stands for is a name."""
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
