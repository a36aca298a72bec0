"""Which clients may connect to the embedded broker, and in which role: decided by their CONNECT."""

import asyncio
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Final

from engine.bus import rules, topics
from engine.bus.accounts import fits, hashed
from engine.bus.rules import Party, Role
from engine.bus.settings import ENGINE, USERS, Account, Guests
from engine.mqtt import packets
from engine.mqtt.access import Grant
from engine.mqtt.packets import Connect, Refused

VIEWER_PACKET_LIMIT_BYTES = 64 << 10
OPERATOR_PACKET_LIMIT_BYTES = 2 << 20
PACKET_LIMIT_BYTES = 17 << 20

_PACKET_BYTES: Final[dict[Role, int]] = {
    "viewer": VIEWER_PACKET_LIMIT_BYTES,
    "operator": OPERATOR_PACKET_LIMIT_BYTES,
    "engine": PACKET_LIMIT_BYTES,
}
_TOPICS_REMEMBERED: Final = 64


class Gate:
    """The embedded broker's rules of access: ``rules``, for users with a password."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self._accounts = {account.name: account for account in guests.accounts}
        self._nobody = Account("", "viewer", hashed(secrets.token_hex())) if guests.accounts else None
        """Its password is random: a name without an account takes as long to refuse as one with."""
        self._known: dict[str, bytes] = {}
        """Digest of the password that an account came in with: hashing it again would cost 50 ms."""
        self._hashing = ThreadPoolExecutor(1)
        """One at a time: guessing passwords keeps at most one processor busy."""

    async def admit(self, connect: Connect) -> Grant:
        """What a client may do. Raises ``Refused``."""
        role = await self._role(connect)
        own = connect.user == ENGINE
        if own != (connect.client == self._guests.engine_client):
            raise Refused(packets.IDENTIFIER_REJECTED, "a client id that is another's")
        host = self._guests.host if own else None
        if role == "engine" and not own:
            host = self._claimed_host(connect)
        party = Party(role, connect.client, host)
        if connect.will is not None and not rules.may_publish(party, connect.will.topic):
            raise Refused(packets.NOT_AUTHORIZED, "a will on a topic that this client may not publish to")
        return Grant(
            connect.client,
            role,
            may_publish=lru_cache(_TOPICS_REMEMBERED)(partial(rules.may_publish, party)),
            may_clear=partial(self._may_clear, party),
            may_subscribe=partial(rules.may_subscribe, party),
            may_read=partial(rules.may_read, party),
            packet_limit_bytes=_PACKET_BYTES[role],
            exclusive=None if host is None else f"an engine of {host}",
            trusted=host is not None,
            reserved=own,
        )

    def may_retain(self, topic: str) -> bool:
        """Whether a topic's messages are kept for clients that come later."""
        host_and_kind = topics.split_telemetry(topic)
        return host_and_kind is not None and host_and_kind[1] in rules.RETAINED

    def _may_clear(self, party: Party, topic: str) -> bool:
        """By the rules, and not of the host whose engine the broker is for: that is there."""
        host, _ = topics.split_telemetry(topic) or (None, None)
        return host != self._guests.host and rules.may_clear(party, topic)

    def _claimed_host(self, connect: Connect) -> str | None:
        """The host whose engine a client is: the one whose status its will is."""
        topic = "" if connect.will is None else connect.will.topic
        host, kind = topics.split_telemetry(topic) or (None, None)
        return host if kind == "status" and host != self._guests.host else None

    async def _role(self, connect: Connect) -> Role:
        """The role of a user whose password fits."""
        user, password = connect.user, connect.password
        if user is None:
            if self._guests.anonymous is None:
                raise Refused(packets.NOT_AUTHORIZED, "no user and no password")
            return self._guests.anonymous
        if (known := self._guests.passwords.get(user)) is not None:
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
