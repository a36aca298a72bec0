"""A plugin for an amqtt of one's own: accounts, and the rules of ``engine.bus.rules`` for their topics.

It is named in amqtt's configuration (docs/access/amqtt.yaml). It is no replacement for our listener
(``listener``): what amqtt itself takes, a plugin can't refuse.
"""

from dataclasses import dataclass
from pathlib import Path

from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from engine.bus import rules, topics
from engine.bus.accounts import read_accounts
from engine.bus.gate import Gate
from engine.bus.packets import Connect, Refused
from engine.bus.rules import Party
from engine.bus.settings import Guests


class AccessPlugin(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]
    """Lets accounts in, each client as its ``Party``."""

    @dataclass
    class Config:
        """``accounts`` is the path of an accounts file."""

        accounts: str = ""

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        accounts = read_accounts(Path(self.config.accounts))
        self._gate = Gate(Guests(host="", engine_client="", passwords={}, accounts=accounts))
        self._parties: dict[str, Party] = {}

    async def authenticate(self, *, session: Session) -> bool | None:
        """Whether a client may connect: account, client id, will, a host that has no engine yet."""
        client = session.client_id or ""
        connect = Connect(
            client,
            session.keep_alive,
            b"",
            session.will_topic,
            session.username,
            None if session.password is None else session.password.encode(),
        )
        try:
            party = await self._gate.admit(connect)
        except Refused:
            return False
        hosts = {other.host for other in self._parties.values() if other.client != client}
        if not topics.valid_name(client) or (party.host is not None and party.host in hosts):
            return False
        self._parties[client] = party
        return True

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """Whether a client may publish to a topic, subscribe to a filter, be given a message."""
        party = self._parties.get(session.client_id or "") if session is not None else None
        if party is None or topic is None:
            return False
        if action == Action.RECEIVE:
            return rules.may_read(party, topic)
        return (rules.may_publish if action == Action.PUBLISH else rules.may_subscribe)(party, topic)

    async def on_broker_client_disconnected(self, *, client_id: str, **_: object) -> None:
        """A client has gone."""
        self._parties.pop(client_id, None)
