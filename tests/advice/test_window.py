"""What is found over a while: listed once, as long as the window says, worst first."""

from collections.abc import Iterable
from itertools import groupby

import msgspec
import pytest

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import LONGEST_CUT_NS, AdviceWindow
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats, known
from tests.advice.lab import changed, evidence
from tests.vmqtui.scripted import make_config, with_queue
from vmqtui.columns import COLUMNS
from vmqtui.state.rows import FindingRow

SECOND = 1_000_000_000
VMS = (("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 2, 0))
CONFIG = make_config(VMS)


def reading(
    at_s: float,
    drops: dict[int, int] | None = None,
    config: Config = CONFIG,
    busy_s: dict[int, float] | None = None,
) -> Stats:
    """A reading of queues that are short of buffers while they drop: drops by queue, and seconds that
    processors were busy, both since the start."""
    stats = evidence(
        config,
        loads=busy_s,
        pps={1: round(1000 * at_s), 2: round(1000 * at_s)},
        columns={"low_free_buffers": {1: 0, 2: 0}, "dropped_no_buffer": drops or {}},
    ).stats
    budget = [round(at_s * one) for one in known(stats.cpus["budget_cycles"])]
    return msgspec.structs.replace(
        stats,
        seq=1 + round(at_s * 100),
        sim_time_ns=round(at_s * SECOND),
        cpus={**stats.cpus, "budget_cycles": [*budget]},
    )


def bursts(until_s: float, every_s: float = 3.0, interval_s: float = 0.25) -> Iterable[Stats]:
    """Queue 1 drops 100 frames at once, again and again."""
    for number in range(round(until_s / interval_s) + 1):
        at_s = number * interval_s
        yield reading(at_s, {1: 100 * int(at_s / every_s)})


def test_a_loss_in_bursts_stays_listed_once_it_was_found() -> None:
    window, listed = AdviceWindow(), []
    for stats in bursts(60):
        window.add(CONFIG, stats)
        listed.append([one.where for one in window.listed])
    first = listed.index(["queue 1 (a)"])
    assert first * 0.25 <= 5
    assert all(one == ["queue 1 (a)"] for one in listed[first:])


@pytest.mark.parametrize("window_s", [4, 30])
def test_a_finding_goes_when_it_was_not_seen_for_a_window_and_says_when_it_was(window_s: int) -> None:
    window = AdviceWindow(AdviceThresholds(window_s=window_s))
    ages: list[float | None] = []
    for at_s in range(60):
        if window.add(CONFIG, reading(at_s, {1: 100 if at_s >= 3 else 0})):
            assert window.judged is not None
            seen = [(window.judged.sim_time_ns - one.last_seen_ns) / SECOND for one in window.listed]
            ages.append(seen[0] if seen else None)
    assert [one for one in ages if one is not None] == list(range(0, window_s, 2))
    assert ages[-1] is None


def test_the_time_for_which_a_finding_is_absent_between_bursts_is_told_while_the_window_has_it() -> None:
    window = AdviceWindow(AdviceThresholds(window_s=10))
    for stats in bursts(31):
        window.add(CONFIG, stats)
    assert [one.recurs_ns for one in window.listed] == [4 * SECOND]
    for at_s in range(32, 60):
        window.add(CONFIG, reading(at_s, {1: 1000 + 100 * at_s}))
    assert [one.recurs_ns for one in window.listed] == [0]


def test_seen_of_what_comes_and_goes_changes_once_and_says_so_when_it_stays_away() -> None:
    window, told = AdviceWindow(), list[str]()
    column = next(one for one in COLUMNS["advice"] if one.key == "unseen_s")
    for stats in [*bursts(40), *(reading(at_s, {1: 1300}) for at_s in range(41, 60))]:
        if window.add(CONFIG, stats) and window.listed:
            assert window.judged is not None
            row = FindingRow.at(window.judged.sim_time_ns, window.listed[0])
            told.append(column.text(row))
            assert column.level is not None
            assert column.level(row) == ("dim" if told[-1].startswith("-") else "")
    words = [word for word, _ in groupby(told)]
    assert words[:3] == ["now", "-2s", "on/off"]
    assert words[3:] == [f"-{2 * number}s" for number in range(2, 2 + len(words[3:]))]
    assert len(words) > 5


def test_frames_lost_are_those_of_the_window_and_most_come_first() -> None:
    window = AdviceWindow(AdviceThresholds(window_s=10))
    for at_s in range(0, 31):
        window.add(CONFIG, reading(at_s, {1: 5 * at_s, 2: 70 if at_s >= 25 else 0}))
    assert [(one.queue_id, one.lost_frames) for one in window.listed] == [(2, 70), (1, 50)]
    for at_s in range(31, 33):
        window.add(CONFIG, reading(at_s, {1: 5 * 30 + 500 * (at_s - 30), 2: 70}))
    assert [(one.queue_id, one.lost_frames) for one in window.listed] == [(1, 1040), (2, 70)]


def test_a_value_about_its_threshold_makes_nothing_come_and_go() -> None:
    config = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)))
    window, busy_s, listed = AdviceWindow(), 0.0, []
    for at_s in range(40):
        window.add(config, reading(at_s, config=config, busy_s={1: busy_s}))
        busy_s += 0.82 if at_s // 2 % 2 else 0.78
        listed.append([one.rule for one in window.listed])
    first = listed.index(["piled-queues"])
    assert all(one == ["piled-queues"] for one in listed[first:])


