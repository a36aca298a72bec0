"""The model of the screen: one host's snapshot, its history, the viewer's choices."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import AdviceWindow
from engine.telemetry.stats import Stats
from engine.view.rates import STEADY_NS, RateWindow
from engine.view.rows import FilterView, QueueView
from vmqtui.state.archive import Archive
from vmqtui.state.choices import SPAN_S, Choices
from vmqtui.state.history import Curve, TapeAdvice, TapeCurve, advised
from vmqtui.state.hosts import Liveness, liveness, liveness_of, why_unchanging
from vmqtui.state.moment import Moment, Playhead, Reach, Tape, Where, reading_before
from vmqtui.state.series import DETAIL_POINTS, Groups, History
from vmqtui.state.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.bus.messages import Status
    from vmqtui.link import Link

_WORK_S: Final = 0.02
"""Time limit per tick for computing the history of a recording, in seconds."""


class Model:
    """Follows one host of a link. ``take`` reads new messages; no method draws or blocks.

    Live and past moments both reach the views through ``_show``. With ``tapes``, the model does not follow
    the host but plays its tape. ``expected`` is what is known of a host that has not sent its status.
    """

    def __init__(
        self,
        link: "Link",
        host: str | None = None,
        tapes: Callable[[str], Tape] | None = None,
        speed: float = 1.0,
        thresholds: AdviceThresholds | None = None,
        expected: "Status | None" = None,
    ) -> None:
        self.link = link
        self._expected = expected
        self.choices: Choices = Choices()
        self._tapes = tapes
        self._speed = speed
        self._wanted = host
        self._thresholds = thresholds or AdviceThresholds()
        self._follow(host or "")

    def _follow(self, host: str) -> None:
        self.host = host
        self.snapshot: Snapshot = Snapshot(host)
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
        if host:
            self.choices.follow(host)
        self._show_past()

    @property
    def asks_for_past_events(self) -> bool:
        """Whether events from before the dashboard attached are queried, or are in the recording."""
        return self._tapes is not None or not self.link.read_only

    @property
    def why_unchanging(self) -> str:
        """Why nothing can be changed on the shown host, in a sentence; "" if it takes requests."""
        if self._tapes is not None:
            return "this is a recording: nothing is changed in it"
        if why := why_unchanging(self.host or "this machine", self.newest.status or self._expected):
            return why
        return "this dashboard is read-only: it changes nothing" if self.link.read_only else ""

    def choose_host(self, host: str) -> None:
        """Show another host of the link; resets history, archive and deltas."""
        if host != self.host:
            self._wanted = host
            self.choices.adapter = None
            self._follow(host)
            self.take()

    def take(self) -> bool:
        """Read the link's latest messages; return whether any of the shown host is new."""
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
            self.mark = None  # a new run: its counters start at 0
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

    def follow_marks(self) -> None:
        """Remove the marks of rows that are gone from the newest configuration, or of another host."""
        newest, marks = self._newest, self.choices.marks
        if newest.config is not None:
            tables: dict[str, Sequence[QueueView | FilterView]]
            tables = {"queues": newest.queues, "filters": newest.filters}
            present = {
                kind: {row.identity for row in rows if marks.of(kind)} for kind, rows in tables.items()
            }
            marks.follow(self.host, newest.status.started_at if newest.status is not None else 0.0, present)

    def reset_deltas(self) -> None:
        """Make the shown moment the base of deltas."""
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
        """The newest snapshot of the host, even if a past one is shown; of a recording, the shown one."""
        return self._newest if self._tapes is None else self.snapshot

    @property
    def past(self) -> Where | None:
        """The viewer's position in the past; None: the screen shows the present."""
        return self._playhead.where()

    @property
    def moment(self) -> str:
        """What the shown moment is called: "then" in the past."""
        return "now" if self.past is None else "then"

    def pause(self) -> bool:
        """Pause, or resume; return False if there is no moment to pause at."""
        done = self._playhead.toggle()
        if self._playhead.number is None:
            self._show(self._newest)
        elif self._tape_curve is not None:
            self._show_past()
        return done

    def step(self, by: int) -> bool:
        """Show the moment ``by`` places after this one (before it if negative)."""
        return self._went(self._playhead.step(by))

    def skip(self, seconds: float) -> bool:
        """Show the moment ``seconds`` later (earlier if negative)."""
        return self._went(self._playhead.skip(seconds))

    def scrub(self, fraction: float) -> bool:
        """Show the moment at ``fraction`` (0..1) of the way from the first to the last one."""
        return self._went(self._playhead.scrub(fraction))

    def reach(self) -> Reach | None:
        """The times of the first, the last and the shown moment; None if there is none."""
        return self._playhead.reach()

    def go_to(self, time_ns: int) -> bool:
        """Show the last moment at or before a Unix time in ns, or the first one."""
        return self._went(self._playhead.go_to(time_ns))

    def change_speed(self, step: int) -> float | None:
        """Play a recording faster, or slower if ``step`` is negative; return the new speed. None: live."""
        speed = self._playhead.change_speed(step)
        self._speed = self._speed if speed is None else speed
        return speed

    def tick(self) -> bool:
        """Advance a playing recording; return whether there is something new to draw."""
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
        """Show the moment at the playhead, in the same way as a live one."""
        number = self._playhead.number
        if number is None:
            return
        try:
            moment = self._tape.moment(number)
        except KeyError:
            if number not in self._tape.numbers():  # dropped by the archive; it stays on the screen
                return
            moment = Moment()  # it can't be unpacked, so it is shown as unknown
        snapshot = replace(
            Snapshot.of(self.host, moment, self.snapshot, self.mark),
            advise=partial(self._tape_advice.at, number),
            steady_before=partial(reading_before, self._tape, number, STEADY_NS),
        )
        self._show(snapshot)
        if self._tape_curve is not None:
            self._tape_curve.follow(snapshot, number, self.span_s)

    def liveness(self) -> Liveness:
        """The freshness of the shown numbers."""
        where = self.past
        if where is not None:
            return Liveness("playing" if where.playing else "paused", "")
        return self.live()

    def live(self) -> Liveness:
        """The freshness of the newest numbers, even if a past moment is shown."""
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
        """Number of readings that this dashboard did not receive, or stored and can't unpack."""
        view = self.link.view(self.host) if self.host else None
        return self._tape.unreadable + (0 if view is None else view.stats_missed)

    def series(self, key: Hashable, count: int) -> Sequence[float | None]:
        """The last ``count`` points of a series of the history, up to the shown moment."""
        return self.history.last(key, count, self._playhead.number)

    def details(self, key: Hashable) -> Sequence[float | None]:
        """The points of a series of the details of queues, up to the shown moment."""
        return (self._tape_curve or self._curve).details.last(key, DETAIL_POINTS, self._playhead.number)

    @property
    def span_s(self) -> int:
        """The span of charts, in seconds."""
        return self.choices.setting(SPAN_S)

    def choose_span(self, step: int) -> bool:
        """Choose the next longer span of charts, or the next shorter; return False if there is none."""
        spans = SPAN_S.values
        at = spans.index(self.span_s) + step
        if not 0 <= at < len(spans):
            return False
        self.choices.set(SPAN_S, spans[at])
        if self._playhead.number is not None and self._tape_curve is not None:
            self._tape_curve.follow(self.snapshot, self._playhead.number, spans[at])
        return True

    def peaks(self, groups: Groups, cells: int) -> list[list[float | None]]:
        """The span of charts up to the shown moment in ``cells`` parts (``History.peaks``)."""
        return self.history.peaks(groups, self.span_s, cells, self._playhead.number)
