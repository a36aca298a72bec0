"""The default queue: whose frames land there, what nearly took them, and giving them a queue."""

from itertools import pairwise

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.bus import codec
from engine.telemetry.config import FilterConfig
from engine.telemetry.stats import AdapterStats, Stats, TopPairs
from engine.view.pairs import PairView
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, notes, opened
from tests.vmqtui.scripted import live_link, mac, make_config, make_stats, with_queue
from vmqtui.columns import COLUMNS
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.filters import Addresses, known_addresses
from vmqtui.testing import until
from vmqtui.widgets.table import LiveTable


def snapshot(now: int = 8, before: int = 4, **changes: object) -> Snapshot:
    """Two readings; ``changes`` are made to the newer one's pairs."""
    stats = make_stats(now)
    if changes:
        adapter = stats.adapters["nic0"]
        # These readings have pairs.
        pairs = msgspec.structs.replace(adapter.default_queue_top, **changes)  # type: ignore[type-var]
        adapter = msgspec.structs.replace(adapter, default_queue_top=pairs)
        stats = msgspec.structs.replace(stats, adapters={"nic0": adapter})
    return Snapshot("hv01", None, make_config(), stats, make_stats(before))


def pair(of: Snapshot, address: str) -> PairView:
    return next(row for row in of.top if row.mac == address)


def test_rate_of_a_pair_is_its_growth_over_simulated_time() -> None:
    row = pair(snapshot(), mac(0x1001))
    before = pair(snapshot(4, 0), mac(0x1001))
    assert row.frames is not None
    assert before.frames is not None
    assert row.pps == row.frames - before.frames
    assert row.vm == "app-01"
    assert row.near == ()


def test_rate_is_unknown_while_the_sketch_can_not_tell() -> None:
    changed = snapshot(error=[0, 0, 0, 0, 0, 0, 4000])
    assert [row.pps is None for row in changed.top] == [row.error != 0 for row in changed.top]
    assert snapshot(8, 8).top[0].pps is None
    assert Snapshot("hv01", None, make_config(), make_stats(8)).top[0].pps is None


def test_near_miss_has_the_mac_and_another_vlan() -> None:
    row = pair(snapshot(), mac(4))
    assert (row.vlan, row.wanted, row.vm) == (10, [20], "sql-02")
    assert [one.place for one in row.near] == ["filter 4 of sql-02"]
    assert [(near.pair.vlan, near.near.vlan) for near in snapshot().near_misses] == [(10, 20), (30, 10)]


def test_filter_without_a_vlan_test_is_missed_by_nothing() -> None:
    config = with_queue(make_config(), 6, state="paused")
    adapter = config.adapters[0]
    wide = FilterConfig(filter_id=14, queue_id=6, mac=mac(1), vlan=None, driver="vsp")
    adapter = msgspec.structs.replace(adapter, filters=[*adapter.filters, wide])
    config = msgspec.structs.replace(config, adapters=[adapter])
    found = Snapshot("hv01", None, config, make_stats(8), make_stats(4))
    assert [one.filter_id for one in pair(found, mac(1)).near] == [1]


def given(address: str, vlan: int) -> Snapshot:
    """Queue 6 takes a pair by now, and no frame of it came since the reading before."""
    config = make_config()
    adapter = config.adapters[0]
    taker = FilterConfig(filter_id=14, queue_id=6, mac=address, vlan=vlan, driver="vsp")
    adapter = msgspec.structs.replace(adapter, filters=[*adapter.filters, taker])
    config = msgspec.structs.replace(config, adapters=[adapter])
    after = make_stats(8)
    pairs, before = after.adapters["nic0"].default_queue_top, make_stats(4).adapters["nic0"].default_queue_top
    assert pairs is not None
    assert before is not None
    still = dict(zip(zip(before.mac, before.vlan, strict=True), before.frames, strict=True))[address, vlan]
    at = list(zip(pairs.mac, pairs.vlan, strict=True)).index((address, vlan))
    pairs.frames[at] = still
    return Snapshot("hv01", None, config, after, make_stats(4))


def test_pairs_are_listed_by_what_comes_now_not_by_what_came() -> None:
    before = [row.mac for row in snapshot().top]
    assert before[0] == mac(0x1001)
    rows = given(mac(0x1001), 10).top
    rates = [row.pps or 0.0 for row in rows]
    assert max(row.frames or 0 for row in rows) == pair(given(mac(0x1001), 10), mac(0x1001)).frames
    assert rates[0] > 0
    assert rates.index(0.0) <= [row.mac for row in rows].index(mac(0x1001))
    assert all(later < 1.5 * earlier for earlier, later in pairwise(rates) if earlier)


def test_pair_that_has_a_queue_by_now_says_which_and_is_no_near_miss() -> None:
    row = pair(given(mac(0x1001), 10), mac(0x1001))
    assert row.queue_id == 6
    column = next(one for one in COLUMNS["top"] if one.key == "queue_id")
    assert column.written(row) == ("6", "good")
    assert column.text(pair(snapshot(), mac(0x1001))) == "–"
    found = given(mac(4), 10)
    assert pair(found, mac(4)).near == ()
    assert [one.pair.mac for one in found.near_misses] == [mac(1)]


def test_queue_that_does_not_run_has_no_frames_of_a_pair() -> None:
    found = given(mac(0x1001), 10)
    assert found.config is not None
    stopped = with_queue(found.config, 6, state="paused")
    assert pair(Snapshot("hv01", None, stopped, found.stats, found.before), mac(0x1001)).queue_id is None