def test_a_finding_is_kept_as_it_was_at_its_worst() -> None:
    config = with_queue(CONFIG, 1, vm_paused=True)
    config = msgspec.structs.replace(config, revision=CONFIG.revision)
    window = AdviceWindow()
    for at_s in range(21):
        window.add(config, reading(at_s, {1: 40 if at_s >= 5 else 0}))
    (finding,) = window.listed
    assert (finding.severity, finding.numbers["drops_pps"], finding.lost_frames) == ("bad", 20, 40)
    assert (finding.first_seen_ns, finding.last_seen_ns) == (2 * SECOND, 20 * SECOND)
    for at_s in range(21, 41):
        window.add(config, reading(at_s, {1: 40}))
    (finding,) = window.listed
    assert (finding.severity, finding.numbers["drops_pps"], finding.lost_frames) == ("warn", 0, 0)


def test_what_was_found_of_a_queue_goes_with_it_and_is_not_the_next_ones_with_its_id() -> None:
    window = AdviceWindow()
    for stats in bursts(10):
        window.add(CONFIG, stats)
    (old,) = window.listed
    again = with_queue(CONFIG, 1, generation=99)
    for at_s in range(11, 15):
        window.add(again, reading(at_s, {}, again))
    assert not window.listed
    for at_s in range(15, 17):
        window.add(again, reading(at_s, {1: 9}, again))
    (new,) = window.listed
    assert new.where == old.where
    assert new.identity != old.identity
    assert (new.generation, new.requests[0].generation) == (99, 99)


def test_a_restarted_engine_begins_the_window_again() -> None:
    window = AdviceWindow()
    for stats in bursts(40):
        window.add(CONFIG, stats)
    assert window.listed
    assert (window.seconds, window.left_s()) == (30, 0)
    window.add(CONFIG, reading(0))
    assert (window.listed, window.seconds) == ((), 0)
    for at_s in range(1, 4):
        window.add(CONFIG, reading(at_s))
    assert (window.seconds, window.left_s()) == (2, 28)


