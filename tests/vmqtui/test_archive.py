"""The past: bounded, and every moment of it as it was seen when it was now."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from engine.telemetry.events import Event
from engine.telemetry.stats import Stats
from tests.vmqtui.scripted import (
    SECOND,
    START_NS,
    VMS,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
    with_queue,
)
from vmqtui.columns import COLUMNS, export_row
from vmqtui.state.archive import Archive
from vmqtui.state.model import Model
from vmqtui.state.moment import Moment, at_time, step
from vmqtui.state.snapshot import Snapshot

FEW = VMS[:3]
TABLES = ("queues", "filters", "buffers", "cpus", "ports", "adapters", "hosts", "events")


def everything(snapshot: Snapshot) -> dict[str, list[dict[str, Any]]]:
    """What all tables would export."""
    return {name: [export_row(COLUMNS[name], row) for row in snapshot.rows(name)] for name in TABLES}


def watched(link: ScriptedLink | None = None) -> tuple[Model, ScriptedLink]:
    link = link or live_link()
    model = Model(link)
    link.on_change(lambda: (model.take(), None)[1])
    return model, link


def seq_seen(model: Model) -> int | None:
    return model.snapshot.stats.seq if model.snapshot.stats else None


def pps_seen(model: Model) -> float | None:
    return model.snapshot.queues[1].pps


@pytest.mark.slow
def test_every_moment_of_the_past_is_what_it_was_when_it_was_now() -> None:
    model, link = watched()
    seen = []
    for seq in range(1, 60):
        play(link, seq, seq, revision=7 if seq <= 20 else 8)
        if seq == 20:
            link.publish("hv01", config=with_queue(make_config(), 3, cpu=7))
        if seq == 30:
            event = Event(seq=9, sim_time_ns=1, time_ns=START_NS, event="drops_end", adapter="nic0")
            link.publish("hv01", events=(*link.views["hv01"].events, event))
        if seq not in (20, 30):
            seen.append((seq, everything(model.snapshot)))
    assert model.pause()
    at = 59
    for seq, live in reversed(seen):
        if seq != at:
            model.step(seq - at)
            at = seq
        assert everything(model.snapshot) == live, seq


def test_what_is_shown_stays_while_readings_come_and_is_now_again_after() -> None:
    model, link = watched()
    play(link, 1, 20)
    model.pause()
    held = model.snapshot
    play(link, 21, 30)
    assert model.snapshot is held
    assert model.liveness().state == "paused"
    model.pause()
    assert model.past is None
    assert model.snapshot.stats is link.views["hv01"].stats


def test_charts_are_drawn_as_they_stood_then() -> None:
    model, link = watched()
    play(link, 1, 40)
    then = list(model.series(("pps",), 5))
    play(link, 41, 120)
    model.step(40 - 120)
    assert list(model.series(("pps",), 5)) == then
    model.pause()
    assert list(model.series(("pps",), 5)) != then


def test_nothing_to_hold_before_the_first_reading() -> None:
    model, _ = watched()
    assert not model.pause()
    assert not model.step(-1)
    assert model.past is None


def test_steps_end_at_the_ends() -> None:
    model, link = watched()
    play(link, 1, 12)
    model.step(-1000)
    assert seq_seen(model) == 1
    model.step(1000)
    assert seq_seen(model) == 12


def test_skips_go_by_the_clock_and_scrubbing_by_place() -> None:
    model, link = watched()
    play(link, 1, 121)
    model.skip(-10)
    where = model.past
    assert where is not None
    assert where.last_ns - where.time_ns == 10 * SECOND
    model.scrub(0.5)
    where = model.past
    assert where is not None
    assert where.fraction == pytest.approx(0.5, abs=0.01)


def test_a_restart_of_the_engine_does_not_lose_what_was_before() -> None:
    model, link = watched()
    play(link, 1, 30)
    old = everything(model.snapshot)
    later = [msgspec.structs.replace(make_stats(n), time_ns=START_NS + (60 + n) * SECOND) for n in (1, 2)]
    for stats in later:
        link.publish("hv01", stats=stats)
    assert pps_seen(model) is not None
    model.step(-1)
    assert pps_seen(model) is None  # the first of a run has nothing to compare with
    model.step(-1)
    assert everything(model.snapshot) == old
    assert len(model.series(("pps",), 5)) == 5


FIRST = make_stats(1, FEW)


def moment(seq: int, step_ns: int = SECOND // 4) -> Moment:
    """A reading so many steps after the beginning, as fast as it can be made."""
    at_ns = seq * step_ns
    stats = msgspec.structs.replace(FIRST, seq=seq, sim_time_ns=at_ns, time_ns=START_NS + at_ns)
    return Moment(stats=stats)


@pytest.mark.slow
def test_ten_minutes_are_kept_at_four_a_second_and_the_hour_before_at_one() -> None:
    archive = Archive()
    last = 90 * 60 * 4
    for seq in range(1, last + 1):
        archive.add(moment(seq))
    times = [archive.time_ns(number) for number in archive.numbers()]
    newest = times[-1]
    assert newest == START_NS + last * SECOND // 4
    fine = [at for at in times if newest - at <= 600 * SECOND]
    assert len(fine) == 2401
    coarse = [at for at in times if newest - at > 610 * SECOND]
    assert {later - at for at, later in pairwise(coarse)} == {SECOND}
    assert 4200 * SECOND <= newest - times[0] <= 4230 * SECOND


def test_a_faster_engine_does_not_fill_it_faster() -> None:
    archive = Archive()
    kept = [archive.add(moment(seq, step_ns=SECOND // 50)) for seq in range(1, 1001)]
    assert sum(number is not None for number in kept) == 100


def test_the_bound_in_bytes_holds_and_the_oldest_goes_first() -> None:
    archive = Archive(limit_bytes=200_000)
    for seq in range(1, 4000):
        archive.add(moment(seq))
    assert archive.size <= 200_000
    numbers = archive.numbers()
    assert numbers[-1] == 3998
    assert numbers[0] > 0
    assert archive.moment(numbers[0]).stats is not None


@pytest.mark.slow
def test_configurations_count_and_go_with_their_moments() -> None:
    archive = Archive(limit_bytes=400_000)
    for seq in range(1, 2000):
        config = make_config(revision=seq)
        archive.add(Moment(stats=make_stats(seq, FEW, revision=seq), config=config))
    assert archive.size <= 400_000
    first = archive.numbers()[0]
    oldest = archive.moment(first).config
    assert oldest is not None
    assert oldest.revision == first + 1


def test_a_configuration_that_came_after_its_reading_is_joined_with_it() -> None:
    archive = Archive()
    archive.add(Moment(stats=make_stats(1, revision=7), config=make_config(revision=7)))
    archive.add(Moment(stats=make_stats(2, revision=8), config=make_config(revision=7)))
    archive.add(Moment(stats=make_stats(3, revision=8), config=make_config(revision=8)))
    found = [archive.moment(number).config for number in archive.numbers()]
    assert [config.revision for config in found if config] == [7, 8, 8]


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    archive = Archive()
    for seq in range(1, 21):
        stats = make_stats(seq, FEW)
        if seq > 10:
            stats = msgspec.structs.replace(stats, time_ns=stats.time_ns - 3600 * SECOND)
        archive.add(Moment(stats=stats))
    assert len(archive.numbers()) == 20


def test_a_moment_that_is_gone_is_told_and_stepping_goes_on_beside_it() -> None:
    archive = Archive()
    for seq in range(1, 9):
        archive.add(moment(seq))
    with pytest.raises(KeyError):
        archive.moment(99)
    assert step(archive, 99, 0) == 7
    assert step(archive, 99, -2) == 5
    assert at_time(archive, 0) == 0
    with pytest.raises(KeyError):
        step(Archive(), 0, 1)


def test_a_moment_held_until_it_is_gone_stays_on_the_screen_with_its_own_time() -> None:
    model, link = watched(live_link(vms=FEW))
    play(link, 1, 40, vms=FEW)
    model._archive._limit_bytes = 60_000
    model.pause()
    held = model.snapshot
    play(link, 41, 400, vms=FEW)
    where = model.past
    assert where is not None
    assert model._archive.numbers()[0] > 40
    assert (where.time_ns, where.fraction) == (START_NS + 10 * SECOND, 0.0)
    assert model.snapshot is held
    model.step(1)
    assert seq_seen(model) == model._archive.numbers()[1] + 1


def two_adapters(seq: int) -> Stats:
    """A reading of two adapters whose counters grow apart."""
    one, other = make_stats(seq, FEW), make_stats(seq * 5, FEW)
    return msgspec.structs.replace(
        one, adapters={"nic0": one.adapters["nic0"], "nic1": other.adapters["nic0"]}
    )


def test_the_past_of_two_adapters_is_what_was_seen() -> None:
    archive = Archive()
    seen = [two_adapters(seq) for seq in range(1, 40)]
    for stats in seen:
        archive.add(Moment(stats=stats))
    for number in reversed(archive.numbers()):
        found = archive.moment(number).stats
        assert msgspec.msgpack.encode(found) == msgspec.msgpack.encode(seen[number])
    assert archive.unreadable == 0


def damage(archive: Archive, number: int) -> None:
    """Spoil the packed bytes of a reading."""
    for ring in (archive._fine, archive._coarse):
        ring.entries[:] = [
            msgspec.structs.replace(one, packed=b"?") if one.number == number else one for one in ring.entries
        ]


def test_a_moment_that_cannot_be_unpacked_is_empty_and_counted_once() -> None:
    model, link = watched(live_link(vms=FEW))
    play(link, 1, 40, vms=FEW)
    damage(model._archive, 31)  # a delta, the last of its chain
    model.pause()
    model.step(31 - 39)
    assert (model.snapshot.stats, model.missed) == (None, 1)
    assert model.snapshot.host == "hv01"
    model.step(0)
    assert model.missed == 1
    model.step(-1)
    assert (seq_seen(model), model.missed) == (31, 1)
    model.pause()
    assert (seq_seen(model), model.missed) == (40, 1)


def test_status_of_the_past_is_that_of_then() -> None:
    model, link = watched()
    play(link, 1, 4)
    online = link.views["hv01"].status
    assert online is not None
    link.publish("hv01", status=msgspec.structs.replace(online, state="offline"))
    model.step(-1)
    assert model.snapshot.host_row.state == "online"


def test_events_that_were_asked_for_go_among_those_that_came() -> None:
    model, link = watched()
    came = link.views["hv01"].events
    older = [Event(seq=seq, sim_time_ns=0, time_ns=START_NS, event="queue_state") for seq in (5, 7)]
    between = Event(seq=6, sim_time_ns=0, time_ns=START_NS, event="queue_state")
    play(link, 1, 4)
    model.take()
    for events in ((older[0], *came), (older[0], between, *came), (older[0], between, older[1], *came)):
        link.publish("hv01", events=events, stats=make_stats(5 + len(events)))
        model.take()
        assert model.snapshot.events == events
        model.pause()
        model.step(0)
        assert model.snapshot.events == events
        model.pause()
