"""The broker in this process, on a port of its own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from engine.mqtt.listener import Listener
from tests.mqtt.wire import OpenAccess


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    listener = Listener(OpenAccess())
    try:
        yield await listener.serve("127.0.0.1", 0)
    finally:
        await listener.close()
