"""The findings of a host within a window: each once, with the times of its sightings and its lost frames."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import msgspec

from engine.advice.evidence import Evidence, Trace, Trail
from engine.advice.finding import MOST_FINDINGS, SEVERITIES, Advice, Finding, Unchecked
from engine.advice.rules import RULES, findings, in_order, unchecked
from engine.advice.thresholds import AdviceThresholds
from engine.advice.verdict import agreed, to_type
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats

STRETCH_NS: Final = 2_000_000_000
"""The rules evaluate this much simulated time at once: long enough for rates, short enough to catch a full
processor. Stretches end at multiples of it, so that readers with different starts get the same result."""
SHORTEST_NS: Final = 1_000_000_000
"""Shortest stretch: a shorter one continues to the next multiple."""
LONGEST_CUT_NS: Final = 5_000_000_000
"""A new configuration restarts the stretch, because earlier loads don't apply to it. If such restarts prevent
any evaluation for this long, for example under a busy balancer, further changes are ignored."""
_ALWAYS: Final = 5
"""Consecutive stretches with a finding after which it counts as permanent."""
_CLEARED: Final = 2
"""Stretches without a permanent finding, after a new configuration, after which it counts as fixed."""


class AdviceWindow:
    """Follows one host by its configurations and readings, in order, by simulated time only.

    The rules evaluate one stretch after another. A finding stays listed for ``thresholds.window_s`` after its
    last stretch, so that bursts and values near a threshold don't make it flicker. It is listed in its worst
    version (the newest if several are equal), with its first and last sighting and the frames it lost within
    the window. A finding about a queue is dropped with the queue. A reading of another run of the engine
    restarts the window.

    Memory: one earlier reading, and for each finding two versions and a number per stretch.
    """

    def __init__(self, thresholds: AdviceThresholds | None = None) -> None:
        self.thresholds = thresholds or AdviceThresholds()
        self._window_ns = round(self.thresholds.window_s * 1e9)
        self._begin()

    def _begin(self) -> None:
        self._trail = Trail()
        self._trace = Trace()
        self._config: Config | None = None
        self._latest: Stats | None = None
        self._base: Stats | None = None
        self._began_ns = 0
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._stretches = 0
        self.judged: Stats | None = None
        """The reading that ended the latest stretch; None before the first."""
        self.unchecked: Sequence[Unchecked] = ()
        """The rules that could not look in the latest stretch."""
        self._ordered: list[Finding] = []
        self._listed: tuple[Finding, ...] | None = ()

    @property
    def seconds(self) -> float:
        """Simulated seconds that the list covers: the window, or less soon after the start."""
        if self.judged is None:
            return 0.0
        return min(self._window_ns, self.judged.sim_time_ns - self._began_ns) / 1e9

    def left_s(self, advice: Advice | None = None) -> float:
        """Simulated seconds until the list covers a whole window, also with ``advice`` taken over.

        Until then bursts may have been missed, and findings may still be added and change their order.
        """
        newest = self.judged or self._base
        if newest is None:
            return self._window_ns / 1e9
        began_ns = self._began_ns
        if advice is not None and self._accepts(advice, newest):
            began_ns = min(began_ns, advice.sim_time_ns - round(advice.window_s * 1e9))
        return max(0, began_ns + self._window_ns - newest.sim_time_ns) / 1e9

    @property
    def listed(self) -> tuple[Finding, ...]:
        """The findings, worst first: most frames lost, then by severity; none contradicts an earlier one.

        Those of a real host have no requests, which it would not take.
        """
        if self._listed is None:
            found = agreed(self._ordered)
            measured = self._config is not None and self._config.system
            self._listed = tuple(map(to_type, found) if measured else found)
        return self._listed

    def configured(self, config: Config) -> None:
        """Add a configuration; also between two readings, because a queue may move several times."""
        self._config = config
        self._trace = self._trail.add(config, self._latest.sim_time_ns if self._latest is not None else 0)

    def add(self, config: Config | None, stats: Stats) -> bool:
        """Add a reading and the newest configuration; return whether a stretch ended and was evaluated."""
        latest = self._latest
        if latest is not None and (stats.sim_time_ns < latest.sim_time_ns or stats.seq <= latest.seq):
            self._begin()
        self._latest = stats
        if config is not None and config is not self._config:
            self.configured(config)
        config = self._config
        if config is None or config.revision != stats.revision:
            return False  # its configuration has not arrived yet
        base = self._base
        if base is None:
            self._base = stats
            self._began_ns = stats.sim_time_ns
            return False
        now_ns = stats.sim_time_ns
        judged_ns = self.judged.sim_time_ns if self.judged is not None else self._began_ns
        if base.revision != stats.revision and now_ns - judged_ns < LONGEST_CUT_NS:
            self._base = stats
            return False
        if now_ns < -(-(base.sim_time_ns + SHORTEST_NS) // STRETCH_NS) * STRETCH_NS:
            return False
        self._judge(Evidence(config, stats, base, self._trace))
        return True

    def finish(self) -> bool:
        """Evaluate the time since the last stretch; return whether that was done.

        A rest below ``SHORTEST_NS`` is skipped if there was a stretch before.
        """
        config, stats, base = self._config, self._latest, self._base
        if config is None or stats is None or base is None or config.revision != stats.revision:
            return False
        rest_ns = stats.sim_time_ns - base.sim_time_ns
        if rest_ns < (SHORTEST_NS if self.judged is not None else 1):
            return False
        self._judge(Evidence(config, stats, base, self._trace))
        return True

    def take_over(self, advice: Advice) -> None:
        """Merge the engine's own findings within the window, because it has followed the host for longer.

        Does nothing before the first stretch here, if the engine uses other thresholds, or if its window is
        longer: the frames lost within this window are then unknown.
        """
        judged, config = self.judged, self._config
        if judged is None or config is None or not self._accepts(advice, judged):
            return
        since_ns = judged.sim_time_ns - self._window_ns
        their_begin_ns = advice.sim_time_ns - round(advice.window_s * 1e9)
        evidence = Evidence(config, judged, judged)
        for one in advice.findings:
            if one.last_seen_ns <= since_ns or one.rule not in RULES or _is_gone(one, evidence):
                continue
            known = self._seen.get(one.identity)
            if known is None:
                known = self._seen[one.identity] = _Seen(one)
                known.count(self._stretches)
            else:
                known.join(one, their_begin_ns, advice.sim_time_ns)
        self._began_ns = min(self._began_ns, their_begin_ns)
        self._order()

    def _accepts(self, advice: Advice, newest: Stats) -> bool:
        """Whether an engine's findings were judged as those here, and their losses are of this window."""
        theirs = advice.thresholds
        if theirs is None or advice.sim_time_ns > newest.sim_time_ns + self._window_ns:
            return False
        if round(advice.window_s * 1e9) > self._window_ns:
            return False
        return msgspec.structs.replace(theirs, window_s=self.thresholds.window_s) == self.thresholds

    def _order(self) -> None:
        self._ordered = in_order(one.shown() for one in self._seen.values())
        self._listed = None

    def _judge(self, evidence: Evidence) -> None:
        now_ns = evidence.stats.sim_time_ns
        self.judged = self._base = evidence.stats
        self._stretches += 1
        self.unchecked = tuple(unchecked(evidence))
        since_ns = now_ns - self._window_ns
        for one in findings(evidence, self.thresholds):
            known = self._seen.get(one.identity)
            if known is None:
                known = self._seen[one.identity] = _Seen(one)
                known.count(self._stretches)
            else:
                known.count(self._stretches, now_ns - known.latest.last_seen_ns)
                known.take(one, since_ns)
        for identity, known in list(self._seen.items()):
            known.forget(since_ns)
            over = known.latest.last_seen_ns <= since_ns or known.was_fixed(self._stretches, evidence)
            if over or _is_gone(known.latest, evidence):
                del self._seen[identity]
        self._order()

    def advice(self) -> Advice:
        """Return the list as a message: up to ``MOST_FINDINGS`` findings, and the number of the others.

        Call it after the first stretch only.
        """
        assert self.judged is not None
        return Advice(
            sim_time_ns=self.judged.sim_time_ns,
            time_ns=self.judged.time_ns,
            revision=self.judged.revision,
            window_s=self.seconds,
            counts=dict(Counter(one.severity for one in self._ordered)),
            thresholds=self.thresholds,
            findings=list(self.listed[:MOST_FINDINGS]),
            more=max(0, len(self._ordered) - MOST_FINDINGS),
            unchecked=list(self.unchecked),
        )