def test_port_without_a_filter_is_a_near_miss_too() -> None:
    config = make_config()
    adapter = msgspec.structs.replace(config.adapters[0], filters=[])
    config = msgspec.structs.replace(config, adapters=[adapter])
    row = pair(Snapshot("hv01", None, config, make_stats(8), make_stats(4)), mac(4))
    assert [one.place for one in row.near] == ["port of sql-02"]


def test_engine_that_does_not_tell_is_unknown_not_empty() -> None:
    adapter = make_stats(8).adapters["nic0"]
    silent = AdapterStats(adapter.port, adapter.queues, adapter.filters, adapter.freed, adapter.default_queue)
    stats = msgspec.structs.replace(make_stats(8), adapters={"nic0": silent})
    found = Snapshot("hv01", None, make_config(), stats)
    assert found.top == ()
    assert not found.adapters[0].pairs_known
    del stats.adapters["nic0"].queues["low_free_buffers"]
    assert codec.decode(Stats, codec.encode(stats)).adapters["nic0"].default_queue_top is None


def test_pairs_survive_the_wire() -> None:
    decoded = codec.decode(Stats, codec.encode(make_stats(8)))
    pairs = decoded.adapters["nic0"].default_queue_top
    assert isinstance(pairs, TopPairs)
    assert 10 in pairs.vlan
    assert "untagged" in pairs.vlan


def test_sketch_says_how_sure_it_is() -> None:
    column = next(one for one in COLUMNS["top"] if one.key == "error")
    assert [column.cell(row, 9)[0].strip() for row in snapshot().top][-3:] == [
        "exact",
        "exact",
        "△800",
    ] or any("800" in column.text(row) for row in snapshot().top)


async def test_pair_is_given_a_queue_by_one_key(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("6")
        await pilot.pause()
        table = app.screen.query_one("#default-top", LiveTable)
        first = table.rows[0].identity
        await pilot.press("plus")
        await opened(pilot, app)
        values = {
            key: app.screen.query_one(f"#field-{key}", Input).value for key in ("vm", "mac", "vlan", "cpu")
        }
        assert values == {"vm": "app-01", "mac": mac(0x1001), "vlan": "10", "cpu": "7"}
        link.answer(queue_id=13)
        link.answer(filter_id=14)
        link.answer(queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}])
        app.screen.query_one("#field-vm", Input).focus()
        await pilot.press("enter")
        await closed(pilot, app)
        assert [op for _, op, _ in link.asked] == ["allocate_queue", "set_filter", "complete_allocation"]
        assert table.row is not None
        assert table.row.identity == first


@pytest.mark.slow
async def test_near_miss_is_given_a_queue_with_the_vlan_of_the_frames(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("6", "tab", "plus")
        await opened(pilot, app)
        values = {key: app.screen.query_one(f"#field-{key}", Input).value for key in ("vm", "mac", "vlan")}
        assert values == {"vm": "sql-02", "mac": mac(4), "vlan": "10"}


@pytest.mark.slow
async def test_group_address_can_not_have_a_queue_and_that_is_said(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("6", "down", "down", "plus")
        assert "a filter takes unicast addresses only" in notes(app)
        assert len(app.screen_stack) == 1
        assert link.asked == []


@pytest.mark.slow
async def test_both_vlans_of_a_near_miss_are_shown(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("6")
        await pilot.pause()
        line = next(one for one in screen_text(app).splitlines() if "≠" in one and "web-01" in one)
        assert " 30 " in line
        assert " 10 " in line
        assert "filter 1 of web-01" in line


@pytest.mark.slow
async def test_of_an_engine_that_does_not_tell_there_are_the_ports(dashboard: Running) -> None:
    link = live_link()
    stats = make_stats(8)
    adapter = msgspec.structs.replace(stats.adapters["nic0"], default_queue_top=None)
    link.publish("hv01", stats=msgspec.structs.replace(stats, adapters={"nic0": adapter}))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("6")
        await pilot.pause()
        assert "Who lands here" not in screen_text(app)
        assert app.screen.focused is app.screen.query_one("#default-ports")
        assert "app-01" in screen_text(app)


def test_addresses_of_the_default_queue_are_the_first_that_fields_complete() -> None:
    known = known_addresses(snapshot(), "nic0")
    seen = [row for row in snapshot().top if row.steerable]
    assert list(known.macs[: len(seen)]) == [row.mac for row in seen]
    assert known.macs.count(mac(4)) == 1
    assert set(known.macs) > {mac(number) for number in range(1, 13)}
    assert set(known.vlans) == {"10", "20", "30", "untagged"}
    assert known_addresses(snapshot(), "nic9") == Addresses([], [])


@pytest.mark.slow
async def test_a_field_completes_what_is_typed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        field = app.screen.query_one("#field-mac", Input)
        await pilot.press("0")
        await pilot.pause()
        first = next(row.mac for row in app.model.snapshot.top if row.steerable)
        await until_suggested(pilot, field, first)
        await pilot.press("right", "tab")
        assert field.value == first
        await pilot.press("u", "right")
        await pilot.press("escape")
        await closed(pilot, app)
        await pilot.press("n")
        await opened(pilot, app)
        field = app.screen.query_one("#field-vm", Input)
        await pilot.press("A")
        await until_suggested(pilot, field, "app-01")


async def until_suggested(pilot: Pilot[None], field: Input, words: str) -> None:
    """Wait until a field proposes a value."""
    await until(lambda: field._suggestion == words, what=words, between=lambda: pilot.pause(0.02))
