"""How commands attach to engines: a reader of the broker, and the host that a command is about."""

from collections.abc import Callable, Sequence
from typing import Final

from engine.bus.discovery import unlisted_url
from engine.bus.topics import random_client
from engine.bus.watcher import KINDS, Watcher
from vmqtui.cli.failures import failed, unusable
from vmqtui.cli.reach import broker_url

ANSWER_S: Final = 5.0
"""How long an engine may take to be found, and to answer."""
_QUIET_S: Final = 0.15
_NAMED: Final = 8
ALL: Final = "all"
"""``--host all`` where a command can be about several hosts."""


def open_watcher(
    broker: str | None,
    host: str | None,
    on_message: Callable[[str, str, bytes], None] | None = None,
    *,
    user: str,
    kinds: Sequence[str] = KINDS,
) -> Watcher:
    """A watcher on the broker named, or on the one that the newest engine of this user has announced, as
    ``user`` of that."""
    url = broker_url(broker, user=user)
    if url is None:
        if (there := unlisted_url(user=user)) is not None:
            failed(f"no engine was found without --broker, but one listens at {there}: name that")
        failed("no engine was found: start one with vmqtui engine, or name a broker with --broker")
    client = random_client("viewer" if user == "viewer" else "vmq")
    return Watcher(url, host, client=client, on_message=on_message, kinds=kinds)


async def find_host(watcher: Watcher, host: str | None, *, several: bool = False) -> str:
    """The one host there is, or the one named; it has to be there and online.

    ``several``: the command could be about all of them, which the error for several then says.
    """

    def found() -> bool:
        return any(view.online for view in watcher.hosts.values())

    if not await watcher.wait_for(found, ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"{f'host {host}' if host else 'no engine'} did not answer within {ANSWER_S:g} s")
    if host is None:
        await _all_retained(watcher)
    online = sorted(name for name, view in watcher.hosts.items() if view.online)
    if len(online) > 1:
        named = [*online[:_NAMED], *([f"{len(online) - _NAMED} more"] if len(online) > _NAMED else [])]
        fitting = ", ".join([*named, ALL] if several else named)
        unusable(f"--host: the broker has several hosts; one of {fitting} fits")
    return online[0]


async def find_hosts(watcher: Watcher) -> None:
    """Wait until hosts are known, online or not: all those that the broker retains anything of."""
    if not await watcher.wait_for(lambda: bool(watcher.hosts), ANSWER_S):
        if watcher.state != "connected":
            failed(watcher.why)
        failed(f"no engine answered within {ANSWER_S:g} s")
    await _all_retained(watcher)


async def _all_retained(watcher: Watcher) -> None:
    """Wait until no further host becomes known: what is retained comes at once, one after another."""
    more = True
    while more:
        count = len(watcher.hosts)
        more = await watcher.wait_for(lambda count=count: len(watcher.hosts) > count, _QUIET_S)  # type: ignore[misc]
