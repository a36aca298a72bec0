"""A trial: runs a scenario through the model, and again with each fix that the advisor proposes.

It provides the values "before" and "after" of advice, from the same model and the same frames.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Final

import msgspec

from engine.advice.evidence import Evidence, Trail
from engine.advice.finding import Finding, Request
from engine.advice.rules import findings
from engine.advice.thresholds import AdviceThresholds
from engine.advice.verdict import agreed, joined, judged, withheld, worse_together
from engine.scenario.model import Scenario
from engine.service.machine import Machine, Progress, SimClock
from engine.service.sources import ActiveSource, Caveats, ReadCapture, capture_source, synthetic_source
from engine.signals import interrupts_deferred
from engine.telemetry.stats import Stats, known
from engine.traffic.capture_file import CaptureFile
from engine.workers.conductor import Conductor

_SHORTEST_NS: Final = 100_000_000
_SO_MANY: Final = 256
"""Number of intervals of one length; then the length doubles, to limit the readings of a long run."""


class WorstIntervals:
    """Reads a machine at the ends of short intervals.

    ``worst`` has, by processor, the evidence of the interval in which its queues dropped the most frames.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._before: Stats | None = None
        self._most: Counter[int] = Counter()
        self.worst: dict[int, Evidence] = {}

    @staticmethod
    def pauses(start_ns: int) -> Iterator[int]:
        """Yield the end times of the intervals; the first interval begins at ``start_ns``. Endless."""
        length_ns = _SHORTEST_NS
        while True:
            for _ in range(_SO_MANY):
                start_ns += length_ns
                yield start_ns
            length_ns *= 2

    def begin(self) -> Stats:
        """Begin the first interval; return its reading."""
        self._before = self._machine.stats()
        return self._before

    def end(self) -> Stats:
        """End an interval and begin the next; return the reading."""
        before, stats = self._before, self._machine.stats()
        self._before = stats
        evidence = Evidence(self._machine.config(), stats, before)
        if before is not None and evidence.usable and _dropped(stats) > _dropped(before):
            for cpu in evidence.cpus:
                drops = sum((queue.rate("dropped_no_buffer") or 0.0) for queue in cpu.queues)
                dropped = round(drops * evidence.span_s)
                if dropped > self._most[cpu.cpu]:
                    self._most[cpu.cpu] = dropped
                    self.worst[cpu.cpu] = evidence
        return stats


def _dropped(stats: Stats) -> int:
    return sum(sum(known(one.queues["dropped_no_buffer"])) for one in stats.adapters.values())


_WARM_UP: Final = 0.25
"""The share of a run before measurement starts, while queues fill and loads settle."""


@dataclass(frozen=True)
class Intervention:
    """A request made at a simulated time during a run."""

    at_s: float
    op: str
    params: Mapping[str, Any]


@dataclass(eq=False)
class Trial:
    """A scenario to run, fed by a whole capture, or by its own traffic for ``seconds`` of simulated time.

    Gaps of over 1 s in a capture are shortened to 1 s, as in a live engine: long gaps make rates meaningless.

    ``interventions`` are requests made during a run without a capture. If they change only the traffic, a fix
    is applied before the first frame; otherwise it is applied at the end, and the run continues for
    ``seconds``.
    """

    scenario: Scenario
    seconds: float = 1.0
    capture: CaptureFile | None = None
    adapter: str | None = None
    interventions: Sequence[Intervention] = ()
    caveats: Caveats = field(default=Caveats(), init=False)
    """Parts of the capture that the last run did not cover."""

    def run(
        self, fix: Sequence[Request] = (), progress: Callable[[float], None] = lambda share: None
    ) -> Evidence:
        """Run the scenario, with a fix if given; return the evidence at the end of the run.

        ``progress`` is called with the finished share (0..1) between rounds.

        Raises CaptureError, ChoiceError, NotEnoughMemoryError, ``TrialError`` if an intervention or fix is
        refused, ValueError for an impossible scenario.
        """
        with ExitStack() as stack:
            capture = None
            if self.capture is not None:
                capture = capture_source(self.capture, self.scenario, self.adapter, shorten_gaps=True)
            active = ActiveSource(self.scenario, capture or synthetic_source(self.scenario))
            stack.callback(active.close)
            played = None if self.capture is None else f"capture {self.capture}"
            with interrupts_deferred():
                machine = Machine(self.scenario, played, active=active)
                stack.callback(_close, machine)
            run = _Run(machine, active, progress)
            fix_first = all(one.op == "set_traffic" for one in self.interventions)
            if fix and fix_first:
                run.apply(fix)
            if capture is not None:
                evidence = run.to_the_end(capture)
                self.caveats = Caveats.of(capture)
                return evidence
            evidence = run.watch(self.seconds, self.interventions)
            if fix and not fix_first:
                run.apply(fix)
                evidence = run.watch(self.seconds)
            return evidence


