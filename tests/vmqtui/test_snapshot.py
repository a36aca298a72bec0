"""Joins: counters with configuration by (adapter, id, generation), filters by id."""

import msgspec
import pytest

from engine.bus.messages import Status
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats, known
from tests.vmqtui.scripted import (
    SECOND,
    START_NS,
    ScriptedHost,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
    with_queue,
)
from vmqtui.columns import COLUMNS
from vmqtui.columns.export import cell
from vmqtui.state.hosts import Hosts, liveness
from vmqtui.state.model import Model
from vmqtui.state.snapshot import Snapshot


def snapshot(first: int = 4, second: int = 8, **shape: object) -> Snapshot:
    return Snapshot(
        "hv01",
        config=make_config(**shape),  # type: ignore[arg-type]  # options of any of its types
        stats=make_stats(second, **shape),  # type: ignore[arg-type]  # options of any of its types
        before=make_stats(first, **shape),  # type: ignore[arg-type]  # options of any of its types
    )


def test_queue_row_joins_counters_filters_and_processor() -> None:
    row = snapshot().queues[5]
    assert (row.vm, row.processor, row.vlans) == ("fw-01", "0:1", [10, 20])
    before, after = (known(make_stats(seq).adapters["nic0"].queues["steered_frames"])[5] for seq in (4, 8))
    assert row.pps == (after - before) / 1.0


def test_a_queue_with_several_filters_for_a_mac_has_that_mac_once() -> None:
    """In the order of its filters, as its VLANs."""
    row = snapshot().queues[5]
    one, two = row.filters
    again = [
        msgspec.structs.replace(one, filter_id=97, mac=two.mac, vlan=30),
        msgspec.structs.replace(one, filter_id=98, vlan=two.vlan),
        msgspec.structs.replace(one, filter_id=99, vlan=None),
    ]
    row = msgspec.structs.replace(row, filters=(*row.filters, *again))
    assert row.macs == list(dict.fromkeys([one.mac, two.mac]))
    assert row.vlans == [10, 20, 30, None]
    row = msgspec.structs.replace(row, filters=tuple(each for each in row.filters if each.mac == one.mac))
    column = next(column for column in COLUMNS["queues"] if column.key == "mac")
    assert column.text(row) == one.mac
    assert cell(column.value(row)) == one.mac


def test_shares_of_an_adapters_queues_add_up_to_one() -> None:
    assert sum(row.share or 0.0 for row in snapshot().queues) == pytest.approx(1.0)


def test_an_event_of_a_freed_queue_or_an_earlier_engine_has_no_name_of_the_present_one() -> None:
    def event(seq: int, name: str) -> Event:
        at_ns = START_NS + seq * SECOND
        return Event(seq=seq, sim_time_ns=seq, time_ns=at_ns, event=name, adapter="nic0", queue_id=7)

    events = (event(1, "drops_begin"), event(2, "queue_freed"), event(3, "drops_begin"))
    shown = Snapshot("hv01", config=make_config(), events=events)
    assert [row.queue for row in shown.event_rows] == ["file-01", None, None]
    again = Status(state="online", started_at=START_NS / 1e9 + 2.5, version="1")
    shown = Snapshot("hv01", again, make_config(), events=(events[0], events[2]))
    assert [row.queue for row in shown.event_rows] == ["file-01", None]


def test_two_adapters_with_the_same_queue_ids_stay_apart() -> None:
    both = snapshot(adapters=("nic0", "nic1"))
    assert len(both.queues) == 26
    assert len({row.identity for row in both.queues}) == 26
    # The identity of a queue is a tuple.
    assert {row.identity[0] for row in both.rows("queues", "nic1")} == {"nic1"}  # type: ignore[index]
    assert len(both.cpus[2].queues) == 6


def test_queue_the_configuration_does_not_know_yet_is_shown_unknown() -> None:
    shown = Snapshot("hv01", config=make_config(vms=()), stats=make_stats(1)).queues
    assert len(shown) == 13
    assert (shown[3].vm, shown[3].state, shown[3].processor) == (None, None, None)


def test_queue_without_counters_yet_is_shown_unknown() -> None:
    row = Snapshot("hv01", config=make_config()).queues[1]
    assert (row.vm, row.pps, row.count("steered_frames"), row.buffer_use) == ("web-01", None, None, None)


def test_reused_queue_id_is_another_queue() -> None:
    config = with_queue(make_config(), 3, generation=99, name="new-01", vm="new-01")
    rows = [row for row in Snapshot("hv01", config=config, stats=make_stats(2)).queues if row.queue_id == 3]
    assert [(row.generation, row.vm, row.row >= 0) for row in rows] == [
        (4, None, True),
        (99, "new-01", False),
    ]


def test_filter_behind_a_wider_one_of_a_lower_queue_is_shadowed() -> None:
    config = make_config()
    adapter = config.adapters[0]
    later = msgspec.structs.replace(adapter.filters[5], mac=adapter.filters[0].mac, vlan=10)
    wide = msgspec.structs.replace(adapter.filters[0], vlan=None)
    changed = msgspec.structs.replace(adapter, filters=[wide, later])
    rows = Snapshot("hv01", config=msgspec.structs.replace(config, adapters=[changed])).filters
    assert [row.shadowed_by for row in rows] == [None, 1]


def test_port_without_a_queue_is_found() -> None:
    assert [row.config.vm for row in snapshot().ports if row.queue is None] == ["app-01", "test-01"]