@pytest.mark.parametrize("interval_s", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("begin_s", [0.0, 0.75, 3.5])
def test_who_came_later_sees_the_same(begin_s: float, interval_s: float) -> None:
    """Stretches end at the same times for every reader, so a moment of the past shows what it showed."""
    early, late = AdviceWindow(), AdviceWindow()
    for stats in bursts(50, interval_s=interval_s):
        early.add(CONFIG, stats)
        if stats.sim_time_ns >= begin_s * SECOND:
            late.add(CONFIG, stats)
    assert early.judged is late.judged
    without_first = [msgspec.structs.replace(one, first_seen_ns=0) for one in early.listed]
    assert without_first == [msgspec.structs.replace(one, first_seen_ns=0) for one in late.listed]


def test_loads_of_before_a_change_are_not_judged_with_the_configuration_after_it() -> None:
    piled = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)))
    spread = with_queue(piled, 2, cpu=2)
    window = AdviceWindow()

    for quarter in range(4 * 4 + 4):  # up to 4.75 s
        window.add(piled, reading(quarter / 4, config=piled, busy_s={1: quarter / 4}))
    (finding,) = window.listed
    for quarter in range(20, 41):
        busy_s = 5 + (quarter / 4 - 5) * 0.3
        window.add(spread, reading(quarter / 4, config=spread, busy_s={1: busy_s}))
    (still,) = window.listed
    assert still.last_seen_ns == finding.last_seen_ns == 4 * SECOND
    assert still.revision == piled.revision


def test_changes_that_do_not_end_keep_nothing_from_being_found() -> None:
    window, config, found_s = AdviceWindow(), CONFIG, None
    for number, stats in enumerate(bursts(20)):
        config = changed(msgspec.structs.replace(config, revision=CONFIG.revision + number))
        window.add(config, msgspec.structs.replace(stats, revision=config.revision))
        if window.listed and found_s is None:
            found_s = stats.sim_time_ns / SECOND
    assert found_s is not None
    assert found_s <= LONGEST_CUT_NS / SECOND + 4


def test_a_reading_whose_configuration_is_on_its_way_is_not_judged() -> None:
    window = AdviceWindow()
    for stats in bursts(3):
        window.add(CONFIG, stats)
    for at_s in range(4, 10):
        assert not window.add(CONFIG, msgspec.structs.replace(reading(at_s), revision=CONFIG.revision + 1))


def test_the_rest_of_a_stretch_can_be_judged() -> None:
    window = AdviceWindow()
    window.add(CONFIG, reading(0))
    assert not window.finish()
    window.add(CONFIG, reading(0.5, {1: 3}))
    assert window.finish()
    assert [(one.queue_id, one.lost_frames) for one in window.listed] == [(1, 3)]
    assert window.seconds == 0.5


def test_who_comes_later_takes_over_what_the_engine_found_and_counts_nothing_twice() -> None:
    engine, reader, whole = AdviceWindow(), AdviceWindow(), AdviceWindow()
    told = None
    for at_s in range(40):
        stats = reading(at_s, {1: 5 * at_s, 2: 70 if at_s >= 22 else 0})
        if engine.add(CONFIG, stats) and at_s <= 36:
            told = engine.advice()
        whole.add(CONFIG, stats)
        if at_s >= 30:
            reader.add(CONFIG, stats)
    assert [one.queue_id for one in reader.listed] == [1]
    assert told is not None
    reader.take_over(told)
    assert [one.identity for one in reader.listed] == [one.identity for one in whole.listed]
    assert [one.last_seen_ns for one in reader.listed] == [one.last_seen_ns for one in whole.listed]
    assert abs(reader.listed[0].lost_frames - whole.listed[0].lost_frames) <= 10
    assert reader.left_s() == 0


def test_the_list_is_not_final_before_a_whole_window_was_watched_here_or_by_the_engine() -> None:
    engine, reader = AdviceWindow(), AdviceWindow()
    lefts, with_theirs, first = [], [], []
    for stats in bursts(36, every_s=9):
        at_s = stats.sim_time_ns / SECOND
        stats = reading(at_s, {1: 100 * int(at_s / 9), 2: int(at_s)})
        if engine.add(CONFIG, stats):
            lefts.append(engine.left_s())
            first.append(engine.listed[0].queue_id)
        if at_s >= 10:
            reader.add(CONFIG, stats)
            with_theirs.append(reader.left_s(engine.advice()))
    assert lefts[:3] == [28, 26, 24]
    assert first[:3] == [2, 2, 2]  # the larger loss comes in bursts, and none came yet
    assert first[-1] == 1
    assert lefts[-4:] == [0, 0, 0, 0]
    assert with_theirs[0] == 20
    assert with_theirs[-1] == 0 < reader.left_s()