class TrialError(Exception):
    """An intervention or fix was refused; the text is a sentence."""


class _Run:
    """Runs a machine once and collects evidence."""

    def __init__(self, machine: Machine, active: ActiveSource, progress: Callable[[float], None]) -> None:
        self._machine = machine
        self._active = active
        self._progress = progress
        self._share: Callable[[], float] = lambda: 0.0
        self._conductor = Conductor(machine.rounds, active.source)
        self._sim_clock = SimClock(self._conductor, machine, self._after_round, self._record_moves)
        self._trail = Trail()
        self._record_config()

    def _after_round(self) -> None:
        self._machine.settle()
        self._progress(self._share())

    def _record_config(self) -> None:
        self._revision = self._machine.host.revision
        self._trace = self._trail.add(self._machine.config(), self._machine.plane.now_ns)

    def _record_moves(self) -> None:
        """Record the configuration again if the balancer has moved queues."""
        if self._machine.host.revision != self._revision:
            self._record_config()

    def watch(self, seconds: float, interventions: Sequence[Intervention] = ()) -> Evidence:
        """Run for ``seconds`` of simulated time, with interventions; rates exclude the warm-up."""
        start_ns = self._machine.plane.now_ns
        warm_ns, end_ns = (start_ns + round(part * seconds * 1e9) for part in (_WARM_UP, 1.0))
        self._share = lambda: (self._machine.plane.now_ns - start_ns) / (end_ns - start_ns)
        before = None
        intervals = WorstIntervals(self._machine)
        pauses = set(takewhile(lambda pause_ns: pause_ns < end_ns, intervals.pauses(warm_ns)))
        marks = sorted(
            {warm_ns, end_ns, *pauses, *(start_ns + round(one.at_s * 1e9) for one in interventions)}
        )
        for mark_ns in marks:
            if mark_ns > end_ns:
                break
            self._sim_clock.advance_to(mark_ns)
            for one in interventions:
                if start_ns + round(one.at_s * 1e9) == mark_ns:
                    self._request(one.op, dict(one.params))
            if mark_ns == warm_ns:
                before = intervals.begin()
            elif mark_ns in pauses:
                intervals.end()
        self._record_config()
        stats = intervals.end()
        return Evidence(self._machine.config(), stats, before, self._trace, intervals.worst)

    def to_the_end(self, capture: ReadCapture) -> Evidence:
        """Run until the capture has no more frames and none is pending; rates are over the whole run."""
        self._share = lambda: capture.bytes_read / (capture.bytes_total or capture.bytes_read or 1)
        intervals = WorstIntervals(self._machine)
        intervals.begin()
        self._sim_clock.advance_to_end(intervals.pauses(self._machine.plane.now_ns), intervals.end)
        self._machine.rounds.replace_dead()
        self._machine.settle()
        self._record_config()
        stats = intervals.end()
        return Evidence(self._machine.config(), stats, None, self._trace, intervals.worst)

    def apply(self, fix: Sequence[Request]) -> None:
        """Carry out the requests of a fix, in order."""
        answers: list[Mapping[str, Any]] = []
        for one in fix:
            answers.append(self._request(one.op, filled_in(one, answers)))

    def _request(self, op: str, params: dict[str, Any]) -> Mapping[str, Any]:
        outcome = self._machine.request(op, params)
        refused = [
            f"queue {one.get('queue_id')}: {one.get('ndis_status')}"
            for one in outcome.result.get("queues", ())
            if op == "complete_allocation" and one.get("ndis_status") != "NDIS_STATUS_SUCCESS"
        ]
        if outcome.status != "ok" or refused:
            raise TrialError(f"{op}: {outcome.ndis_status}: {', '.join(refused) or outcome.message}")
        self._conductor.source = self._active.source
        self._record_config()
        return outcome.result