def test_processor_load_is_busy_of_budget() -> None:
    now, before = make_stats(8), make_stats(4)
    load = snapshot().cpus[2].load
    grown = {
        name: known(now.cpus[name])[2] - known(before.cpus[name])[2]
        for name in ("busy_cycles", "budget_cycles")
    }
    assert load == grown["busy_cycles"] / grown["budget_cycles"]


def test_reasons_add_up_to_the_default_queues_rate() -> None:
    adapter = snapshot().adapters[0]
    reasons = [adapter.reason(name) for name in adapter.reasons._now if name != "id"]
    assert sum(value or 0.0 for value in reasons) == pytest.approx(adapter.default_pps)


def test_table_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no table 'vms'"):
        snapshot().rows("vms")


def test_engine_that_restarted_shows_no_negative_rates() -> None:
    link = live_link()
    model = Model(link)
    play(link, 30, 34)
    model.take()
    link.publish("hv01", stats=make_stats(1))
    model.take()
    assert {row.pps for row in model.snapshot.queues} == {None}


def test_history_takes_one_point_a_second_and_restarts_with_the_engine() -> None:
    link = live_link()
    model = Model(link)
    link.on_change(lambda: (model.take(), None)[1])
    play(link, 1, 41)
    assert len(model.history) == 11
    play(link, 1, 3)
    assert len(model.history) == 1


def test_model_follows_the_host_it_was_told_even_before_it_reports() -> None:
    link = live_link()
    model = Model(link, "hv09")
    assert not model.take()
    assert model.liveness().state == "empty"
    assert model.liveness().words == "waiting for host hv09"


def test_choosing_another_host_starts_from_a_clean_sheet() -> None:
    link = live_link()
    link.views["hv02"] = ScriptedHost(stats=make_stats(500))
    model = Model(link, "hv01")
    play(link, 1, 9)
    model.take()
    model.choose_host("hv02")
    assert model.snapshot.stats is link.views["hv02"].stats
    assert model.snapshot.queues[0].pps is None
    assert len(model.history) == 1


ONLINE = Status(state="online", interval_ns=SECOND // 4)


@pytest.mark.parametrize(
    ("connection", "status", "received", "now", "state"),
    [
        ("connecting", None, None, 0.0, "connecting"),
        ("connecting", ONLINE, 1.0, 2.0, "offline"),
        ("connected", None, None, 0.0, "empty"),
        ("connected", ONLINE, None, 0.0, "empty"),
        ("connected", ONLINE, 10.0, 12.9, "live"),
        ("connected", ONLINE, 10.0, 13.1, "stale"),
        ("connected", Status(state="online", interval_ns=2 * SECOND), 10.0, 15.9, "live"),
        ("connected", Status(state="online", interval_ns=2 * SECOND), 10.0, 16.1, "stale"),
        ("connected", ONLINE, 10.0, 39.9, "stale"),
        ("connected", ONLINE, 10.0, 40.1, "silent"),
        ("connected", Status(state="offline"), 10.0, 10.1, "offline"),
        ("lost", ONLINE, 10.0, 10.1, "offline"),
        ("lost", None, None, 0.0, "offline"),
    ],
)
def test_liveness(
    connection: str, status: Status | None, received: float | None, now: float, state: str
) -> None:
    # Each parameter is one of the states of a connection.
    assert liveness(connection, "", status, received, now).state == state  # type: ignore[arg-type]


def test_a_host_that_sends_other_messages_is_not_silent() -> None:
    alive = liveness("connected", "", ONLINE, 10.0, 100.0, heard=99.0)
    assert (alive.state, alive.words) == ("stale", "no reading for 90 s")
    slow = Status(state="online", interval_ns=60 * SECOND)
    assert liveness("connected", "", slow, 10.0, 69.0, heard=68.5).state == "live"
    assert liveness("connected", "", ONLINE, None, 100.0, heard=50.0).state == "silent"


def test_a_host_whose_readings_cannot_be_read_is_not_live() -> None:
    alive = liveness("connected", "", ONLINE, 10.0, 10.5, heard=10.5, unreadable=3)
    assert (alive.state, alive.words) == ("unreadable", "the newest readings can't be read (3 came)")


def test_snapshot_of_nothing_has_no_rows_and_no_errors() -> None:
    nothing = Snapshot("hv01")
    for table in ("queues", "filters", "buffers", "cpus", "ports", "adapters", "events"):
        assert nothing.rows(table) == ()
    assert nothing.host_row.pps is None


def test_stats_of_a_writer_that_sends_too_little_are_shown_unknown() -> None:
    stats = make_stats(1)
    poor = msgspec.structs.replace(stats.adapters["nic0"], queues={"id": [0, 1], "generation": [1, 2]})
    thin = Stats(seq=2, sim_time_ns=1, time_ns=1, revision=7, cpus={}, adapters={"nic0": poor})
    rows = Snapshot("hv01", config=make_config(), stats=thin, before=stats).queues
    assert rows[1].count("steered_frames") is None


def test_hosts_of_a_link_are_listed_with_their_states_and_rates() -> None:
    link: ScriptedLink = live_link()
    link.views["hv02"] = ScriptedHost()
    hosts = Hosts(link)
    assert [(row.host, row.state, row.pps) for row in hosts.take()] == [
        ("hv01", "empty", None),
        ("hv02", "empty", None),
    ]
    for seq in (4, 8):
        link.publish("hv01", stats=make_stats(seq))
        first = hosts.take()[0]
    assert (first.state, first.pps and round(first.pps, -5)) == ("live", 1_000_000)
    link.now += 20
    assert hosts.take()[0].state == "stale"
    link.now += 20
    assert hosts.take()[0].state == "silent"
    link.connection = "lost"
    assert hosts.take()[0].state == "offline"
