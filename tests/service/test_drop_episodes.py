"""When drops become events: each episode has a beginning and an end, and a flood of them is bounded."""

from collections.abc import Mapping

import pytest

from engine.scenario.load import default_scenario
from engine.service.drop_episodes import EPISODES_PER_S, MOST_AT_ONCE, QUIET_NS, DropEpisodes
from engine.telemetry.events import NewEvent
from engine.telemetry.stats import AdapterStats, Columns, Stats
from tests.service.lab import lab

MS = 1_000_000


def reading(at_ms: int, drops: Mapping[tuple[int, int], int], interface: int | None = None) -> Stats:
    """A reading in which queues, by id and generation, have dropped so many frames."""
    queues: Columns = {
        "id": [queue_id for queue_id, _ in drops],
        "generation": [generation for _, generation in drops],
        "dropped_no_buffer": list(drops.values()),
    }
    counted = {"kernel_dropped_frames": interface or 0, "interface_dropped_frames": 0}
    adapter = AdapterStats(
        port={},
        queues=queues,
        filters={},
        freed={},
        default_queue={},
        interface=None if interface is None else {**counted},
    )
    return Stats(seq=1, sim_time_ns=at_ms * MS, time_ns=0, revision=1, cpus={}, adapters={"nic0": adapter})


def of_queue(episodes: DropEpisodes, at_ms: int, dropped: int) -> list[str]:
    """Events of one queue that has dropped so many frames."""
    return [one.event for one in episodes.take(reading(at_ms, {(1, 1): dropped}))]


def test_each_burst_of_drops_has_its_beginning_and_its_end() -> None:
    episodes, dropped, told = DropEpisodes(), 0, list[tuple[int, str]]()
    for at_ms in range(0, 12_000, 250):
        dropped += 166 if at_ms % 3000 == 1000 else 0
        told += [(at_ms, event) for event in of_queue(episodes, at_ms, dropped)]
    assert told == [
        (burst_ms + after_ms, event)
        for burst_ms in (1000, 4000, 7000, 10_000)
        for after_ms, event in ((0, "drops_begin"), (QUIET_NS // MS, "drops_end"))
        if burst_ms + after_ms < 12_000
    ]


def test_drops_closer_together_than_that_are_one_episode() -> None:
    episodes = DropEpisodes()
    told = [of_queue(episodes, at_ms, at_ms) for at_ms in range(1000, 20_000, QUIET_NS // MS - 1)]
    assert told[0] == ["drops_begin"]
    assert not any(told[1:])


def test_drops_of_before_the_first_reading_of_a_measured_host_are_no_episode() -> None:
    episodes = DropEpisodes(from_zero=False)
    assert of_queue(episodes, 0, 1_000) == []
    (began,) = episodes.take(reading(500, {(1, 1): 1_005}))
    assert (began.event, began.cause) == ("drops_begin", "5 frames found no buffer")
    episodes = DropEpisodes(from_zero=False)
    assert of_queue(episodes, 0, 0) == []
    assert of_queue(episodes, 500, 3) == ["drops_begin"]


def test_a_counter_of_drops_that_is_not_known_has_no_episode() -> None:
    stats = reading(0, {(1, 1): 0})
    stats.adapters["nic0"].queues["dropped_no_buffer"] = [None]
    assert list(DropEpisodes(from_zero=False).take(stats)) == []
    assert list(DropEpisodes().take(stats)) == []


def test_an_episode_says_how_many_frames_it_cost() -> None:
    episodes = DropEpisodes()
    told: list[NewEvent] = []
    for at_ms, dropped in ((0, 5), (1000, 12), (4000, 12), (5000, 20), (8000, 20)):
        told += episodes.take(reading(at_ms, {(3, 1): dropped}))
    assert [one[:4] for one in told] == [
        ("drops_begin", "5 frames found no buffer", "nic0", 3),
        ("drops_end", "12 frames were dropped", "nic0", 3),
        ("drops_begin", "8 frames found no buffer", "nic0", 3),
        ("drops_end", "8 frames were dropped", "nic0", 3),
    ]


def test_the_drops_of_a_queue_that_is_freed_have_ended_and_those_of_the_next_one_begin() -> None:
    episodes = DropEpisodes()
    list(episodes.take(reading(0, {(1, 1): 7})))
    told = list(episodes.take(reading(250, {(1, 2): 3})))
    assert [(one.event, one.queue_id) for one in told] == [("drops_begin", 1), ("drops_end", 1)]
    assert "7 frames" in told[1].cause


def test_a_live_interface_has_episodes_too() -> None:
    episodes = DropEpisodes()
    told = [
        one.event
        for at_ms, lost in ((0, 0), (1000, 4), (5000, 4))
        for one in episodes.take(reading(at_ms, {}, lost))
    ]
    assert told == ["interface_drops_begin", "interface_drops_end"]


def test_of_a_flood_of_episodes_so_many_are_reported_and_the_others_counted() -> None:
    episodes, told = DropEpisodes(), list[NewEvent]()
    count, burst_s, bursts = 1000, 3, 20
    for at_s in range(bursts * burst_s):
        dropped = 1 + at_s // burst_s
        told += episodes.take(reading(at_s * 1000, {(one, 1): dropped for one in range(1, count + 1)}))
    begun = [one for one in told if one.event == "drops_begin"]
    ended = [one for one in told if one.event == "drops_end"]
    summed = [one for one in told if one.event == "drops_unreported"]
    assert MOST_AT_ONCE <= len(begun) <= MOST_AT_ONCE + EPISODES_PER_S * bursts * burst_s
    assert [one.queue_id for one in begun[: len(ended)]] == [one.queue_id for one in ended]
    assert len(summed) == bursts * burst_s / 10
    left_out = sum(int(one.cause.split()[2].replace(",", "")) for one in summed)
    assert count * (bursts - 4) <= left_out + len(begun) <= count * bursts
    assert "so far" in summed[0].cause


@pytest.mark.slow
def test_the_bursts_of_the_default_lab_each_begin_and_end() -> None:
    with lab(default_scenario()) as running:
        number = running.queue_id("backup-01")
        for _ in running.readings(8.75):
            pass
        told = [one.event for one in running.machine.take_events() if one.queue_id == number]
    assert [event for event in told if event.startswith("drops")] == ["drops_begin", "drops_end"] * 3
