"""Engines in a thread with an event loop of its own: tests use them from any loop, or from none.

pytest-asyncio may run a fixture, its tests and their ends in different event loops, and close each of them
before the fixture ends. The loop here starts its engines, serves them while no test runs, and ends them.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, Final, TypeVar

from engine.service.ending import Ending, to_its_end
from engine.service.engine import Engine
from engine.service.engine_api import EngineEndedError

T = TypeVar("T")

ENGINES_KEPT: Final = 4
"""Engines that ``EnginePool`` keeps running for later tests; then the one that was unused longest ends."""

_CALLING: Final = ContextVar[asyncio.AbstractEventLoop]("_CALLING")
"""The loop that awaits a coroutine which runs in an engine's home."""


class Home:
    """A thread that runs an event loop, from the first call until the end of the context."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()
        self._leaving: asyncio.Event | None = None
        self._engines: list[HostedEngine] = []
        self._left = False

    def __enter__(self) -> "Home":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        end = Ending()
        for engine in reversed(self._engines):
            with end.step(f"ending the engine of {engine.host}"):
                self.end(engine)
        loop, leaving = self.loop, self._leaving
        if loop is not None and leaving is not None and self._thread is not None:
            with end.step("ending its event loop"):
                loop.call_soon_threadsafe(leaving.set)
                self._thread.join()
        end.finish()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.begin()).result()

    def add(self, engine: "HostedEngine") -> None:
        """Give an engine that has not started this home. Raises EngineEndedError if the home has ended."""
        if self._left:
            raise EngineEndedError("the scope of the fixture that starts engines has ended, and they with it")
        engine.home = self.begin()
        self._engines.append(engine)

    def end(self, engine: "HostedEngine") -> None:
        """End an engine of this home."""
        if engine in self._engines:
            self._engines.remove(engine)
        self.run(engine.__aexit__(None, None, None))

    def begin(self) -> asyncio.AbstractEventLoop:
        """Start the thread, if it does not run; return its loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vmq-home", daemon=True)
            self._thread.start()
            self._begun.wait()
        assert self.loop is not None
        return self.loop

    def _run(self) -> None:
        # aiomqtt needs a selector loop, which is not the default on Windows.
        factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._stay())

    async def _stay(self) -> None:
        self.loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await self._leaving.wait()


def _at_home(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(method)
    async def call(self: Any, *arguments: Any, **options: Any) -> Any:
        home: asyncio.AbstractEventLoop = self.home
        if asyncio.get_running_loop() is home:
            return await method(self, *arguments, **options)
        coroutine = method(self, *arguments, **options)
        begun, over = threading.Event(), Future[None]()

        async def there() -> Any:
            begun.set()
            try:
                return await coroutine
            finally:
                over.set_result(None)

        token = _CALLING.set(asyncio.get_running_loop())
        try:
            calling = asyncio.run_coroutine_threadsafe(visit := there(), home)
        except RuntimeError:  # the home's loop is closed: the engine has ended, which the method says at once
            visit.close()
            return await coroutine
        finally:
            _CALLING.reset(token)
        try:
            return await asyncio.wrap_future(calling)
        except asyncio.CancelledError:
            if calling.cancelled():
                await to_its_end(_ended_there(home, begun, over, coroutine))
            raise

    return call


async def _ended_there(
    home: asyncio.AbstractEventLoop, begun: threading.Event, over: "Future[None]", coroutine: Any
) -> None:
    """Wait until a cancelled call has ended in its home; it may have been cancelled before it began."""
    settled: Future[None] = Future()

    def look() -> None:  # after the cancellation, which was sent before
        if begun.is_set():
            over.add_done_callback(lambda _: settled.set_result(None))
        else:
            coroutine.close()
            settled.set_result(None)

    with suppress(RuntimeError):  # its loop is closed
        home.call_soon_threadsafe(look)
        await asyncio.wrap_future(settled)


class _HomeEvent(asyncio.Event):
    """An event that is set in an engine's home, and awaited in any loop."""

    def __init__(self, engine: "HostedEngine") -> None:
        super().__init__()
        self._engine = engine

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        """The loop in which it is set."""
        return self._engine.home

    async def _wait(self) -> bool:
        if self.home.is_closed() and not self.is_set():
            raise EngineEndedError("the engine has ended")
        return await super().wait()

    wait = _at_home(_wait)


class HostedEngine(Engine):
    """An engine whose coroutines run in the loop ``home``, whichever loop awaits them."""

    home: asyncio.AbstractEventLoop

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stopped: asyncio.Event = _HomeEvent(self)
        self.advised: asyncio.Event = _HomeEvent(self)

    async def _awaited(self, value: Awaitable[T]) -> T:
        """Await what a condition has returned in the loop that awaits ``until``: it may belong to it."""
        calling = _CALLING.get(self.home)
        if calling is asyncio.get_running_loop():
            return await value

        async def there() -> T:
            return await value

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), calling))


for _name in dir(Engine):
    _method = getattr(Engine, _name)
    if asyncio.iscoroutinefunction(_method) and (not _name.startswith("_") or _name.startswith("__")):
        setattr(HostedEngine, _name, _at_home(_method))


class EnginePool:
    """Running engines by their arguments; each is reset when a test takes it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._kept: dict[str, HostedEngine] = {}  # the last used one last

    def take(self, options: dict[str, Any]) -> HostedEngine:
        """Return an engine that has just started with these arguments, or is as if it had."""
        key = repr(sorted(options.items()))
        engine = self._kept.pop(key, None)
        if engine is not None:
            try:
                self._home.run(engine.reset())
            except Exception:  # it has failed, or a test has ended it
                with suppress(Exception):
                    self._home.end(engine)
                engine = None
        if engine is None:
            engine = HostedEngine(**options)
            self._home.add(engine)
            try:
                self._home.run(engine.__aenter__())
            except BaseException:
                self._home.end(engine)
                raise
        self._kept[key] = engine
        if len(self._kept) > ENGINES_KEPT:
            self._home.end(self._kept.pop(next(iter(self._kept))))
        return engine
