"""Topic names, and validation of the names in them."""

import re
import secrets

from engine.bus.errors import BadName

PREFIX = "vmq/v1"
NAME_PATTERN = r"[A-Za-z0-9_.-]{1,64}"

_NAME = re.compile(NAME_PATTERN)
_TOPIC = re.compile(rf"{PREFIX}/({NAME_PATTERN})/(status|config|stats|summary|event|advice)")


def valid_name(name: str) -> bool:
    """Return whether ``name`` is valid as HOST or CLIENT."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str, what: str) -> str:
    """Return ``name`` if it is valid, else raise ``BadName``; ``what`` names its kind in the error."""
    if not valid_name(name):
        raise BadName(f"{name!r} is not a {what} (1 to 64 of A-Z a-z 0-9 _ . -)")
    return name


def random_client(prefix: str = "vmq") -> str:
    """A client id that can't be guessed (128 random bits)."""
    return checked_name(f"{prefix}-{secrets.token_hex(16)}", "client id")


def status(host: str) -> str:
    """Topic of the retained status; ``host`` may be ``+``, as in the functions below."""
    return f"{PREFIX}/{host}/status"


def config(host: str) -> str:
    """Topic of the retained configuration."""
    return f"{PREFIX}/{host}/config"


def stats(host: str) -> str:
    """Topic of the statistics, QoS 0."""
    return f"{PREFIX}/{host}/stats"


def summary(host: str) -> str:
    """Topic of the retained summary, QoS 0."""
    return f"{PREFIX}/{host}/summary"


def event(host: str) -> str:
    """Topic of events, QoS 1."""
    return f"{PREFIX}/{host}/event"


def advice(host: str) -> str:
    """Topic of the advisor's retained findings."""
    return f"{PREFIX}/{host}/advice"


def telemetry(host: str, kind: str) -> str:
    """Topic of messages of a ``kind``, one of those that ``split_telemetry`` returns."""
    return f"{PREFIX}/{host}/{kind}"


def request(host: str, client: str) -> str:
    """Topic of requests from ``client`` to ``host``."""
    return f"{PREFIX}/{host}/request/{client}"


def response(host: str, client: str) -> str:
    """Topic of answers from ``host`` to ``client``."""
    return f"{PREFIX}/{host}/response/{client}"


def split_telemetry(topic: str) -> tuple[str, str] | None:
    """Return (host, kind) of a telemetry topic, such as status or stats; None for any other topic."""
    match = _TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def client_of(topic: str, host: str, kind: str) -> str | None:
    """Return CLIENT of a topic of ``host``, of ``kind`` request or response; None for any other topic."""
    prefix = f"{PREFIX}/{host}/{kind}/"
    client = topic.removeprefix(prefix)
    return client if topic.startswith(prefix) and valid_name(client) else None


def host_of_response(topic: str, client: str) -> str | None:
    """Return HOST of a response topic of ``client``; None for any other topic."""
    host = topic.removeprefix(f"{PREFIX}/").removesuffix(f"/response/{client}")
    return host if topic == response(host, client) and valid_name(host) else None