def filled_in(request: Request, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a request's parameters, with the queue id from the answer to the request it refers to."""
    params = dict(request.params)
    if request.queue_from is not None:
        queue_id = answers[request.queue_from]["queue_id"]
        params |= {"queue_ids": [queue_id]} if "queue_ids" in params else {"queue_id": queue_id}
    return params


@dataclass(frozen=True, eq=False)
class TriedFix:
    """A finding, with the evidence after its fix (None if not tried), or why the fix was ``refused``."""

    finding: Finding
    after: Evidence | None = None
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The findings of a trial with their tried fixes, and the trial of all offered fixes together.

    ``together`` is None if fewer than two different fixes are offered. ``left`` are the findings after it.
    """

    evidence: Evidence
    tried: Sequence[TriedFix]
    together: Evidence | None = None
    left: Sequence[Finding] = ()

    @property
    def findings(self) -> list[Finding]:
        return [one.finding for one in self.tried]


def diagnose(
    trial: Trial,
    thresholds: AdviceThresholds | None = None,
    *,
    asked: Callable[[Evidence], Sequence[Finding]] | None = None,
    most_tries: int = 16,
    progress: Progress = lambda doing, share: None,
) -> Diagnosis:
    """Run a trial, apply the advisor's rules, and run it again with the fix of each finding, then with all.

    ``asked`` returns, for the evidence of the first run, the findings whose fixes are tried; without it they
    are those of the rules. Only the first ``most_tries`` different fixes are tried; for other findings
    "after" stays unknown. ``progress`` receives what is done now, and its finished share.

    Raises the errors of ``Trial.run``, but a refused fix is returned as such.
    """
    evidence = trial.run(progress=lambda share: progress("running without a fix", share))
    found = findings(evidence, thresholds)
    wanted = found if asked is None else asked(evidence)
    tries = _Tries(trial, thresholds, most_tries, progress)
    tries.expect([one.requests for one in wanted if one.requests])
    tried = [tries.of(finding, evidence, found) for finding in wanted]
    return _together(evidence, tried, tries, found)


def _together(
    evidence: Evidence,
    tried: Sequence[TriedFix],
    tries: "_Tries",
    found: Sequence[Finding],
) -> Diagnosis:
    """Let findings agree, and try all offered fixes at once; if that is no better, only the first stands."""
    consistent = [
        replace(one, finding=two)
        for one, two in zip(tried, agreed([one.finding for one in tried]), strict=True)
    ]
    offered = [one for one in consistent if one.finding.requests and one.after is not None]
    fixes = joined([one.finding.requests for one in offered])
    if len({msgspec.msgpack.encode(one.finding.requests) for one in offered}) < 2 or not fixes:
        return Diagnosis(evidence, consistent)
    result = tries.result(fixes, "trying all fixes together", last=True)
    if result is None:
        return Diagnosis(evidence, consistent)
    first, why = offered[0], f"applied together with other fixes it is refused ({result})"
    if not isinstance(result, str):
        after, left = result
        assert first.after is not None
        why = worse_together(evidence, found, left, first.after, after)
        if not why:
            return Diagnosis(evidence, consistent, after, left)
    others = offered[1:]
    ranked = [
        replace(one, finding=withheld(one.finding, f"{why}: do {first.finding.rule} first, then look again"))
        if any(one is other for other in others)
        else one
        for one in consistent
    ]
    return Diagnosis(evidence, ranked)


class _Tries:
    """Runs a trial with fixes, each different one once, and only so many."""

    def __init__(
        self, trial: Trial, thresholds: AdviceThresholds | None, most: int, progress: Progress
    ) -> None:
        self._trial = trial
        self._progress = progress
        self._expected = 0
        self._thresholds = thresholds
        self._left = most
        self._done: dict[bytes, tuple[Evidence, list[Finding]] | str] = {}

    def expect(self, fixes: Sequence[Sequence[Request]]) -> None:
        """Note which fixes will be tried, for the share of them that is done."""
        different = len({msgspec.msgpack.encode(fix) for fix in fixes})
        self._expected = min(different, self._left) + (different > 1)  # all of them together, too

    def of(self, finding: Finding, before: Evidence, found: Sequence[Finding]) -> TriedFix:
        """Return a finding with what its fix does."""
        unknown = msgspec.structs.replace(finding, after=None, cleared=None, estimated=False)
        doing = f"trying the fix of {finding.rule}, {finding.where}"
        result = self.result(finding.requests, doing) if finding.requests else None
        if result is None:
            return TriedFix(unknown)
        if isinstance(result, str):
            return TriedFix(unknown, refused=result)
        after, left = result
        return TriedFix(judged(unknown, before, after, found, left), after)

    def result(
        self, fix: Sequence[Request], doing: str, *, last: bool = False
    ) -> tuple[Evidence, list[Finding]] | str | None:
        """Return the evidence and the findings after a fix; why it was refused; None after too many.

        The ``last`` one is always tried. ``doing`` is the sentence of its progress.
        """
        key = msgspec.msgpack.encode(fix)
        if key not in self._done:
            if self._left <= 0 and not last:
                return None
            self._left -= 1
            done = len(self._done)
            count = max(self._expected, done + 1)
            try:
                after = self._trial.run(fix, lambda share: self._progress(doing, (done + share) / count))
            except TrialError as error:
                self._done[key] = str(error)
            else:
                self._done[key] = after, findings(after, self._thresholds)
        return self._done[key]


def _close(machine: Machine) -> None:
    with interrupts_deferred():
        machine.close()
