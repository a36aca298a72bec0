"""A recording in the dashboard: the very views that were seen live, with the time they are of."""

from pathlib import Path

import msgspec
import pytest

from engine.bus.codec import encode
from engine.telemetry.recorder import Recorder
from engine.telemetry.recording import Recording
from tests.vmqtui.conftest import running, same_as_snapshot, screen_text
from tests.vmqtui.scripted import (
    EVENTS,
    SECOND,
    START_NS,
    live_link,
    make_config,
    make_stats,
    play,
    with_queue,
)
from tests.vmqtui.test_archive import everything, pps_seen, seq_seen, watched
from vmqtui import recorded
from vmqtui.app import VmqApp
from vmqtui.recorded import RecordedLink
from vmqtui.state.hosts import Hosts
from vmqtui.state.model import Model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A minute of hv01, with a change of its configuration after 20 readings and an event after 30."""
    link = live_link()
    online = link.views["hv01"].status
    assert online is not None
    with Recorder(tmp_path / "hv01.vmqrec", limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "status", encode(online))
        recorder.message("hv01", "config", encode(make_config()))
        for event in EVENTS[:2]:
            recorder.message("hv01", "event", encode(event))
        for seq in range(1, 241):
            recorder.reading("hv01", make_stats(seq, revision=7 if seq <= 20 else 8))
            if seq == 20:
                recorder.message("hv01", "config", encode(with_queue(make_config(), 3, cpu=7)))
            if seq == 30:
                recorder.message("hv01", "event", encode(EVENTS[2]))
        recorder.reading("hv02", make_stats(1))
        recorder.reading("hv02", make_stats(2))
    return tmp_path / "hv01.vmqrec"


class StillLink(RecordedLink):
    """Its clock goes when a test says so."""

    now = 0.0

    def clock(self) -> float:
        return self.now


def opened(path: Path) -> tuple[Model, StillLink]:
    link = StillLink(Recording(path))
    model = Model(link, None, link.tape)
    model.take()
    return model, link


def advance(model: Model, link: StillLink, seconds: float) -> None:
    model.tick()
    link.now += seconds
    model.tick()


def test_every_moment_is_what_it_was_live(path: Path) -> None:
    model, _ = opened(path)
    live, link = watched()
    link.publish("hv01", events=EVENTS[:2])
    model.pause()
    for seq in range(1, 60):
        play(link, seq, seq, revision=7 if seq <= 20 else 8)
        assert everything(model.snapshot) == everything(live.snapshot), seq
        if seq == 20:
            link.publish("hv01", config=with_queue(make_config(), 3, cpu=7))
        if seq == 30:
            link.publish("hv01", events=EVENTS)
        model.step(1)


def test_it_plays_as_fast_as_it_was_made_and_stops_at_its_end(path: Path) -> None:
    model, link = opened(path)
    assert seq_seen(model) == 1
    advance(model, link, 10.0)
    assert seq_seen(model) == 41
    assert model.liveness().state == "playing"
    advance(model, link, 100.0)
    assert seq_seen(model) == 240
    assert model.liveness().state == "paused"
    model.pause()
    assert seq_seen(model) == 1


def test_speed_is_a_factor(path: Path) -> None:
    link = StillLink(Recording(path))
    model = Model(link, None, link.tape, 4.0)
    model.take()
    advance(model, link, 10.0)
    assert seq_seen(model) == 161


def test_keys_play_it_slower_and_faster_the_next_host_too(path: Path) -> None:
    model, link = opened(path)
    assert [model.change_speed(step) for step in (1, 1, -1)] == [2, 5, 2]
    advance(model, link, 10.0)
    assert seq_seen(model) == 81
    assert [model.change_speed(-1) for _ in range(8)][-1] == 0.1
    model.choose_host("hv02")
    assert model.past is not None
    assert model.past.speed == 0.1


def test_only_a_recording_has_a_speed() -> None:
    live, _ = watched()
    assert live.change_speed(1) is None


def test_a_time_is_gone_to_and_played_on_from(path: Path) -> None:
    model, link = opened(path)
    assert model.reach() == (START_NS + SECOND // 4, START_NS + 60 * SECOND, START_NS + SECOND // 4)
    model.go_to(START_NS + 30 * SECOND)
    assert seq_seen(model) == 120
    advance(model, link, 1.0)
    assert seq_seen(model) == 124


def test_held_it_stays_and_plays_on_from_there(path: Path) -> None:
    model, link = opened(path)
    advance(model, link, 10.0)
    model.pause()
    advance(model, link, 10.0)
    assert seq_seen(model) == 41
    model.pause()
    advance(model, link, 5.0)
    assert seq_seen(model) == 61


def test_after_a_jump_charts_lead_to_the_moment(path: Path) -> None:
    model, _ = opened(path)
    model.pause()
    model.scrub(1.0)
    assert len(model.series(("pps",), 40)) < 40
    for _ in range(1000):
        if model.tick():
            break
    live, link = watched()
    for seq in range(1, 241):
        play(link, seq, seq, revision=7 if seq <= 20 else 8)
    jumped, followed = list(model.series(("pps",), 40)), list(live.series(("pps",), 40))
    assert len(jumped) == 40
    assert jumped == pytest.approx(followed, rel=0.25)


def test_another_host_of_the_recording_can_be_chosen(path: Path) -> None:
    model, link = opened(path)
    assert link.hosts == ["hv01", "hv02"]
    assert [row.host for row in Hosts(link).take()] == ["hv01", "hv02"]
    model.choose_host("hv02")
    assert model.snapshot.host == "hv02"
    assert pps_seen(model) is None


async def test_a_recording_takes_no_requests(path: Path) -> None:
    with pytest.raises(ConnectionError, match="takes no requests"):
        await RecordedLink(Recording(path)).request("hv01", "ping", {})


def test_a_configuration_that_can_not_be_read_is_unknown(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", limit_bytes=1 << 30) as recorder:
        recorder.message("hv01", "config", b"\xc1")
        recorder.reading("hv01", make_stats(1))
    model, _ = opened(tmp_path / "a")
    assert model.snapshot.config is None
    assert len(model.snapshot.queues) == 13


def test_what_can_not_be_read_is_unknown_and_stops_nothing(path: Path) -> None:
    model, _ = opened(path)
    model.pause()
    with path.open("r+b") as file:
        file.truncate(3000)
    model.scrub(1.0)
    assert model.snapshot.stats is None
    assert model.snapshot.queues == ()
    for _ in range(1000):
        if model.tick():
            break
    model.scrub(0.0)
    assert seq_seen(model) == 1


def test_decoded_messages_that_are_kept_are_bounded_in_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recording(path) as recording:
        tape = recorded.RecordedTape(recording, "hv01")
        tape.moment(200)
        assert len(tape._decoded) > 3
        monkeypatch.setattr(recorded, "_DECODED_BYTES", 2_000)
        everything = RecordedLink(recording).tape("hv01")
        for number in (0, 100, 200):
            assert len(everything.moment(number).events) == (2 if number < 30 else 3)
            assert sum(size for _, size in everything._decoded.values()) <= 2_000


def test_a_time_nobody_can_have_is_shown_unknown(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", limit_bytes=1 << 30) as recorder:
        recorder.reading("hv01", msgspec.structs.replace(make_stats(1), time_ns=(1 << 63) - 1))
    model, _ = opened(tmp_path / "a")
    assert model.past is not None


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_a_recording_on_the_screen(
    path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(VmqApp, "notify", lambda app, message, **options: told.append(message))
    link = StillLink(Recording(path))
    note = "hv01.vmqrec was cut after byte 9; it plays up to there"
    options = {"tapes": link.tape, "read_only": True, "notes": [note]}
    # Options of any of its types.
    async with running(link, size=size, **options) as (app, pilot, _):  # type: ignore[arg-type]
        assert told == [note]
        await pilot.press("space", "greater_than_sign", "greater_than_sign")
        for _ in range(1000):
            if app.model.tick():
                break
        app.draw_now()
        await pilot.pause()
        same_as_snapshot(f"recording-paused-{size[0]}x{size[1]}", screen_text(app))
        await pilot.press("m")
        assert len(app.screen_stack) == 1
        assert app.model.past is not None
        assert app.model.past.time_ns == START_NS + 20 * SECOND + SECOND // 4


@pytest.mark.slow
async def test_a_time_is_typed_and_what_is_none_is_said(path: Path) -> None:
    link = StillLink(Recording(path))
    # A link of the scripted kind is expected; this one plays a recording.
    async with running(link, tapes=link.tape, read_only=True) as (app, pilot, _):  # type: ignore[arg-type]
        await pilot.press("space", "at", *"noon", "enter")
        assert "not a time" in screen_text(app)
        await pilot.press(*["backspace"] * 4, *"+30", "enter")
        assert len(app.screen_stack) == 1
        assert seq_seen(app.model) == 121
        await pilot.press("right_parenthesis")
        assert "×2" in screen_text(app)


@pytest.mark.slow
def test_a_longer_span_of_a_recording_is_computed_and_reaches_as_far_back(tmp_path: Path) -> None:
    with Recorder(tmp_path / "long", limit_bytes=1 << 30) as recorder:
        for seq in range(1, 501):
            recorder.reading("hv01", make_stats(seq, step_ns=SECOND))
    model, _ = opened(tmp_path / "long")
    groups = ((("pps",),),)

    def known(cells: int) -> int:
        while model.tick():
            pass
        return sum(value is not None for value in model.peaks(groups, cells)[0])

    def finish() -> None:
        curve = model._tape_curve
        assert curve is not None
        while curve._working is not None:
            curve.work(1.0)

    model.step(450)
    finish()
    assert known(60) == 60
    assert not model.choose_span(-1)
    assert model.choose_span(1)
    assert known(60) in range(18, 61)  # at once, what was known before
    finish()
    assert known(60) == 60
    model.skip(-30)
    finish()
    assert known(60) == 60
    assert model.choose_span(1)
    finish()
    assert known(90) in range(41, 44)  # the recording begins 421 s earlier; 10 s a cell
    model.step(3)
    assert known(90) in range(41, 44)


def test_a_history_is_computed_to_its_end_while_the_recording_plays_on(path: Path) -> None:
    model, _ = opened(path)
    model.step(200)
    curve = model._tape_curve
    assert curve is not None
    for _ in range(20):
        working = curve._working
        model.step(1)
        assert curve._working is working
    while curve._working is not None:
        curve.work(1.0)
    assert list(model.series(("pps",), 4)) == [
        value for value in model.series(("pps",), 4) if value is not None
    ]
