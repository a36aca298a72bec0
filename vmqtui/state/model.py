"""The model of the screen: one host's snapshot, its history, the viewer's choices."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import AdviceWindow
from engine.telemetry.stats import Stats
from engine.view.rates import STEADY_NS, RateWindow
from vmqtui.state.archive import Archive
from vmqtui.state.choices import Choices
from vmqtui.state.history import Curve, History, TapeAdvice, TapeCurve, advised
from vmqtui.state.hosts import Liveness, liveness, liveness_of
from vmqtui.state.moment import Moment, Playhead, Tape, Where, reading_before
from vmqtui.state.snapshot import Snapshot

if TYPE_CHECKING:
    from vmqtui.link import Link

_WORK_S: Final = 0.02
"""Of every tick, for the history of a recording."""


class Model:
    """Follows one host of a link. ``take`` reads new messages; nothing here draws or waits.

    Live and past moments reach the views in one way, ``_show``. With ``tapes`` a host is not followed but
    played, from the tape of its name.
    """

    def __init__(
        self,
        link: "Link",
        host: str | None = None,
        tapes: Callable[[str], Tape] | None = None,
        speed: float = 1.0,
        thresholds: AdviceThresholds | None = None,
    ) -> None:
        self.link = link
        self.choices = Choices()
        self._tapes = tapes
        self._speed = speed
        self._wanted = host
        self._thresholds = thresholds or AdviceThresholds()
        self._follow(host or "")

    def _follow(self, host: str) -> None:
        self.host = host
        self.snapshot = Snapshot(host)
        self.mark: Stats | None = None
        self._newest = self.snapshot
        self._window = RateWindow()
        self._steady_window = RateWindow(STEADY_NS, 4)
        self._steady_before: Stats | None = None
        self._advice = AdviceWindow(self._thresholds)
        self._curve = Curve()
        self._archive = Archive()
        self._tape: Tape = self._archive
        self._tape_curve: TapeCurve | None = None
        self._playhead = Playhead(self._archive)
        if self._tapes is not None and host:
            self._tape = self._tapes(host)
            self._tape_curve = TapeCurve(host, self._tape)
            self._playhead = Playhead(self._tape, recorded=True, speed=self._speed)
        self._tape_advice = TapeAdvice(self._tape, self._thresholds)
        self._show_past()

    @property
    def asks_for_past_events(self) -> bool:
        """Whether events from before this attached are asked for, or are in the recording."""
        return self._tapes is not None or not self.link.read_only

    def choose_host(self, host: str) -> None:
        """Show another host of the link, from a clean sheet."""
        if host != self.host:
            self._wanted = host
            self.choices.adapter = None
            self._follow(host)
            self.take()

    def take(self) -> bool:
        """Read the link's latest; whether anything of the host is new."""
        if not self.host and self.link.hosts:
            self._follow(self.link.hosts[0])
        view = self.link.view(self.host) if self.host and self._tapes is None else None
        if view is None:
            return False
        old = self._newest
        events = tuple(view.events)
        same = (view.status is old.status, view.config is old.config, view.stats is old.stats)
        if all(same) and events == old.events:
            return False
        before = old.before
        if view.stats is not None and view.stats is not old.stats:
            before = self._window.take(view.stats)
            self._steady_before = self._steady_window.take(view.stats)
            self._advice.add(view.config, view.stats)
        moment = Moment(view.status, view.config, view.stats, before, events)
        number = self._archive.add(moment)
        if self.mark is not None and view.stats and view.stats.sim_time_ns < self.mark.sim_time_ns:
            self.mark = None  # a new run: its counters began at 0
        found, steady_before = advised(self._advice), self._steady_before
        newest = Snapshot.of(self.host, moment, old, self.mark)
        self._newest = replace(newest, advise=lambda: found, steady_before=lambda: steady_before)
        self._curve.add(self._newest, number)
        if self._playhead.number is None:
            self._show(self._newest)
        return True

    @property
    def history(self) -> History:
        """The history of the shown host."""
        return (self._tape_curve or self._curve).history

    def reset_deltas(self) -> None:
        """Show counters since the moment that is shown, where they are shown as deltas."""
        self.mark = self.snapshot.stats
        self._show(self.snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        if snapshot.mark is not self.mark:
            snapshot = replace(snapshot, mark=self.mark, joined=snapshot.index)
        self.snapshot = snapshot
        adapters = snapshot.adapter_names
        if self.choices.adapter is not None and adapters and self.choices.adapter not in adapters:
            self.choices.adapter = None

    @property
    def newest(self) -> Snapshot:
        """The newest moment of the host, whichever is shown."""
        return self._newest if self._tapes is None else self.snapshot

    @property
    def past(self) -> Where | None:
        """The viewer's place in the past; None: the screen shows the present."""
        return self._playhead.where()

    def pause(self) -> bool:
        """Pause, or resume; return whether there is anything to pause."""
        done = self._playhead.toggle()
        if self._playhead.number is None:
            self._show(self._newest)
        elif self._tape_curve is not None:
            self._show_past()
        return done

    def step(self, by: int) -> bool:
        """Show the moment so many after this one (before, when negative)."""
        return self._went(self._playhead.step(by))

    def skip(self, seconds: float) -> bool:
        """Show the moment so many seconds later (earlier, when negative)."""
        return self._went(self._playhead.skip(seconds))

    def scrub(self, fraction: float) -> bool:
        """Show a moment between the first and the last there is, 0..1."""
        return self._went(self._playhead.scrub(fraction))

    def ends(self) -> tuple[int, int] | None:
        """When the first moment that can be seen and the last one were; None: there is none."""
        return self._playhead.ends()

    def go_to(self, time_ns: int) -> bool:
        """Show the moment at a Unix time."""
        return self._went(self._playhead.go_to(time_ns))

    def change_speed(self, step: int) -> float | None:
        """Play a recording faster, or slower; return the new speed. None: nothing is played."""
        speed = self._playhead.change_speed(step)
        self._speed = self._speed if speed is None else speed
        return speed

    def tick(self) -> bool:
        """Advance a recording that plays; return whether there is something new to draw."""
        played = self._playhead.tick(self.link.clock())
        if played:
            self._show_past()
        curve = self._tape_curve
        return (curve.work(_WORK_S) if curve is not None else False) or played

    def _went(self, done: bool) -> bool:
        if done:
            self._show_past()
        return done

    def _show_past(self) -> None:
        """Show the moment at the playhead, by the same way as a live one."""
        number = self._playhead.number
        if number is None:
            return
        try:
            moment = self._tape.moment(number)
        except KeyError:
            if number not in self._tape.numbers():  # held so long that it is gone; it stays on the screen
                return
            moment = Moment()  # it can't be unpacked: nothing is known of it
        snapshot = replace(
            Snapshot.of(self.host, moment, self.snapshot, self.mark),
            advise=partial(self._tape_advice.at, number),
            steady_before=partial(reading_before, self._tape, number, STEADY_NS),
        )
        self._show(snapshot)
        if self._tape_curve is not None:
            self._tape_curve.follow(snapshot, number)

    def liveness(self) -> Liveness:
        """Whether the shown numbers are current."""
        where = self.past
        if where is not None:
            return Liveness("playing" if where.playing else "paused", "")
        return self.live()

    def live(self) -> Liveness:
        """Whether the newest there is, shown or not, is now."""
        link = self.link
        view = link.view(self.host) if self.host else None
        if view is None:
            waiting = (
                f"waiting for host {self.host}" if self._wanted and link.connection == "connected" else ""
            )
            return liveness(link.connection, waiting or link.progress, None, None, link.clock())
        return liveness_of(link, view)

    @property
    def missed(self) -> int:
        """Readings of the host that this dashboard never saw, or kept and can't unpack."""
        view = self.link.view(self.host) if self.host else None
        return self._tape.unreadable + (0 if view is None else view.stats_missed)

    def series(self, key: Hashable, count: int) -> Sequence[float | None]:
        """The last points of a series of the history, as it stood at the moment that is shown."""
        return self.history.last(key, count, self._playhead.number)
