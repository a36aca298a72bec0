"""Traffic and link that change while an engine runs: what is offered follows, and every reading adds up."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.bus.watcher import Watcher
from engine.scenario.load import loads
from engine.telemetry.stats import Stats, known
from tests.end_to_end.program import Done, run
from tests.service.test_engine import check_identities
from tests.traffic.captures import SECOND, ethernet, frame, pcap
from vmqtui import Engine
from vmqtui.pytest_plugin import StartEngine

MAC = "00:15:5d:00:00:01"
SCENARIO = f"""
[host]
name = "changing"
cpus = 2

[[adapter]]
name = "nic0"
buffers = 4096
  [[adapter.queue]]
  vm = "web"
  cpu = 1
    [[adapter.queue.filter]]
    mac = "{MAC}"
"""
MIX: dict[str, Any] = {"rate_pps": 20_000, "flow": [{"mac": MAC, "frame_bytes": 60}, {"kind": "broadcast"}]}


class Reader:
    """Readings of one engine, each checked."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self.engine = engine
        self.watcher = watcher

    async def next(self) -> Stats:
        view = self.watcher.hosts["changing"]
        assert await self.watcher.wait_for(_more_than(view.stats_received, lambda: view.stats_received), 60)
        assert view.stats is not None
        check_identities(view.stats)
        return view.stats

    async def change(self, op: str, **params: Any) -> int:
        """Ask for a change; its revision."""
        response = await self.engine.request(op, **params)
        assert response.status == "ok", response.message
        return response.revision

    async def rate(self, revision: int, counter: str = "offered_frames") -> float:
        """Per second of simulated time, from the first reading of a revision on."""
        first = await self.next()
        while first.revision < revision:
            first = await self.next()
        last = first
        while last.sim_time_ns - first.sim_time_ns < SECOND // 4:
            last = await self.next()
        before, after = known(one.adapters["nic0"].port[counter] for one in (first, last))
        return (after - before) / (last.sim_time_ns - first.sim_time_ns) * SECOND


def _more_than(seen: int, received: Callable[[], int]) -> Callable[[], bool]:
    return lambda: received() > seen


async def _reader(start: StartEngine, watcher_of: Any, **options: Any) -> Reader:
    engine = await start(loads(SCENARIO, "test"), interval_s=0.05, **options)
    watcher = await watcher_of(engine)
    return Reader(engine, watcher)


@pytest.fixture
async def watcher_of() -> Any:
    opened: list[Watcher] = []

    async def open_watcher(engine: Engine) -> Watcher:
        watcher = Watcher(engine.url)
        await watcher.__aenter__()
        opened.append(watcher)
        assert await watcher.wait_for(
            lambda: "changing" in watcher.hosts and watcher.hosts["changing"].stats is not None, 10
        )
        return watcher

    yield open_watcher
    for watcher in opened:
        await watcher.__aexit__(None, None, None)


@pytest.mark.slow
async def test_the_rate_follows_the_traffic_that_is_set(vmq_engine: StartEngine, watcher_of: Any) -> None:
    reader = await _reader(vmq_engine, watcher_of)
    assert await reader.rate(0) == 0

    once = await reader.rate(await reader.change("set_traffic", mix=[MIX]))
    assert once == pytest.approx(20_000, rel=0.005)
    twice = await reader.rate(await reader.change("set_traffic", mix=[{**MIX, "rate_pps": 40_000}]))
    assert twice == pytest.approx(2 * once, rel=0.005)
    assert await reader.rate(await reader.change("set_traffic", mix=[])) == 0
    again = await reader.rate(await reader.change("set_traffic", mix=[MIX]))
    assert again == pytest.approx(20_000, rel=0.005)

    events = [event.event for event in reader.watcher.hosts["changing"].events]
    assert "capture_ended" not in events
    shown = (await reader.engine.request("query_traffic")).result
    assert (shown["source"], shown["traffic"]["mix"][0]["rate_pps"]) == ("synthetic", 20_000.0)
    assert reader.engine.config is not None
    assert reader.engine.config.traffic == "synthetic"


