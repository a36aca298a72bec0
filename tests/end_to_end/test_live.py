"""A live engine at a million frames a second: identities, workers, a queue moved under load."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.checks import QUEUE_COUNTERS, identities, rows
from tests.end_to_end.lab import HOT, MAC
from tests.end_to_end.mqtt_client import Message, Reader
from tests.end_to_end.program import Running
from vmqtui.testing import wait_until

pytestmark = pytest.mark.slow

RUN_SIM_SECONDS = 6


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Reader]]:
    """The engine and a client that has followed it through requests and on."""
    path = tmp_path_factory.mktemp("hot") / "hot.toml"
    path.write_text(HOT, encoding="utf-8")
    engine = Running("engine", "--scenario", path, "--interval", "0.1")
    try:
        url = engine.first_line()
        assert re.fullmatch(r"mqtt://owner:[0-9a-f]{32}@127\.0\.0\.1:\d+", url)
        reader = Reader(url, "hot")
        first = reader.last("stats")
        reader.ok("set_queue_parameters", adapter="nic0", queue_id=1, cpu=3)
        moved = reader.next_stats()

        def on_the_new_processor() -> bool:
            row, then = (rows(each["cpus"])[3] for each in (reader.last("stats"), moved))
            return bool(row["indicated_frames"] > then["indicated_frames"] + 10_000)

        wait_until(on_the_new_processor, 20, what="load on the new processor")
        for cpu in (0, 1, 2, 3, 0, 1):
            reader.ok("set_queue_parameters", adapter="nic0", queue_id=1, cpu=cpu)
        queue_id = reader.ok("allocate_queue", adapter="nic1", name="spare", vm="spare", cpu=0, buffers=256)[
            "queue_id"
        ]
        reader.ok("complete_allocation", adapter="nic1", queue_ids=[queue_id])
        filter_id = reader.ok("set_filter", adapter="nic1", queue_id=queue_id, mac=MAC["spare"])["filter_id"]
        reader.next_stats()
        reader.ok("clear_filter", adapter="nic1", queue_id=queue_id, filter_id=filter_id)
        reader.ok("free_queue", adapter="nic1", queue_id=queue_id)

        def ran() -> bool:
            return bool(reader.last("stats")["sim_time_ns"] - first["sim_time_ns"] >= RUN_SIM_SECONDS * 10**9)

        wait_until(ran, 40, what="simulated time")
        yield engine, reader
        reader.close()
    finally:
        engine.end()


def tables(stats: Message) -> Iterator[tuple[Message, list[dict[str, Any]]]]:
    for adapter in stats["adapters"].values():
        yield adapter, rows(adapter["queues"])


def test_the_identities_hold_in_every_stats_message(hot: tuple[Running, Reader]) -> None:
    messages = hot[1].messages["stats"]
    assert len(messages) > 30
    for stats in messages:
        assert stats["schema"] == "vmq.stats/1"
        assert set(stats["adapters"]) == {"nic0", "nic1"}
        for adapter, queues in tables(stats):
            identities(adapter["port"], queues, adapter["freed"], adapter["default_queue"])
            credited = sum(adapter["filters"]["matched_frames"])
            assert credited <= adapter["port"]["offered_frames"]
        indicated = sum(stats["cpus"]["indicated_frames"])
        assert indicated == sum(
            adapter["freed"]["indicated_frames"] + sum(queue["indicated_frames"] for queue in queues)
            for adapter, queues in tables(stats)
        )


def test_clocks_and_counters_only_go_on(hot: tuple[Running, Reader]) -> None:
    messages = hot[1].messages["stats"]
    for before, after in pairwise(messages):
        assert after["seq"] > before["seq"]
        assert after["sim_time_ns"] >= before["sim_time_ns"]
        assert after["time_ns"] > before["time_ns"]
        for name, adapter in after["adapters"].items():
            earlier = before["adapters"][name]
            assert all(adapter["port"][key] >= earlier["port"][key] for key in adapter["port"])
            old = {row["generation"]: row for row in rows(earlier["queues"])}
            for row in rows(adapter["queues"]):
                then = old.get(row["generation"])
                assert then is None or all(row[key] >= then[key] for key in QUEUE_COUNTERS)


def test_a_million_frames_a_second_are_offered(hot: tuple[Running, Reader]) -> None:
    """By the engine's own clock; and that clock keeps some pace with the wall even on a busy machine."""
    first, last = hot[1].messages["stats"][0], hot[1].messages["stats"][-1]
    for name in ("nic0", "nic1"):
        offered = (
            last["adapters"][name]["port"]["offered_frames"]
            - first["adapters"][name]["port"]["offered_frames"]
        )
        rate = offered / (last["sim_time_ns"] - first["sim_time_ns"]) * 1e9
        assert rate == pytest.approx(500_000, rel=0.01)


def test_nothing_is_lost_while_queues_move(hot: tuple[Running, Reader]) -> None:
    """Processors are fast and buffers many here, so nothing is dropped either, but at the slow VM."""
    for adapter, queues in tables(hot[1].messages["stats"][-1]):
        for queue in queues:
            assert queue["lost_frames"] == queue["discarded_frames"] == 0
            assert queue["id"] == 2 or queue["dropped_no_buffer"] == 0, queue
        assert adapter["freed"]["lost_frames"] == 0
    generations = {
        tuple(each["adapters"]["nic0"]["queues"]["generation"]) for each in hot[1].messages["stats"]
    }
    assert len(generations) == 1


def test_each_simulated_processor_is_a_process(hot: tuple[Running, Reader]) -> None:
    """Below the fork server there are exactly as many as the scenario has processors."""
    family = hot[0].family()
    parents = {each.pid: each.ppid() for each in family}
    servers = [each for each in family if "forkserver" in " ".join(each.cmdline())]
    if not servers:
        pytest.skip("this system spawns workers")
    workers = [each for each in servers if parents[each.pid] in {server.pid for server in servers}]
    assert len(workers) == 4
    assert all(each.status() != psutil.STATUS_ZOMBIE for each in workers)


def test_two_like_adapters_keep_every_counter_apart(hot: tuple[Running, Reader]) -> None:
    """The one is fed evenly, the other at random: what they count differs, and each adds up by itself."""
    stats = hot[1].messages["stats"][-1]
    ports = [adapter["port"] for adapter in stats["adapters"].values()]
    assert ports[0]["offered_bytes"] != ports[1]["offered_bytes"]
    freed = [adapter["freed"]["steered_frames"] for adapter in stats["adapters"].values()]
    assert freed[0] == 0 < freed[1]


def test_the_configuration_is_retained_and_names_what_runs(
    hot: tuple[Running, Reader], tmp_path: Path
) -> None:
    late = Reader(hot[0].out[0].strip(), "hot")
    wait_until(lambda: {"status", "config"} <= set(late.retained), what="the retained messages")
    assert late.retained["status"]["state"] == "online"
    assert {"schema", "version", "started_at"} <= set(late.retained["status"])
    config = late.retained["config"]
    assert [each["name"] for each in config["adapters"]] == ["nic0", "nic1"]
    assert config["revision"] == late.last("stats")["revision"]
    late.close()
