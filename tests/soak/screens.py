"""Those who watch: a real dashboard, whose keys are pressed, and watchers that come and go."""

import asyncio
import contextlib
import random
from types import TracebackType

from textual.pilot import Pilot

from engine.bus.urls import BrokerUrl
from engine.bus.watcher import Watcher
from tests.soak.lab import HOST, Address
from vmqtui.app import VmqApp
from vmqtui.link import BusLink

KEYS = ["1", "2", "3", "4", "5", "6", "7", "down", "up", "right", "left", "s", "space", "space", "tab", "d"]
WATCHERS = 3
LOOK_S = 0.05


class Screens:
    """An async context manager; entered and left by one task."""

    def __init__(self, address: Address, dice: random.Random) -> None:
        self._url = BrokerUrl.parse(address.url)
        self._dice = dice
        self._stack = contextlib.AsyncExitStack()
        self._watchers: list[Watcher] = []
        self.app: VmqApp
        self._pilot: Pilot[None]

    async def __aenter__(self) -> "Screens":
        link = await self._stack.enter_async_context(BusLink())
        self.app = VmqApp(link, host=HOST)
        await link.connect(self._url, HOST)
        self._pilot = await self._stack.enter_async_context(self.app.run_test(size=(120, 40)))
        for _ in range(WATCHERS):
            self._watchers.append(await Watcher(self._url, HOST).__aenter__())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watcher in self._watchers:
            await watcher.__aexit__(None, None, None)
        await self._stack.aclose()

    async def press(self) -> None:
        """A key that changes nothing but what is looked at."""
        await self._pilot.press(self._dice.choice(KEYS))

    async def come_and_go(self) -> None:
        """One watcher leaves, another comes."""
        gone = self._watchers.pop(0)
        await gone.__aexit__(None, None, None)
        self._watchers.append(await Watcher(self._url, HOST).__aenter__())

    async def live_again(self, seconds: float) -> str:
        """Wait until everybody sees new readings; what is wrong, if not."""
        counts = [self._seen(watcher) for watcher in self._watchers]

        def all_see() -> bool:
            news = [self._seen(one) > count for one, count in zip(self._watchers, counts, strict=True)]
            alive = self.app.model.liveness().state
            return all(news) and alive in ("live", "paused")

        for _ in range(round(seconds / LOOK_S)):
            if all_see():
                return ""
            await asyncio.sleep(LOOK_S)
        states = [(watcher.state, watcher.why) for watcher in self._watchers]
        return f"the dashboard is {self.app.model.liveness()}, watchers are {states}"

    def _seen(self, watcher: Watcher) -> int:
        view = watcher.hosts.get(HOST)
        return 0 if view is None else view.stats_received