async def test_a_slower_link_caps_what_is_offered_at_line_rate(
    vmq_engine: StartEngine, watcher_of: Any
) -> None:
    reader = await _reader(vmq_engine, watcher_of)
    frames = {"rate_pps": 40_000, "flow": [{"mac": MAC, "frame_bytes": 480}]}
    free = await reader.rate(await reader.change("set_traffic", mix=[frames]))
    assert free == pytest.approx(40_000, rel=0.005)

    line_rate = 0.1e9 / (8 * (480 + 20))
    capped = await reader.rate(await reader.change("set_adapter", link_gbps=0.1))
    assert capped == pytest.approx(line_rate, rel=0.005)
    # The link's speed stays with the adapter when other traffic comes.
    other = {"mix": [{**frames, "rate_pps": 50_000}]}
    assert await reader.rate(await reader.change("set_traffic", **other)) == pytest.approx(
        line_rate, rel=0.005
    )
    config = reader.watcher.hosts["changing"].config
    assert config is not None
    assert config.adapters[0].link_gbps == 0.1


async def test_a_capture_obeys_the_link_and_refuses_other_traffic(
    vmq_engine: StartEngine, watcher_of: Any, tmp_path: Path
) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap([frame(n * 20_000, ethernet(MAC, length=480)) for n in range(1000)]))
    reader = await _reader(vmq_engine, watcher_of, capture=path, loop=True)
    assert await reader.rate(0) == pytest.approx(50_000, rel=0.01)

    refused = await reader.engine.request("set_traffic", mix=[MIX])
    assert (refused.status, refused.ndis_status) == ("error", "NDIS_STATUS_NOT_SUPPORTED")
    assert (await reader.engine.request("query_traffic")).result == {"source": "capture", "traffic": None}
    capped = await reader.rate(await reader.change("set_adapter", link_gbps=0.1))
    assert capped == pytest.approx(0.1e9 / (8 * 500), rel=0.005)


@pytest.mark.slow
async def test_the_commands_show_set_and_scale_traffic_and_change_the_adapter(
    vmq_engine: StartEngine, tmp_path: Path
) -> None:
    engine = await vmq_engine(loads(SCENARIO, "test"))

    async def vmqtui(*arguments: str | Path) -> Done:
        return await asyncio.to_thread(run, *arguments, VMQTUI_BROKER=engine.url.with_password())

    wanted = tmp_path / "wanted.toml"
    wanted.write_text(
        '[host]\nname = "ignored"\n[[traffic.mix]]\nrate_gbps = 0.01\n'
        f'flow = [{{ mac = "{MAC}", weight = 2 }}]\n'
    )
    done = await vmqtui("traffic", "set", wanted)
    assert (done.status, done.err) == (0, "")
    done = await vmqtui("traffic", "set", "--rate-pps", "500", "--json")
    assert (done.status, done.document["status"]) == (0, "ok")

    shown = await vmqtui("traffic", "show")
    assert (
        loads(shown.out, "shown").traffic
        == loads(
            f'[[traffic.mix]]\nrate_pps = 500\nflow = [{{ mac = "{MAC}", weight = 2 }}]', "expected"
        ).traffic
    )

    bad = tmp_path / "bad.toml"
    bad.write_text(f'[[traffic.mix]]\nrate_pps = 1\nflow = [{{ mac = "{MAC}", wieght = 2 }}]\n')
    refused = await vmqtui("traffic", "set", bad, "--json")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == (
        f'error: {bad}: traffic.mix[0].flow[0].wieght: unknown key (did you mean "weight"?)\n'
    )
    assert (await vmqtui("traffic", "set")).status == 2

    done = await vmqtui("adapter", "set", "--link-gbps", "2.5", "--no-vlan-filtering", "--max-queues", "3")
    assert done.status == 0
    assert engine.config is not None
    adapter = engine.config.adapters[0]
    assert (adapter.link_gbps, adapter.vlan_filtering, adapter.max_queues) == (2.5, False, 3)
    assert (await vmqtui("adapter", "set", "--max-queues", "0")).status == 1
