"""``python -m tests.faults.measure_readers``: what readers that stop reading cost an engine, on each broker.

An engine with many queues publishes at 20 Hz; 0, 1 and 8 readers subscribe to everything it says and read
nothing. For each: the engine's CPU time and resident memory (its broker's apart), and the readings a second
that a reader which does read is given.
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

import psutil

from engine.bus import topics
from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from tests.faults.brokers import EmbeddedProcess, FaultyBroker, MosquittoProcess
from tests.faults.lab import SCENARIO
from tests.faults.test_slow_readers import stalled_reader
from vmqtui import Engine

INTERVAL_S = 0.05


async def measure(broker: FaultyBroker, stalled: int, queues: int, seconds: float) -> None:
    engine_process, broker_process = psutil.Process(), psutil.Process(broker.pid)
    many = "\n".join(
        f'[[adapter.queue]]\nname = "q{number}"\nvm = "v{number}"\nbuffers = 4\n'
        f'[[adapter.queue.filter]]\nmac = "00:15:5d:01:{number // 256:02x}:{number % 256:02x}"\n'
        for number in range(queues)
    )
    scenario = loads(SCENARIO.replace("[[traffic.mix]]", f"{many}\n[[traffic.mix]]", 1), "measure")
    with contextlib.ExitStack() as readers:
        async with Engine(scenario, broker=broker.url, interval_s=INTERVAL_S) as engine:
            for number in range(stalled):
                reading = stalled_reader(broker.url, topics.stats("lab"), number)
                readers.enter_context(contextlib.closing(reading))
            async with Watcher(broker.url, "lab") as watcher:
                assert await watcher.wait_for(lambda: "lab" in watcher.hosts, 60)
                view = watcher.hosts["lab"]
                assert await watcher.wait_for(lambda: view.stats_received > 0, 60)
                came, cpu, began = view.stats_received, engine_process.cpu_times(), time.monotonic()
                replaced = engine._host_bus.bus.counters.readings_replaced
                broker_before = broker_process.memory_info().rss
                await asyncio.sleep(seconds)
                took = time.monotonic() - began
                now = engine_process.cpu_times()
                spent = now.user + now.system - cpu.user - cpu.system
                print(
                    f"{broker.name} | {stalled} | {100 * spent / took:.1f} % | "
                    f"{engine_process.memory_info().rss / 1e6:.0f} MB | "
                    f"{(view.stats_received - came) / took:.1f} /s | "
                    f"{engine._host_bus.bus.counters.readings_replaced - replaced} | "
                    f"{(broker_process.memory_info().rss - broker_before) / 1e6:+.0f} MB",
                    flush=True,
                )


async def main(queues: int, seconds: float) -> None:
    print("broker | stalled | engine and reader CPU | RSS | read | readings replaced | broker RSS")
    with tempfile.TemporaryDirectory() as directory:
        for broker in (EmbeddedProcess(), MosquittoProcess(Path(directory))):
            await broker.start()
            try:
                for stalled in (0, 1, 8):
                    await measure(broker, stalled, queues, seconds)
            finally:
                await broker.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.measure_readers")
    parser.add_argument("--queues", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.queues, arguments.seconds))
