"""The engine as a pytest plugin: fixtures for other people's tests. Light until one is asked for.

    async def test_my_reader(vmq_engine):
        engine = await vmq_engine(my_scenario)
        ...  # a real engine, with real workers, behind engine.url

Needs pytest-asyncio.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

async_fixture: Any = pytest.fixture
with suppress(ImportError):  # this plugin is loaded wherever vmqtui is installed
    async_fixture = import_module("pytest_asyncio").fixture

if TYPE_CHECKING:
    from engine.service.engine import Engine

StartEngine = Callable[..., Awaitable["Engine"]]


@async_fixture
async def vmq_engine() -> AsyncIterator[StartEngine]:
    """Start engines with the arguments of ``engine.service.engine.Engine``; all end with the test."""
    from engine.service.engine import Engine

    async with AsyncExitStack() as engines:

        async def start(*arguments: Any, **options: Any) -> Engine:
            return await engines.enter_async_context(Engine(*arguments, **options))

        yield start
