"""What a live engine tells of itself, and when."""

import asyncio

import aiomqtt
import msgspec
import pytest

from engine.advice.finding import Advice
from engine.advice.thresholds import AdviceThresholds
from engine.bus import topics
from engine.bus.codec import decode
from engine.bus.watcher import KINDS, Watcher
from engine.service.publishing import AGAIN_NS, AdvicePublisher
from engine.telemetry.stats import Stats
from tests.advice.lab import evidence
from tests.vmqtui.scripted import make_config, with_queue
from vmqtui import Engine
from vmqtui.library.lessons import LESSONS

VMS = (("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 2, 0))


SECOND = 1_000_000_000


def readings(
    publisher: AdvicePublisher, paused: bool, first_s: int, count: int
) -> list[tuple[int, list[str]]]:
    """Rules that the publisher publishes, and at which second, of a reading a second."""
    config = make_config(VMS)
    config = msgspec.structs.replace(with_queue(config, 1, vm_paused=paused), revision=config.revision)
    publisher.configured(config)
    published = []
    for at_s in range(first_s, first_s + count):
        stats: Stats = evidence(config, pps={1: 500 * at_s}).stats
        found = publisher.read(msgspec.structs.replace(stats, seq=at_s, sim_time_ns=at_s * SECOND))
        if found is not None:
            published.append((at_s, [one.rule for one in found.findings]))
    return published


def test_what_is_found_is_published_when_it_comes_and_while_it_lasts_every_ten_seconds() -> None:
    every_s = AGAIN_NS // SECOND
    assert readings(AdvicePublisher(), True, 0, 2 + 2 * every_s + 1) == [
        (2 + number * every_s, ["vm-paused"]) for number in range(3)
    ]


def test_what_went_is_published_when_the_window_has_passed() -> None:
    publisher = AdvicePublisher(AdviceThresholds(window_s=6))
    assert readings(publisher, True, 0, 5) == [(2, ["vm-paused"])]
    assert readings(publisher, False, 5, 15) == [(10, [])]


def test_that_nothing_is_wrong_is_published_once() -> None:
    assert readings(AdvicePublisher(), False, 0, 60) == [(2, [])]


@pytest.mark.slow
async def test_an_engine_publishes_it_retained_for_who_comes_later() -> None:
    async with Engine(LESSONS["vlan-near-miss"].scenario, interval_s=0.2) as engine:
        await asyncio.wait_for(engine.advised.wait(), 60)
        url = engine.url
        async with (
            asyncio.timeout(60),
            aiomqtt.Client(
                url.host, url.port, username=url.user, password=url.password, identifier="late"
            ) as late,
        ):
            message = None
            while message is None or not message.retain:  # a live message is not the retained one
                await late.subscribe(topics.advice("lab"))
                message = await anext(aiter(late.messages))
            async with Watcher(url, kinds=(*KINDS, "advice")) as watcher:
                assert await watcher.wait_for(lambda: any(one.advice for one in watcher.hosts.values()), 60)
                followed = watcher.hosts["lab"].advice
    assert isinstance(message.payload, bytes)
    found = decode(Advice, message.payload)
    assert followed is not None
    assert [one.identity for one in followed.findings] == [one.identity for one in found.findings]
    assert followed.thresholds == AdviceThresholds()
    assert [one.rule for one in found.findings] == ["near-miss-vlan"]
