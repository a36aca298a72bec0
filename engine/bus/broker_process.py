"""The embedded broker's process: ``engine.mqtt`` with the access rules of the bus.

Started by ``engine.bus.broker`` as ``python -m engine.bus.broker_process``. It reads ``BrokerSettings``, one
line of JSON, from stdin. It writes one line to stdout, ``{"ports": [n, …]}`` or ``{"error": "…"}``, then
its log records, each as a line of JSON. It ends when stdin is closed, which happens when the parent ends.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Final

import msgspec

from engine.bus import access_rules as rules
from engine.bus import topics
from engine.bus.access_rules import Principal, Role
from engine.bus.accounts import ENGINE, USERS, AccessSettings, Account, BrokerSettings, fits, hashed
from engine.bus.errors import BadTls
from engine.bus.tls import server_context
from engine.logs import FloodFilter, Relay
from engine.mqtt import packets
from engine.mqtt.access import Grant
from engine.mqtt.listener import Listener
from engine.mqtt.packets import Connect, Refused
from engine.signals import resume_when_orphaned

VIEWER_PACKET_LIMIT_BYTES = 64 << 10
OPERATOR_PACKET_LIMIT_BYTES = 2 << 20
PACKET_LIMIT_BYTES = 17 << 20

_PACKET_BYTES: Final[dict[Role, int]] = {
    "viewer": VIEWER_PACKET_LIMIT_BYTES,
    "operator": OPERATOR_PACKET_LIMIT_BYTES,
    "engine": PACKET_LIMIT_BYTES,
}
_TOPICS_REMEMBERED: Final = 64
_LEAVE_SECONDS = 3.0


class BrokerAccess:
    """Access control of the embedded broker: checks passwords and grants the rights of ``access_rules``."""

    def __init__(self, access: AccessSettings) -> None:
        self._access_settings = access
        self._accounts = {account.name: account for account in access.accounts}
        self._nobody = Account("", "viewer", hashed(secrets.token_hex())) if access.accounts else None
        """Has a random password that is checked for unknown names, so that refusing them takes as long."""
        self._known: dict[str, bytes] = {}
        """Digests of accepted passwords by account, because checking a password hash again costs 50 ms."""
        self._hashing = ThreadPoolExecutor(1)
        """A single thread, so that password guessing occupies only one processor."""

    async def admit(self, connect: Connect) -> Grant:
        """Return the rights of a client. Raises ``Refused``."""
        role = await self._role(connect)
        own = connect.user == ENGINE
        if own != (connect.client == self._access_settings.engine_client):
            raise Refused(packets.IDENTIFIER_REJECTED, "a client id that is another's")
        host = self._access_settings.host if own else None
        if role == "engine" and not own:
            host = self._claimed_host(connect)
        principal = Principal(role, connect.client, host)
        if connect.will is not None and not rules.may_publish(principal, connect.will.topic):
            raise Refused(packets.NOT_AUTHORIZED, "a will on a topic that this client may not publish to")
        return Grant(
            connect.client,
            role,
            may_publish=lru_cache(_TOPICS_REMEMBERED)(partial(rules.may_publish, principal)),
            may_clear=partial(self._may_clear, principal),
            may_subscribe=partial(rules.may_subscribe, principal),
            may_read=partial(rules.may_read, principal),
            packet_limit_bytes=_PACKET_BYTES[role],
            exclusive=None if host is None else f"an engine of {host}",
            trusted=host is not None,
            reserved=own,
        )

    def may_retain(self, topic: str) -> bool:
        """Return whether messages on a topic are retained."""
        host_and_kind = topics.split_telemetry(topic)
        return host_and_kind is not None and host_and_kind[1] in rules.RETAINED

    def _may_clear(self, principal: Principal, topic: str) -> bool:
        """Return whether the rules allow it; never for the broker's own host, whose engine is connected."""
        host, _ = topics.split_telemetry(topic) or (None, None)
        return host != self._access_settings.host and rules.may_clear(principal, topic)

    def _claimed_host(self, connect: Connect) -> str | None:
        """Return the host whose engine a client claims to be: the one in the status topic of its will."""
        topic = "" if connect.will is None else connect.will.topic
        host, kind = topics.split_telemetry(topic) or (None, None)
        return host if kind == "status" and host != self._access_settings.host else None

    async def _role(self, connect: Connect) -> Role:
        """Return the role of a user whose password is correct. Raises ``Refused``."""
        user, password = connect.user, connect.password
        if user is None:
            if self._access_settings.anonymous is None:
                raise Refused(packets.NOT_AUTHORIZED, "no user and no password")
            return self._access_settings.anonymous
        if (known := self._access_settings.passwords.get(user)) is not None:
            if password is not None and hmac.compare_digest(password, known.encode()):
                return USERS.get(user, "engine")
        else:
            account = self._accounts.get(user, self._nobody)
            if account is not None and await self._fits(password, account):
                return account.role
        raise Refused(packets.BAD_CREDENTIAL, "a wrong user or password")

    async def _fits(self, password: bytes | None, account: Account) -> bool:
        if password is None:
            return False
        digest = hashlib.sha256(password).digest()
        if hmac.compare_digest(self._known.get(account.name, b""), digest):
            return True
        event_loop = asyncio.get_running_loop()
        fitting = await event_loop.run_in_executor(self._hashing, fits, password, account.hash)
        if fitting:
            self._known[account.name] = digest
        return fitting


def _report(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def _serve(settings: BrokerSettings) -> None:
    listener = Listener(BrokerAccess(settings.access))
    ports = []
    for address in settings.addresses:
        try:
            context = None if address.tls is None else server_context(address.tls)
            ports.append(await listener.serve(address.host, address.port, context))
        except (OSError, BadTls) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number and number > 0 else str(error)
            _report({"error": f"cannot listen on {address.host}:{address.port}: {reason}"})
            os._exit(1)
    _report({"ports": ports})
    ended = asyncio.Event()
    threading.Thread(target=_await_end, args=(asyncio.get_running_loop(), ended), daemon=True).start()
    await ended.wait()
    await listener.flush()
    os._exit(0)


def _await_end(event_loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Wait until the parent closes stdin or ends, then request a stop; force it after ``_LEAVE_SECONDS``."""
    while sys.stdin.buffer.read(4096):
        pass
    event_loop.call_soon_threadsafe(ended.set)
    time.sleep(_LEAVE_SECONDS)  # a daemon thread: it dies with the process
    os._exit(1)


def main() -> None:
    """Run the broker until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resume_when_orphaned()
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=BrokerSettings)
    relay = Relay(sys.stdout.fileno())
    relay.addFilter(FloodFilter())
    logging.basicConfig(level=logging.INFO, handlers=[relay])
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
