"""What an hour of 1,024 queues takes: fed as fast as it goes, from counters that grow like real traffic's.

    python -m tests.vmqtui.measure_history [QUEUES]

Prints the archive's own count, the process's memory before and after, and the time of a look back.
"""

import asyncio
import gc
import random
import sys
import time

import msgspec
import psutil

from engine.telemetry.stats import Stats, known
from tests.vmqtui.scripted import SECOND, live_link, make_stats
from vmqtui.app import VmqApp
from vmqtui.state.model import Model

MINUTES = 75
DRAWN = 40
"""Every so many readings are drawn; the others are taken in only."""


def poisson(draw: random.Random, mean: float) -> int:
    """About as many events as come by chance where ``mean`` are expected."""
    return max(0, round(draw.gauss(mean, mean**0.5)))


def grown(stats: Stats, rates: list[float], draw: random.Random, step_ns: int) -> Stats:
    """The next reading: every queue receives by chance, and contract 2's sums hold."""
    adapter = stats.adapters["nic0"]
    now = {name: known(values) for name, values in adapter.queues.items()}
    seconds = step_ns / SECOND
    for row, rate in enumerate(rates):
        frames = poisson(draw, rate * seconds)
        now["steered_frames"][row] += frames
        now["steered_bytes"][row] += sum(
            (64, 594, 1518)[int(draw.random() * 1.58)] for _ in range(min(frames, 40))
        )
        now["interrupts"][row] += frames // 3
        now["dpcs"][row] += frames // 2
        now["pending"][row] = min(9, poisson(draw, rate / 4000))
        now["outstanding"][row] = min(50, poisson(draw, rate / 900))
        now["received_frames"][row] = now["steered_frames"][row]
        now["indicated_frames"][row] = now["received_frames"][row] - now["pending"][row]
        now["returned_frames"][row] = now["indicated_frames"][row] - now["outstanding"][row]
        now["free_buffers"][row] = now["total_buffers"][row] - now["pending"][row] - now["outstanding"][row]
    filters = adapter.filters | {"matched_frames": now["steered_frames"][1 : 1 + len(adapter.filters["id"])]}
    return msgspec.structs.replace(
        stats,
        seq=stats.seq + 1,
        sim_time_ns=stats.sim_time_ns + step_ns,
        time_ns=stats.time_ns + step_ns,
        adapters={"nic0": msgspec.structs.replace(adapter, queues=now, filters=filters)},
    )


async def main(queues: int) -> None:
    """Feed a dashboard, and tell."""
    vms = [("default", None, 0, 100)] + [(f"vm-{n}", f"vm-{n}", n % 8, 1) for n in range(1, queues)]
    draw = random.Random(1)
    rates = [min(20_000.0, 60 * draw.paretovariate(1.0)) for _ in vms]
    link = live_link(vms=vms)
    app = VmqApp(link)
    stats = make_stats(1, vms)
    spent = 0.0
    async with app.run_test(size=(160, 50)) as pilot:
        link.publish("hv01", stats=stats)
        app.draw_now()
        await pilot.pause()
        gc.collect()
        before = psutil.Process().memory_info().rss
        for number in range(MINUTES * 60 * 4):
            stats = grown(stats, rates, draw, SECOND // 4)
            began = time.process_time()
            link.publish("hv01", stats=stats)
            spent += time.process_time() - began
            if number % DRAWN == 0:
                app.draw_now()
                await pilot.pause()
        gc.collect()
        tell(app.model, before, spent / (MINUTES * 240))


def tell(model: Model, before: int, spent: float) -> None:
    """What it takes now, and how long looks back take."""
    archive, after = model._archive, psutil.Process().memory_info().rss
    rows = len(model.snapshot.queues)
    print(f"{rows} queues, {len(archive.numbers())} readings of {MINUTES} min")
    print(
        f"archive {archive.size / 1e6:.1f} MB; the process (dashboard and feeder) {before / 1e6:.0f} MB"
        f" after its first reading, {after / 1e6:.0f} MB after all"
    )
    print(f"taking a reading in: {spent * 1e3:.2f} ms of CPU")
    for seconds in (-1, -300, -3600):
        began = time.process_time()
        model.skip(seconds)
        shown = len(model.snapshot.queues)
        print(f"a look {-seconds} s back: {(time.process_time() - began) * 1e3:.1f} ms for {shown} rows")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024))
