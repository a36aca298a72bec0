"""Bursts of random keys at a dashboard whose engine answers at once, late, or never, beside a measured host.

``python -m tests.vmqtui.random_keys [--seconds N] [--seed N]`` goes on for so long; the suite runs a moment
of it. The same seed presses the same keys; which answers come, and when, depends on the machine.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Final

from textual import events
from textual.pilot import Pilot, WaitForScreenTimeout

from engine.bus.messages import Response, Status
from engine.measure.host import MeasuredHost
from tests.vmqtui.measured_hosts import rings, vm_queues
from tests.vmqtui.scripted import (
    SECOND,
    ScriptedHost,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
    with_queue,
)
from tests.vmqtui.test_vms_traffic_adapters import TRAFFIC
from vmqtui.actions import ACTIONS, CURSOR, MATRIX
from vmqtui.app import VmqApp
from vmqtui.preferences.model import Preferences

BURSTS_A_RUN: Final = 400
"""Bursts until the long run starts a dashboard again, so that one of its ends is tried, too."""
LONGEST_BURST: Final = 8
NOW: Final = 0.7
"""Share of bursts after which what is shown is the present: the past takes few keys."""
NEVER_S: Final = 0.3
"""How long a link waits for an answer that never comes. A real one waits longer."""

_HANGS_S: Final = 1.0
"""A dashboard that uses less of a processor than this in the 30 s that the pilot waits hangs."""

_LEAVES: Final = frozenset({"quit"})
KEYS: Final = tuple(dict.fromkeys(key for action in (*ACTIONS, *CURSOR, *MATRIX) for key in action.keys))
"""Every key that does something in the dashboard."""
CHANGES: Final = tuple(key for action in ACTIONS if action.changes for key in action.keys)
"""Those that open a dialog which asks for a change."""
COMMON: Final = (
    "enter",
    "enter",
    "escape",
    "escape",
    "tab",
    "shift+tab",
    "up",
    "down",
    "space",
    "y",
    "backspace",
)
TYPED: Final = "0123456789abcdef:-., ><%web"
PASTED: Final = ("00:15:5d:00:77:01", "4095", "web-99\n", "\x1b[2J", "mix = [", "x" * 400)
PHRASES: Final = (
    ("2 down m", "enter enter"),
    ("2 down m", "end enter enter escape"),
    ("2 down down m", "end enter"),
    ("R", "enter enter"),
    ("R", "9 enter enter escape"),
    ("6 n", "enter escape"),
    ("6 n", "enter enter"),
    ("2 down d", "y y escape"),
    ("2 down d", "y"),
    ("2 down e", "9 tab 9 enter enter"),
    ("2 down f", "0 0 : 1 5 : 5 d : 0 1 : 0 2 : 0 3 tab 1 2 enter escape"),
    ("3 down x", "y"),
    ("u", "enter enter"),
    ("u", "u enter"),
    ("ctrl+y", "enter enter"),
    ("C", "space enter enter"),
    ("t", "1 2 enter escape escape"),
    ("h", "down enter enter"),
    ("v", "enter enter enter escape"),
    ("ctrl+p", "down enter escape escape"),
    ("slash", "w enter escape"),
)
"""What opens a dialog, and what is done in it: keys at random seldom reach so deep."""


class BrokenError(AssertionError):
    """A rule that does not hold."""


@dataclass
class Pressed(ScriptedLink):
    """A link to a host that answers at random: at once, late, or never; most requests are carried out.

    Every id is a request of one dialog: ``NAME-NUMBER``. The same request of one dialog under another id
    has left twice, unless it was refused.
    """

    random: Random = field(default_factory=Random)
    fates: Counter[str] = field(default_factory=Counter)
    _answered: dict[str, Response] = field(default_factory=dict)
    _standing: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(100))

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        status = self.views[host].status
        if status is not None and not status.controls:
            raise BrokenError(f"{op} {params} left for a host that takes no requests")
        fate = self.random.choice(("early", "early", "late", "late", "refused", "never", "lost"))
        asks = bool(params.get("what_if")) or op.startswith("query_")
        if not asks:
            assert request_id is not None
            of = (request_id.partition("-")[0], op, repr(params))
            if self._standing.setdefault(of, request_id) != request_id:
                raise BrokenError(f"{op} {params} left twice")
            self.fates[fate] += 1
        await self._wait(fate)
        if request_id in self._answered:
            return self._answered[request_id]
        response = self._response(op, params, refused=fate == "refused")
        if not asks:
            assert request_id is not None
            self._answered[request_id] = response
            if response.status == "error":
                del self._standing[of]
        return response

    async def _wait(self, fate: str) -> None:
        if fate == "late":
            await asyncio.sleep(self.random.choice((0.0, 0.001, 0.01, 0.05)))
        elif fate == "never":
            await asyncio.sleep(NEVER_S)
            raise TimeoutError
        elif fate == "lost":
            await asyncio.sleep(0)
            raise ConnectionError("connection reset")

    def _response(self, op: str, params: dict[str, Any], *, refused: bool) -> Response:
        if refused:
            return Response(id="1", status="error", ndis_status="NDIS_STATUS_RESOURCES")
        result: dict[str, Any] = {}
        if op == "query_traffic":
            result = {"source": "synthetic", "traffic": TRAFFIC}
        elif op == "allocate_queue":
            result = {"queue_id": next(self._numbers)}
        elif op == "set_filter":
            result = {"filter_id": next(self._numbers)}
        elif op == "complete_allocation":
            result = {
                "queues": [
                    {"queue_id": one, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}
                    for one in params["queue_ids"]
                ]
            }
        return Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS", result=result, revision=7)


def bursts(random: Random) -> Iterator[tuple[list[str], bool]]:
    """Keys that arrive in one read, and whether the next come when they are handled; without end.

    "paste:" begins what is pasted.
    """
    while True:
        burst: list[str] = []
        if random.random() < 0.7:
            opens, acts = (keys.split(" ") for keys in random.choice(PHRASES))
            if random.random() < 0.7:  # from the dashboard, wherever it is now
                opens = ["escape", "escape", "escape", *opens]
            if random.random() < 0.6:
                yield opens, random.random() < 0.8
                opens = []
            burst = opens + acts
        for _ in range(random.randint(0 if burst else 1, LONGEST_BURST)):
            kind = random.random()
            if kind < 0.4:
                burst.append(random.choice(COMMON))
            elif kind < 0.5:
                burst.append(random.choice(CHANGES))
            elif kind < 0.8:
                burst.append(random.choice(KEYS))
            elif kind < 0.97:
                burst.append(random.choice(TYPED))
            else:
                burst.append("paste:" + random.choice(PASTED))
        yield burst, random.random() < 0.3


def deliver(app: VmqApp, keys: Sequence[str]) -> None:
    """Hand keys to the app as a terminal does: all of them before the first is handled."""
    assert app._driver is not None
    for key in keys:
        event: events.Key | events.Paste
        if key.startswith("paste:"):
            event = events.Paste(key.removeprefix("paste:"))
        else:
            event = events.Key(key, key if len(key) == 1 else None)
        event.set_sender(app)
        app._driver.send_message(event)


class _Early(VmqApp):
    """Keys come before its screen is there."""

    early: Sequence[str] = ()

    def on_mount(self) -> None:
        super().on_mount()
        deliver(self, self.early)


class Dashboards:
    """Dashboards that are pressed one after another, each for some bursts."""

    def __init__(self, seed: int, exports: Path) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.bursts = bursts(self.random)
        self._answers = Random(
            f"answers {seed}"
        )  # their number depends on the machine, and the keys must not
        self.pressed = 0
        self.fates: Counter[str] = Counter()
        self.last: list[list[str]] = []
        """The bursts of the present dashboard."""
        self._exports = exports
        self._runs = 0
        self._measured: MeasuredHost | None = None
        """The host hv02 of every third dashboard, which takes no requests; in the others it is a model."""

    async def press(self, number: int) -> None:
        """Start a dashboard, deliver so many bursts and end it. Raises ``BrokenError``."""
        self.last = []
        if (self.seed + self._runs) % 3:
            self._measured = None
        else:
            self._measured = rings() if self._runs % 2 else vm_queues()
        self._runs += 1
        link = self._link()
        preferences = Preferences(exports=str(self._exports))
        app = _Early(link, preferences=preferences, read_only=self.random.random() < 0.1)
        app.early, _ = next(self.bursts)
        app.animation_level = "none"
        try:
            async with app.run_test(size=self.random.choice(((80, 24), (120, 40)))) as pilot:
                play(link, 1, 2)
                for leaves in (app, app.screen_stack[0]):
                    leaves.action_quit = _stays  # type: ignore[method-assign,union-attr]  # a stand-in
                for burst, settles in islice(self.bursts, number):
                    self.last.append(burst)
                    self.pressed += 1
                    deliver(app, burst)
                    await self._meanwhile(pilot, link)
                    if settles:
                        await _handled(pilot.pause)
                    if self.random.random() < NOW and app.model.past is not None:
                        app.model.pause()
                    if not app.is_running:
                        raise BrokenError("the dashboard ended")
                app.exit()
        except Exception as error:
            raise BrokenError(f"seed {self.seed}: {error!r} after {self.last[-5:]}") from error
        self.fates += link.fates

    def _link(self) -> Pressed:
        live = live_link(adapters=("nic0", "nic1") if self.random.random() < 0.3 else ("nic0",))
        link = Pressed(connection="connected", views=live.views, random=self._answers)
        status, config, stats = live.views["hv01"].status, make_config(host="hv02"), make_stats(1)
        if self._measured is not None:
            status = Status(
                state="online", started_at=1.0, interval_ns=SECOND, kind="measured", controls=False
            )
            config, stats = self._measured.config, self._measured.readings[0]
        link.views["hv02"] = ScriptedHost(status, config, stats, received_monotonic=link.now)
        return link

    async def _meanwhile(self, pilot: Pilot[None], link: Pressed) -> None:
        """Let nothing or a little be handled, while the host goes on."""
        random, host = self.random, link.views["hv01"]
        match random.randrange(12):
            case 0 if host.stats is not None:
                link.publish("hv01", stats=make_stats(host.stats.seq + 1))
            case 1 if host.config is not None:
                queue_id, cpu = random.randint(1, 12), random.randrange(8)
                link.publish("hv01", config=with_queue(host.config, queue_id, cpu=cpu))
            case 2:
                link.connection = "lost" if random.random() < 0.05 else "connected"
                link.notify()
            case 3 if random.random() < 0.3:
                width, height = random.randint(20, 160), random.randint(5, 50)
                await _handled(lambda: pilot.resize_terminal(width, height))
            case 4 if self._measured is not None and (last := link.views["hv02"].stats) is not None:
                readings = self._measured.readings
                link.publish("hv02", stats=readings[last.seq % len(readings)])
            case 4 | 5:
                await asyncio.sleep(random.choice((0.0, 0.001, 0.01)))


async def _handled(pause: Callable[[], Awaitable[None]]) -> None:
    """Wait until all keys are handled: longer than the pilot does as long as this process works."""
    while True:
        worked_s = time.process_time()
        try:
            return await pause()
        except WaitForScreenTimeout:
            if time.process_time() - worked_s < _HANGS_S:
                raise


async def _stays() -> None:
    """In place of leaving: the keys for that are pressed, too."""


async def run(seconds: float, seed: int) -> Dashboards:
    """Press keys for so long; what was pressed. Raises ``BrokenError``."""
    with tempfile.TemporaryDirectory() as exports:
        dashboards = Dashboards(seed, Path(exports))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await dashboards.press(BURSTS_A_RUN)
        return dashboards


def main() -> int:
    """Press keys for so long, and say how it ended; 1 when a rule did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.vmqtui.random_keys", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; default: 60")
    parser.add_argument("--seed", type=int, default=1, help="which keys; default: 1")
    given = parser.parse_args()
    done = asyncio.run(run(given.seconds, given.seed))
    print(f"seed {given.seed}: {done.pressed} bursts, requests: {dict(done.fates)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
