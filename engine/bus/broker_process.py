"""The embedded broker's process: ``engine.mqtt`` with the rules of access of the bus.

Started by ``engine.bus.broker`` as ``python -m engine.bus.broker_process``. It reads its ``Settings``, one
line of JSON, from stdin, and writes one to stdout, ``{"ports": [n, …]}`` or ``{"error": "…"}``, then what it
logs, a line of JSON each. It ends when its stdin does, which the end of the parent brings about, however it
ends.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import msgspec

from engine.bus.errors import BadTls
from engine.bus.gate import Gate
from engine.bus.settings import Settings
from engine.bus.tls import server_context
from engine.ending import hear_of_parents_end
from engine.logs import Flood, Relay
from engine.mqtt.listener import Listener

_LEAVE_SECONDS = 3.0


def _report(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def _serve(settings: Settings) -> None:
    listener = Listener(Gate(settings.guests))
    ports = []
    for place in settings.places:
        try:
            context = None if place.tls is None else server_context(place.tls)
            ports.append(await listener.serve(place.host, place.port, context))
        except (OSError, BadTls) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number and number > 0 else str(error)
            _report({"error": f"cannot listen on {place.host}:{place.port}: {reason}"})
            os._exit(1)
    _report({"ports": ports})
    ended = asyncio.Event()
    threading.Thread(target=_await_end, args=(asyncio.get_running_loop(), ended), daemon=True).start()
    await ended.wait()
    await listener.flush()
    os._exit(0)


def _await_end(event_loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """The parent lets go of our stdin, or is gone."""
    while sys.stdin.buffer.read(4096):
        pass
    event_loop.call_soon_threadsafe(ended.set)
    time.sleep(_LEAVE_SECONDS)  # a daemon thread: it dies with the process
    os._exit(1)


def main() -> None:
    """Run until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hear_of_parents_end()
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    relay = Relay(sys.stdout.fileno())
    relay.addFilter(Flood())
    logging.basicConfig(level=logging.INFO, handlers=[relay])
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
