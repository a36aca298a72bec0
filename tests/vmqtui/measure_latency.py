"""Measure how old a number is when it reaches the screen: ``python -m tests.vmqtui.measure_latency``.

A real engine of 1,024 queues with traffic over all of them publishes at 4 Hz; ``vmqtui`` shows it in a
pseudo-terminal of 160x50. A reading is taken at the end of the round that counted its last frame, and says
when (``time_ns``); it is on the screen when the terminal has been sent its simulated time.
"""

import argparse
import asyncio
import re
import time

from engine.scenario.load import loads
from engine.service.bench_costs import telemetry_scenario
from tests.vmqtui.measure_dashboard import Terminal
from vmqtui import Engine
from vmqtui.numbers import clock


async def delays_ms(queues: int, seconds: float) -> tuple[list[float], int]:
    """From the taking of each reading to its being drawn, sorted; and how many were not drawn (yet)."""
    found: list[float] = []
    waiting: dict[bytes, int] = {}

    def look(data: bytes) -> None:
        now_ns = time.time_ns()
        shown = [text for text in waiting if re.search(rb"(?<![\d.:])" + re.escape(text), data)]
        found.extend((now_ns - waiting.pop(text)) / 1e6 for text in shown)

    async with Engine(loads(telemetry_scenario(queues), "measure")) as engine:
        terminal = Terminal(engine.url, look)
        try:
            await terminal.marked(lambda mark: mark > 0)
            seen = None
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                stats = engine.stats
                if stats is not None and stats is not seen:
                    seen = stats
                    waiting[clock(stats.sim_time_ns).encode()] = stats.time_ns
                await asyncio.sleep(0.002)  # it is there well before the dashboard has it
        finally:
            terminal.end()
    return sorted(found), len(waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    delays, missed = asyncio.run(delays_ms(given.queues, given.seconds))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        print(f"{name:4} {delays[int(len(delays) * share)]:8.1f} ms")
    print(f"of   {len(delays):8} readings; {missed} were not drawn, or not yet")


if __name__ == "__main__":
    main()
