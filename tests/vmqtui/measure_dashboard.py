"""Measure the dashboard under load: ``python -m tests.vmqtui.measure_dashboard [--seconds S] [--json]``.

An embedded broker and a publisher (this process) stand for a host of 1,024 queues at 4 Hz; ``vmqtui`` runs in
a pseudo-terminal of 160x50 as a process of its own, whose CPU time and answers to keys are measured. The
refresh of the queue table is measured in this process, without a broker.
"""

import argparse
import asyncio
import fcntl
import gc
import json
import os
import pty
import re
import statistics
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from itertools import count as count_from
from time import monotonic, process_time
from typing import Any

import aiomqtt
import psutil

from engine.bus import codec, topics
from engine.bus.broker import EmbeddedBroker
from engine.bus.messages import Status
from engine.bus.urls import BrokerUrl
from engine.telemetry.stats import Stats
from tests.vmqtui.scripted import SECOND, START_NS, live_link, make_config, make_stats
from vmqtui.app import VmqApp
from vmqtui.testing import until
from vmqtui.widgets.table import LiveTable

SIZE = (160, 50)
HOST = "hv01"
VIEWS = {"overview": "1", "queues": "2", "filters": "3", "buffers": "4", "processors": "5", "default": "6"}
_MARK = re.compile(rb"\x1b\[(\d+);(\d+)H|\xe2\x96\x8c")


def many(count: int) -> list[tuple[str, str | None, int, int]]:
    """A default queue and ``count`` - 1 others: name, VM, processor, frames per second."""
    return [("default", None, 0, 20_000)] + [
        (f"vm-{n:04}", f"vm-{n:04}", n % 64, (n * 7919) % 900) for n in range(1, count)
    ]


async def refresh_ms(count: int, refreshes: int) -> dict[str, float]:
    """Median CPU milliseconds of one refresh of the queue table, in its steps."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as the command does
    vms = many(count)
    readings = [make_stats(seq, vms, cpus=64) for seq in range(1, refreshes + 9)]
    payloads = [codec.encode(reading) for reading in readings]
    link = live_link(vms=vms, cpus=64)
    app = VmqApp(link)
    steps: dict[str, list[float]] = {"decode": [], "take": [], "table": [], "paint": []}
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        app._draw_due = True  # nothing but this function draws
        table = app.screen.query_one("#queues-table", LiveTable)
        view = link.views[HOST]
        for index, payload in enumerate(payloads):
            at = [process_time()]
            stats = codec.decode(Stats, payload)
            at.append(process_time())
            view.stats, view.received_monotonic = stats, link.now
            app.model.take()
            at.append(process_time())
            app.screen.view.draw()  # type: ignore[attr-defined]  # an attribute of the class that is there
            at.append(process_time())
            for y in range(table.size.height):
                table.render_line(y)
            at.append(process_time())
            if index >= 8:
                for step, before, after in zip(steps, at, at[1:], strict=False):
                    steps[step].append((after - before) * 1000)
            await pilot.pause()
    found = {step: statistics.median(values) for step, values in steps.items()}
    return found | {"refresh": found["take"] + found["table"] + found["paint"]}


class Terminal:
    """``vmqtui`` in a pseudo-terminal; where the cursor's mark is. ``look`` gets all that is written."""

    def __init__(self, url: BrokerUrl, look: Callable[[bytes], None] = lambda data: None) -> None:
        self._look = look
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = psutil.Popen(
            [sys.executable, "-m", "vmqtui", "--broker", url.with_password()],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.mark = 0
        self.written = 0
        self._y = 0
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 1 << 20)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
            return
        self.written += len(data)
        self._look(data)
        for found in _MARK.finditer(data):
            if found[1]:
                self._y = int(found[1])
            else:
                self.mark = self._y
        self._changed.set()

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    async def marked(self, reached: Callable[[int], bool]) -> None:
        """Wait until a mark is drawn that fits."""
        await until(
            lambda: reached(self.mark),
            what="a mark on the screen",
            seen=lambda: self.mark,
            between=self._drawn,
        )

    async def _drawn(self) -> None:
        """Wait until something is written."""
        await self._changed.wait()
        self._changed.clear()

    async def cpu(self, seconds: float) -> float:
        """Share of a core over some seconds."""
        before = self.process.cpu_times()
        began = monotonic()
        await asyncio.sleep(seconds)
        now = self.process.cpu_times()
        return (now.user + now.system - before.user - before.system) / (monotonic() - began)

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            self.process.kill()


async def _publish(url: BrokerUrl, count: int, period: float, running: asyncio.Event) -> None:
    vms = many(count)
    async with aiomqtt.Client(url.host, url.port, identifier="measure") as client:
        status = Status(
            state="online", version="0.1.0", started_at=START_NS / SECOND, interval_ns=SECOND // 4
        )
        await client.publish(topics.status(HOST), codec.encode(status), retain=True)
        await client.publish(topics.config(HOST), codec.encode(make_config(vms, cpus=64)), retain=True)
        for seq in count_from(1):
            await running.wait()
            await client.publish(topics.stats(HOST), codec.encode(make_stats(seq, vms, cpus=64)))
            await asyncio.sleep(period)


async def _keys(terminal: Terminal, presses: int) -> list[float]:
    """Seconds from a key to the cursor's mark on its new line, at moments spread over the period."""
    delays = []
    for n in range(presses):
        key, step = ((b"\x1b[B", 1), (b"\x1b[A", -1))[n % 2]
        await asyncio.sleep(0.11 + 0.013 * (n % 11))
        wanted = terminal.mark + step
        began = monotonic()
        terminal.press(key)
        # Mypy infers no lambda with defaults.
        await terminal.marked(wanted.__eq__)
        delays.append(monotonic() - began)
    return delays


async def measure(count: int, seconds: float, presses: int) -> dict[str, Any]:
    """Everything, as a table of numbers."""
    result: dict[str, Any] = {"refresh_cpu_ms": await refresh_ms(count, 40)}
    async with EmbeddedBroker() as broker:
        running = asyncio.Event()
        running.set()
        publishing = asyncio.create_task(_publish(broker.url, count, 0.25, running))
        terminal = Terminal(broker.url)
        try:
            await terminal.marked(lambda mark: mark > 0)
            await asyncio.sleep(3)
            for view, key in VIEWS.items():
                terminal.press(key.encode())
                await asyncio.sleep(1.5)
                before = terminal.written
                result[f"cpu_{view}"] = await terminal.cpu(seconds)
                result[f"bytes_per_second_{view}"] = (terminal.written - before) / seconds
            terminal.press(b"2")
            await asyncio.sleep(1)
            delays = sorted(await _keys(terminal, presses))
            result["key_ms_p50"] = delays[len(delays) // 2] * 1000
            result["key_ms_p99"] = delays[int(len(delays) * 0.99)] * 1000
            running.clear()
            await asyncio.sleep(6)
            result["cpu_idle"] = await terminal.cpu(seconds)
            result["rss_mib"] = terminal.process.memory_info().rss / 2**20
        finally:
            terminal.end()
            publishing.cancel()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = asyncio.run(measure(given.queues, given.seconds, given.presses))
    if given.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:32} {json.dumps(value) if isinstance(value, dict) else round(value, 4)}")


if __name__ == "__main__":
    main()
