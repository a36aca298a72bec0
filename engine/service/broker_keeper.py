"""Keeps an engine's own broker running: where its process ends or hangs, it is started again in its place."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from engine.bus.broker import EmbeddedBroker
from engine.bus.errors import BrokerFailed
from engine.logs import note

_LOOK_S: Final = 0.25
_DELAYS_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
_CALM_S: Final = 60.0
HANGS_AFTER_S: Final = 15.0
"""Its engine has had no connection for so long: longer than a keep-alive takes to tell, and several tries."""

_log = logging.getLogger(__name__)


async def keep(broker: EmbeddedBroker, connected: Callable[[], bool], tell: Callable[[str], None]) -> None:
    """Look after a broker that has started, until cancelled.

    ``connected`` says whether the engine has its connection; ``tell`` is told in a sentence of each time
    the broker is back.
    """
    failures = 0
    back_s = lost_s = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_S)
        now_s = time.monotonic()
        if connected():
            lost_s = now_s
        if broker.running and now_s - lost_s < HANGS_AFTER_S:
            continue
        why = "hung" if broker.running else "ended"
        note(_log, logging.ERROR, "broker_died", why=f"the embedded broker {why}; it is started again")
        failures = 0 if now_s - back_s > _CALM_S else failures + 1
        await asyncio.sleep(_DELAYS_S[min(failures, len(_DELAYS_S) - 1)])
        try:
            await broker.restart()
        except BrokerFailed as error:
            note(_log, logging.ERROR, "broker_failed", why=error)
            continue
        back_s = lost_s = time.monotonic()
        tell(f"the embedded broker {why} and was started again")