def test_who_looks_back_further_than_the_engine_keeps_the_frames_lost_before_its_window() -> None:
    engine, reader = AdviceWindow(), AdviceWindow(AdviceThresholds(window_s=120))
    for at_s in range(101):
        stats = reading(at_s, {1: 5 * at_s})
        engine.add(CONFIG, stats)
        reader.add(CONFIG, stats)
    before = reader.listed
    assert before[0].lost_frames == 500
    reader.take_over(engine.advice())
    assert reader.listed == before


def test_nothing_is_taken_over_from_a_longer_window() -> None:
    engine, reader = AdviceWindow(), AdviceWindow(AdviceThresholds(window_s=4))
    for at_s in range(41):
        stats = reading(at_s, {1: 5 * at_s})
        engine.add(CONFIG, stats)
        reader.add(CONFIG, stats)
    reader.take_over(engine.advice())
    assert [one.lost_frames for one in reader.listed] == [20]


def test_findings_of_a_queue_that_was_freed_since_are_not_taken_over() -> None:
    engine, reader = AdviceWindow(), AdviceWindow()
    for stats in bursts(20):
        engine.add(CONFIG, stats)
    assert [one.queue_id for one in engine.listed] == [1]
    freed = make_config((VMS[0], ("other", "other", 1, 0), VMS[2]))
    freed = msgspec.structs.replace(with_queue(freed, 1, generation=99), revision=CONFIG.revision)
    for at_s in range(21, 30):
        reader.add(freed, reading(at_s, config=freed))
    reader.take_over(engine.advice())
    assert not reader.listed


def test_nothing_is_taken_over_from_what_judges_by_other_thresholds_or_of_before_the_window() -> None:
    engine = AdviceWindow(AdviceThresholds(busy_load=0.7))
    old = AdviceWindow()
    for stats in bursts(20):
        engine.add(CONFIG, stats)
        old.add(CONFIG, stats)
    reader = AdviceWindow()
    for at_s in range(60, 70):
        reader.add(CONFIG, reading(at_s, {1: 600}))
    reader.take_over(engine.advice())
    reader.take_over(old.advice())
    assert not reader.listed


def test_the_message_counts_every_finding_by_severity() -> None:
    window = AdviceWindow()
    for at_s in range(4):
        window.add(CONFIG, reading(at_s, {1: 5 * at_s, 2: 7 * at_s}))
    assert window.advice().counts == {"bad": 2}


def test_what_was_always_there_goes_soon_after_the_change_that_fixed_it() -> None:
    piled = make_config((("default", None, 0, 0), ("a", "a", 1, 0), ("b", "b", 1, 0)))
    spread = with_queue(piled, 2, cpu=2)
    window = AdviceWindow()
    for at_s in range(15):
        window.add(piled, reading(at_s, config=piled, busy_s={1: at_s}))
    assert [one.rule for one in window.listed] == ["piled-queues"]
    gone_s = None
    for at_s in range(15, 30):
        window.add(spread, reading(at_s, config=spread, busy_s={1: 14 + (at_s - 14) * 0.3}))
        if not window.listed and gone_s is None:
            gone_s = at_s
    assert gone_s == 18


def test_what_comes_in_bursts_outlives_a_change_that_did_not_fix_it() -> None:
    window, other = AdviceWindow(), msgspec.structs.replace(CONFIG, revision=CONFIG.revision + 1)
    for stats in bursts(60, every_s=7):
        config = CONFIG if stats.sim_time_ns < 30 * SECOND else other
        window.add(config, msgspec.structs.replace(stats, revision=config.revision))
        if stats.sim_time_ns > 10 * SECOND:
            assert [one.where for one in window.listed] == ["queue 1 (a)"]
