"""What a fleet's table needs of an engine: in every second, in little room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiomqtt
import msgspec
import pytest

from engine.advice.finding import MOST_FINDINGS, Advice, Finding, Severity
from engine.bus import codec, topics
from engine.scenario.load import default_scenario
from engine.service.publishing import SummaryBuilder
from engine.telemetry.stats import Stats, known
from engine.telemetry.summary import FindingCounts, Summary
from tests import measured
from tests.export.lab import INTERFACE, full_stats
from vmqtui import Engine

SECOND = 1_000_000_000
LIMIT_BYTES = 1024
MOST = (1 << 63) - 1


def finding(severity: Severity, says: str = "queue 3 drops") -> Finding:
    return Finding(
        rule="drops", severity=severity, adapter="nic0", key="3", where="queue 3", says=says, numbers={},
        cause="", fix="", measure="",
    )  # fmt: skip


def advice(*findings: Finding, counts: dict[Severity, int] | None = None) -> Advice:
    return Advice(sim_time_ns=0, time_ns=0, revision=1, findings=list(findings), counts=counts or {})


def test_counters_are_sums_over_all_queues_and_adapters() -> None:
    stats = full_stats()
    one = stats.adapters["nic0"]
    two = msgspec.structs.replace(
        one, freed=one.freed | {"lost_frames": 7, "switch_dropped_frames": 11}, interface=None
    )
    stats = msgspec.structs.replace(stats, adapters={"nic0": one, "nic1": two})
    summary = SummaryBuilder().read(stats)
    kinds = ("dropped_no_buffer", "discarded_frames", "lost_frames", "switch_dropped_frames")
    of_queues = sum(sum(known([*one.queues[kind], one.freed[kind]])) for kind in kinds)
    of_interface = INTERFACE["kernel_dropped_frames"] + INTERFACE["interface_dropped_frames"]
    replaced = sum(known([one.freed["lost_frames"], one.freed["switch_dropped_frames"]]))
    assert summary.dropped_frames == 2 * of_queues + of_interface + 7 + 11 - replaced
    assert summary.offered_bytes == sum(known([one.port["offered_bytes"]] * 2))
    assert summary.default_queue_frames == 2 * sum(known(one.default_queue.values()))
    assert (summary.adapters, summary.queues) == (2, 2 * len(one.queues["id"]))
    assert (summary.time_ns, summary.sim_time_ns) == (stats.time_ns, stats.sim_time_ns)


def test_the_busiest_processor_is_that_of_the_time_since_the_summary_before() -> None:
    before = full_stats()
    cpus = len(before.cpus["id"])
    busy = [old + 10 * cpu for cpu, old in enumerate(known(before.cpus["busy_cycles"]))]
    budget = [old + 100 for old in known(before.cpus["budget_cycles"])]
    now = msgspec.structs.replace(
        before,
        sim_time_ns=before.sim_time_ns + SECOND,
        cpus=before.cpus | {"busy_cycles": busy, "budget_cycles": budget},
    )
    summaries = SummaryBuilder()
    assert summaries.read(before).busiest_load is None
    summary = summaries.read(now)
    assert summary.busiest_cpu == cpus - 1
    assert summary.busiest_load == pytest.approx((cpus - 1) / 10)
    assert summaries.read(now).busiest_load is None, "no time has passed"


def test_a_number_of_a_measured_host_with_an_unknown_part_is_unknown() -> None:
    summaries, linux = SummaryBuilder("measured"), measured.linux().readings
    summaries.read(linux[1])
    summary = summaries.read(linux[3])
    assert (summary.kind, summary.cpus, summary.cpus_down, summary.adapters, summary.queues) == (
        "measured", 4, None, 3, 8
    )  # fmt: skip
    assert (summary.offered_frames, summary.offered_bytes, summary.dropped_frames) == (None, None, None)
    assert summary.default_queue_frames == 3 * (1100 + 2000), "those of ring 0, steered or received"
    assert summary.busiest_cpu == 3
    assert summary.busiest_load == pytest.approx(0.3)
    assert codec.decode(Summary, codec.encode(summary)).dropped_frames is None


def test_the_drops_of_a_measured_host_are_those_for_want_of_a_buffer() -> None:
    reading = measured.linux().readings[3]
    queues = reading.adapters["eth0"].queues | {"dropped_no_buffer": [300, 0, 2, 1]}
    eth0 = msgspec.structs.replace(reading.adapters["eth0"], queues=queues)
    summary = SummaryBuilder("measured").read(msgspec.structs.replace(reading, adapters={"eth0": eth0}))
    assert summary.dropped_frames == 303
    assert summary.offered_frames == 4800


def test_a_processor_of_which_only_one_reading_tells_is_not_the_busiest() -> None:
    first, _, second = measured.linux(3).readings
    cpus = {name: [*column[:3]] for name, column in first.cpus.items()}
    summaries = SummaryBuilder("measured")
    summaries.read(msgspec.structs.replace(first, cpus=cpus))
    assert summaries.read(second).busiest_cpu == 2


def test_findings_are_counted_by_severity_and_the_worst_is_in_words() -> None:
    summaries = SummaryBuilder()
    assert summaries.read(full_stats()).findings is None
    every: dict[Severity, int] = {"bad": 1, "warn": 1, "note": 3}
    summaries.advised(advice(finding("bad", "queue 3 drops"), finding("warn"), finding("note"), counts=every))
    summary = summaries.read(full_stats())
    assert summary.findings == FindingCounts(bad=1, cost=1, note=3)
    assert summary.worst == "queue 3 drops"
    summaries.advised(advice())
    summary = summaries.read(full_stats())
    assert (summary.findings, summary.worst) == (FindingCounts(), None)


def test_it_is_under_a_kibibyte_whatever_the_host() -> None:
    summaries = SummaryBuilder()
    summaries.advised(advice(*[finding("bad", "ß€𝛼" * 4000)] * MOST_FINDINGS, counts={"bad": MOST}))
    summary = summaries.read(full_stats())
    largest = msgspec.structs.replace(
        summary,
        **{
            field: MOST
            for field, value in msgspec.structs.asdict(summary).items()
            if isinstance(value, int) or field == "busiest_cpu"
        },
    )
    payload = codec.encode(largest)
    assert len(payload) < LIMIT_BYTES
    assert codec.decode(Summary, payload).worst == summary.worst


@pytest.mark.parametrize("interval_s", [0.25, 30.0])
@pytest.mark.slow
async def test_an_engine_sends_one_every_second_whatever_its_interval(interval_s: float) -> None:
    found: list[Summary] = []
    numbers: list[int] = []
    async with Engine(default_scenario(), interval_s=interval_s) as engine, reader(engine) as early:
        async with asyncio.timeout(60):
            while len(found) < 3:
                message = await anext(early.messages)
                assert isinstance(message.payload, bytes)
                if message.topic.value == topics.stats(engine.host):
                    numbers.append(codec.decode(Stats, message.payload).seq)
                else:
                    found.append(codec.decode(Summary, message.payload))
            async with reader(engine) as late:
                retained = await anext(late.messages)
    assert [one.seq - found[0].seq for one in found] == [0, 1, 2]
    assert (len(numbers) > len(found)) is (interval_s < 1)
    assert [one.sim_time_ns for one in found] == sorted(one.sim_time_ns for one in found)
    assert [one - numbers[0] for one in numbers] == list(range(len(numbers)))
    assert found[-1].offered_frames
    assert retained.retain
    assert retained.topic.value == topics.summary(engine.host)


@contextlib.asynccontextmanager
async def reader(engine: Engine) -> AsyncIterator[aiomqtt.Client]:
    """A client that has subscribed to summaries and stats."""
    url = engine.url
    async with aiomqtt.Client(url.host, url.port, username=url.user, password=url.password) as client:
        await client.subscribe([(topics.summary(engine.host), 0), (topics.stats(engine.host), 0)])
        yield client
