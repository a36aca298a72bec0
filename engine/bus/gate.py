"""Who may connect to the embedded broker, and as what: decided by what CONNECT says."""

import asyncio
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor

from engine.bus import packets, topics
from engine.bus.accounts import fits, hashed
from engine.bus.packets import Connect, Refused
from engine.bus.rules import Party, Role, may_publish
from engine.bus.settings import ENGINE, USERS, Account, Guests


class Gate:
    """Tells each CONNECT which ``Party`` it is, or refuses it."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self._accounts = {account.name: account for account in guests.accounts}
        self._nobody = Account("", "viewer", hashed(secrets.token_hex())) if guests.accounts else None
        """Whose password nobody knows: a name that there is not takes as long as one that there is."""
        self._known: dict[str, bytes] = {}
        """Digest of the password that an account came in with: hashing it again would cost 50 ms."""
        self._hashing = ThreadPoolExecutor(1)
        """One at a time: who guesses passwords keeps one processor busy at most."""

    def is_own_engine(self, party: Party) -> bool:
        """Whether this is the engine that the broker is for."""
        return party.client == self._guests.engine_client

    async def admit(self, connect: Connect) -> Party:
        """What ``connect`` may be, where nobody else is that. Raises ``Refused``."""
        role = await self._role(connect)
        own = connect.user == ENGINE
        if own != (connect.client == self._guests.engine_client):
            raise Refused(packets.IDENTIFIER_REJECTED, "a client id that is another's")
        host = self._guests.host if own else None
        if role == "engine" and not own:
            host = self._claimed_host(connect)
        party = Party(role, connect.client, host)
        if connect.will_topic is not None and not may_publish(party, connect.will_topic):
            raise Refused(packets.NOT_AUTHORIZED, "a will on a topic that this client may not publish to")
        return party

    def _claimed_host(self, connect: Connect) -> str | None:
        """The host whose engine a client is: the one whose status its will is."""
        host, kind = topics.split_telemetry(connect.will_topic or "") or (None, None)
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