class _Seen:
    """A finding within the window: its latest and its worst version, and the frames it lost."""

    __slots__ = ("_absences", "_first_ns", "_lost", "_streak", "_stretch", "_worst", "latest")

    def __init__(self, finding: Finding) -> None:
        self._first_ns = finding.first_seen_ns
        self.latest = self._worst = finding
        self._lost: deque[tuple[int, int]] = deque()
        # When it was seen again, and for how long it was not.
        self._absences: list[tuple[int, int]] = []
        self._stretch = self._streak = 0
        self._note(finding)
        self._note_absence(finding)

    def count(self, stretch: int, absent_ns: int = 0) -> None:
        """Record that stretch number ``stretch`` had the finding, last seen ``absent_ns`` before; counts
        consecutive stretches."""
        if 0 < self._stretch < stretch - 1:
            self._absences.append((self.latest.last_seen_ns + absent_ns, absent_ns))
        self._streak = self._streak + 1 if stretch == self._stretch + 1 else 1
        self._stretch = stretch

    def was_fixed(self, stretch: int, evidence: Evidence) -> bool:
        """Return whether a permanent finding has been absent long enough since the configuration changed."""
        changed = self.latest.revision != evidence.stats.revision
        return changed and self._streak >= _ALWAYS and stretch - self._stretch >= _CLEARED

    def take(self, finding: Finding, since_ns: int) -> None:
        """Record another sighting; it becomes the worst version unless that is worse and still valid."""
        self.latest = finding
        worst = self._worst
        if (
            _rank(finding) <= _rank(worst)
            or worst.last_seen_ns <= since_ns
            or worst.revision != finding.revision
        ):
            self._worst = finding
        self._note(finding)

    def join(self, other: Finding, since_ns: int, until_ns: int) -> None:
        """Merge another reader's version; its losses replace those from ``since_ns`` to ``until_ns``."""
        self._first_ns = min(self._first_ns, other.first_seen_ns)
        if other.last_seen_ns > self.latest.last_seen_ns:
            self.latest = other
        if _rank(other) < _rank(self._worst):
            self._worst = other
        earlier = [(lost_ns, frames) for lost_ns, frames in self._lost if lost_ns <= since_ns]
        later = [(lost_ns, frames) for lost_ns, frames in self._lost if lost_ns > until_ns]
        self._lost = deque([*earlier, (other.last_seen_ns, other.lost_frames), *later])
        self._note_absence(other)

    def _note(self, finding: Finding) -> None:
        if finding.lost_frames:
            self._lost.append((finding.last_seen_ns, finding.lost_frames))

    def _note_absence(self, theirs: Finding) -> None:
        """Record the longest absence that another reader saw."""
        if theirs.recurs_ns:
            self._absences.append((theirs.last_seen_ns, theirs.recurs_ns))

    def forget(self, since_ns: int) -> None:
        """Drop the losses and absences before the window."""
        while self._lost and self._lost[0][0] <= since_ns:
            self._lost.popleft()
        self._absences = [one for one in self._absences if one[0] > since_ns]

    @property
    def _lost_frames(self) -> int:
        return sum(frames for _, frames in self._lost)

    def shown(self) -> Finding:
        """Return the listed finding: the worst version with times and losses of the window."""
        return msgspec.structs.replace(
            self._worst,
            first_seen_ns=self._first_ns,
            last_seen_ns=self.latest.last_seen_ns,
            recurs_ns=max((absent_ns for _, absent_ns in self._absences), default=0),
            lost_frames=self._lost_frames,
        )


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _is_gone(finding: Finding, evidence: Evidence) -> bool:
    """Return whether the queue of the finding no longer exists; False if it is not about a queue."""
    if finding.queue_id is None:
        return False
    adapter = evidence.by_name.get(finding.adapter)
    queue = adapter.by_id.get(finding.queue_id) if adapter is not None else None
    return queue is None or queue.generation != finding.generation
