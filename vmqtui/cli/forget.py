"""``vmqtui forget``: clear what a host that is gone left retained on the broker."""

from typing import Final

from engine.bus.access_rules import RETAINED
from engine.bus.errors import RequestTimeout
from engine.bus.topics import checked_name
from engine.bus.watcher import Watcher
from vmqtui.cli.attach import ANSWER_S, open_watcher
from vmqtui.cli.failures import DONE, failed, sentences
from vmqtui.cli.run import run_async

_PING_S: Final = 2.0
_RETAINED_S: Final = 1.0
"""What a broker retains has come in so much time after the subscription."""


def run_forget(host: str, broker: str | None) -> int:
    """Clear a host's retained messages, unless it is there; the exit status."""
    with sentences():
        checked_name(host, "host name")
        return run_async(_forget(host, broker))


async def _forget(host: str, broker: str | None) -> int:
    async with open_watcher(broker, host, user="operator") as watcher:
        if not await _is_retained(watcher, host):
            failed(f"nothing of host {host} is retained on the broker")
        try:
            await watcher.request(host, "ping", timeout=_PING_S)
            there = True
        except RequestTimeout:
            view = watcher.hosts.get(host)
            if view is None:  # it was cleared meanwhile
                failed(f"nothing of host {host} is retained on the broker")
            there = view.heard_live
        if there:
            failed(f"host {host} is there, and would publish again what is cleared: end its engine first")
        watcher.clear(host)
    async with open_watcher(broker, host, user="operator") as watcher:
        if await _is_retained(watcher, host):
            failed(f"the broker did not let this user clear the topics of host {host} (docs/access.md)")
    print(f"cleared of host {host}: {', '.join(RETAINED)}")
    return DONE


async def _is_retained(watcher: Watcher, host: str) -> bool:
    """Whether the broker has anything of a host."""
    if not await watcher.wait_for(lambda: watcher.state == "connected", ANSWER_S):
        failed(watcher.why)
    return await watcher.wait_for(lambda: host in watcher.hosts, _RETAINED_S)
