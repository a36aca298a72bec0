"""``python -m tests.faults [--every BYTES] [--tries N] [--broker NAME]``: many faults, and what they cost.

Each line of the table is a fault on one broker: how often it was tried, how many requests were made
meanwhile, how many of them were applied once (the engine's tables are counted, not the answers), and what did
not reach the reader, by the engine's numbering. It ends with 1 when one was lost, refused or applied twice.
"""

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.bus import connection, watcher
from tests.faults.brokers import EmbeddedProcess, FaultyBroker, MosquittoProcess
from tests.faults.lab import Lab, running_lab
from tests.faults.proxy import Direction, Proxy

Fault = Callable[[Lab], Awaitable[int]]
HEAD = ("fault", "broker", "tried", "requests", "applied once", "events missed", "readings replaced")


async def ask(lab: Lab, count: int = 4) -> None:
    await asyncio.gather(*(lab.ask() for _ in range(count)))


def cuts(side: str, direction: Direction, every: int) -> Fault:
    """A connection cut at each so many bytes of its handshake and of an exchange."""

    async def fault(lab: Lab) -> int:
        proxy = lab.of_engine if side == "engine" else lab.of_reader
        proxy.drop()
        await lab.ask()
        places = range(0, proxy.passed[direction] + every, every)
        for at in places:
            await lab.cut(proxy, direction, at)
        return len(places)

    return fault


def repeated(tries: int, once: Callable[[Lab, int], Awaitable[None]]) -> Fault:
    async def fault(lab: Lab) -> int:
        for number in range(tries):
            await once(lab, number)
            await lab.live()
        return tries

    return fault


async def crash(lab: Lab, number: int) -> None:
    asking = asyncio.create_task(ask(lab))
    await asyncio.sleep(0.002 * (number % 20))
    await lab.broker.kill()
    lab.broker.persistent = number % 2 == 1
    await lab.broker.start()
    await asking


async def pause(lab: Lab, number: int) -> None:
    lab.broker.signal(signal.SIGSTOP)
    asking = asyncio.create_task(ask(lab))
    await asyncio.sleep(0.02 * (number % 10))
    lab.broker.signal(signal.SIGCONT)
    await asking


def proxies(lab: Lab, number: int) -> list[Proxy]:
    return [[lab.of_engine], [lab.of_reader], [lab.of_engine, lab.of_reader]][number % 3]


async def stall(lab: Lab, number: int) -> None:
    ways: list[tuple[Direction, ...]] = [("up",), ("down",), ("up", "down")]
    for proxy in proxies(lab, number):
        proxy.stall(*ways[number // 3 % 3])
    asking = asyncio.create_task(ask(lab))
    await asyncio.sleep(0.1)
    for proxy in proxies(lab, number):
        proxy.flow()
    await asking


async def refuse(lab: Lab, number: int) -> None:
    for proxy in proxies(lab, number):
        await proxy.refuse()
    asking = asyncio.create_task(ask(lab))
    await asyncio.sleep(0.02 * (number % 5))
    for proxy in proxies(lab, number):
        await proxy.accept()
    await asking


async def crawl(lab: Lab, number: int) -> None:
    for proxy in proxies(lab, number):
        proxy.latency_s, proxy.bytes_per_second = 0.02, 50_000
    await ask(lab)
    for proxy in proxies(lab, number):
        proxy.latency_s, proxy.bytes_per_second = 0.0, None


async def run(lab: Lab, faults: dict[str, Fault]) -> bool:
    well = True
    for name, fault in faults.items():
        before = lab.engine._host_bus.bus.counters
        done, missed = lab.ledger.carried_out, lab.view.events_missed
        tried = await fault(lab)
        asked = len(lab.ledger.ok) + len(lab.ledger.unknown) + len(lab.ledger.refused)
        try:
            await lab.check()
        except AssertionError as error:
            print(f"{name}: {error}")
            well = False
            lab.ledger.unknown.clear()
            lab.ledger.refused.clear()
        now = lab.engine._host_bus.bus.counters
        await lab.live()
        row = (
            name,
            lab.broker.name,
            tried,
            asked,
            lab.ledger.carried_out - done,
            lab.view.events_missed - missed,
            now.readings_replaced - before.readings_replaced,
        )
        print(" | ".join(map(str, row)), flush=True)
    return well


async def main(every: int, tries: int, only: str) -> int:
    connection.FIRST_DELAY_SECONDS, connection.LONGEST_DELAY_SECONDS = 0.005, 0.05
    watcher.FIRST_REPEAT_SECONDS = 0.1
    faults: dict[str, Fault] = {
        f"{side} cut, bytes {'to' if direction == 'up' else 'from'} the broker": cuts(side, direction, every)
        for side in ("engine", "reader")
        for direction in ("up", "down")
    }
    for name, once in (
        ("broker killed, started again", crash),
        ("broker paused (SIGSTOP)", pause),
        ("connection stalled", stall),
        ("connections refused", refuse),
        ("20 ms later, 50 kB/s", crawl),
    ):
        faults[name] = repeated(tries, once)
    print(" | ".join(HEAD))
    well = True
    with tempfile.TemporaryDirectory() as directory:
        brokers: list[FaultyBroker] = [EmbeddedProcess(), MosquittoProcess(Path(directory))]
        for broker in brokers:
            if only.lower() in broker.name.lower():
                await broker.start()
                try:
                    async with running_lab(broker) as lab:
                        well = await run(lab, faults) and well
                finally:
                    await broker.kill()
    return 0 if well else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="BYTES", help="cut after each so many bytes")
    parser.add_argument("--tries", type=int, default=30, help="of every other fault")
    parser.add_argument("--broker", default="", help="part of the name of the only one to try")
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(main(arguments.every, arguments.tries, arguments.broker)))
