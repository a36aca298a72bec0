"""A pytest plugin with a fixture that starts engines, for tests of other projects.

pytest loads this module in every project of the environment. It imports the engine only when a test uses the
fixture, so that a project with a package ``engine`` of its own is not disturbed.

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

async_fixture: Callable[[Callable[[], AsyncIterator["StartEngine"]]], Any] = pytest.fixture
with suppress(ImportError):  # pytest loads this plugin wherever vmqtui is installed
    async_fixture = import_module("pytest_asyncio").fixture

if TYPE_CHECKING:
    from engine.service.engine import Engine

StartEngine = Callable[..., Awaitable["Engine"]]


@async_fixture
async def vmq_engine() -> AsyncIterator[StartEngine]:
    """A coroutine function that starts an ``Engine`` with its arguments; all engines end with the test."""
    from engine.service.engine import Engine

    async with AsyncExitStack() as engines:

        async def start(*arguments: Any, **options: Any) -> Engine:
            return await engines.enter_async_context(Engine(*arguments, **options))

        yield start
