"""What a live engine tells of itself, and when."""

import asyncio

import aiomqtt
import msgspec

from engine.advice.finding import Advice
from engine.bus import topics
from engine.bus.codec import decode
from engine.service.adviser import EVERY_NS, Adviser
from engine.service.engine import Engine
from engine.telemetry.stats import Stats
from tests.advice.lab import evidence
from tests.vmqtui.scripted import make_config, with_queue
from vmqtui.library.lessons import LESSONS

VMS = (("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 2, 0))


def readings(adviser: Adviser, paused: bool, first: int, count: int) -> list[list[str] | None]:
    """Rules that each of some readings, half of ``EVERY_NS`` apart, makes the adviser tell of."""
    config = make_config(VMS)
    config = msgspec.structs.replace(with_queue(config, 1, vm_paused=paused), revision=config.revision)
    adviser.configured(config)
    told = []
    for number in range(first, first + count):
        stats: Stats = evidence(config, pps={1: 500 * number}).stats
        found = adviser.read(msgspec.structs.replace(stats, sim_time_ns=number * EVERY_NS // 2))
        told.append(None if found is None else [one.rule for one in found.findings])
    return told


def test_it_tells_once_and_again_when_it_is_something_else() -> None:
    adviser = Adviser()
    assert readings(adviser, True, 1, 5) == [None, None, ["vm-paused"], None, None]
    assert readings(adviser, False, 6, 4) == [None, [], None, None]


def test_that_nothing_is_wrong_is_told_too() -> None:
    assert readings(Adviser(), False, 1, 3) == [None, None, []]


async def test_an_engine_publishes_it_retained_for_who_comes_later() -> None:
    async with Engine(LESSONS["vlan-near-miss"].scenario, interval_s=0.2) as engine:
        await asyncio.wait_for(engine.advised.wait(), 60)
        url = engine.url
        async with aiomqtt.Client(
            url.host, url.port, username=url.user, password=url.password, identifier="late"
        ) as late:
            await late.subscribe(topics.advice("lab"))
            async with asyncio.timeout(10):
                message = await anext(aiter(late.messages))
    assert isinstance(message.payload, bytes)
    found = decode(Advice, message.payload)
    assert message.retain
    assert [one.rule for one in found.findings] == ["near-miss-vlan"]
