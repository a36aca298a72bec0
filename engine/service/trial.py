"""A trial: a scenario run through the real model for a while, and again with what somebody would change.

This is where advice gets its "before" and "after" from: the same model, fed the same frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding, Request
from engine.advice.registry import RULES, findings
from engine.advice.thresholds import AdviceThresholds
from engine.advice.trail import Trail
from engine.scenario.model import Scenario
from engine.service.course import Course
from engine.service.feed import Feed
from engine.service.interrupts import whole
from engine.service.machine import Machine
from engine.service.sources import Caveats, capture_source, synthetic_source
from engine.service.stretches import Stretches
from engine.traffic.capture_file import CaptureFile
from engine.workers.conductor import Conductor

_WARM_UP: Final = 0.25
"""The part of a run before which nothing counts: queues fill, processors find their load."""


@dataclass(frozen=True)
class Deed:
    """A request made at a simulated time: what happens to a host while it is watched."""

    at_s: float
    op: str
    params: Mapping[str, Any]


@dataclass(eq=False)
class Trial:
    """What is tried: a scenario, fed by a capture to its end, or by its own traffic for ``seconds``.

    Gaps of over 1 s in a capture are shortened to 1 s, as in a live engine: rates over years say nothing.

    ``deeds`` happen on the way. A fix is applied before the first frame where nothing but its traffic is
    changed meanwhile; otherwise at the end, and the host is watched once more for as long.
    """

    scenario: Scenario
    seconds: float = 1.0
    capture: CaptureFile | None = None
    adapter: str | None = None
    deeds: Sequence[Deed] = ()
    caveats: Caveats = field(default=Caveats(), init=False)
    """What the last run did not cover of the capture."""

    def run(self, fix: Sequence[Request] = ()) -> Evidence:
        """Run it; what was seen at its end.

        Raises CaptureError, ChoiceError, NotEnoughMemoryError, ``TrialError`` when a deed or fix is refused,
        ValueError for a scenario that can't be.
        """
        with ExitStack() as stack:
            capture = None
            if self.capture is not None:
                capture = capture_source(self.capture, self.scenario, self.adapter, shorten_gaps=True)
            feed = Feed(self.scenario, capture or synthetic_source(self.scenario))
            stack.callback(feed.close)
            played = None if self.capture is None else f"capture {self.capture}"
            with whole():
                machine = Machine(self.scenario, played, feed=feed)
                stack.callback(_close, machine)
            run = _Run(machine, feed)
            fix_first = all(one.op == "set_traffic" for one in self.deeds)
            if fix and fix_first:
                run.apply(fix)
            if capture is not None:
                evidence = run.to_the_end()
                self.caveats = Caveats.of(capture)
                return evidence
            evidence = run.watch(self.seconds, self.deeds)
            if fix and not fix_first:
                run.apply(fix)
                evidence = run.watch(self.seconds)
            return evidence


class TrialError(Exception):
    """A request of a trial was refused; a sentence."""


class _Run:
    """One machine on its way through simulated time."""

    def __init__(self, machine: Machine, feed: Feed) -> None:
        self._machine = machine
        self._feed = feed
        self._conductor = Conductor(machine.rounds, feed.source)
        self._course = Course(self._conductor, machine, machine.settle, self._look_again)
        self._trail = Trail()
        self._look()

    def _look(self) -> None:
        self._revision = self._machine.host.revision
        self._trace = self._trail.add(self._machine.config(), self._machine.plane.now_ns)

    def _look_again(self) -> None:
        """The balancer may have moved queues."""
        if self._machine.host.revision != self._revision:
            self._look()

    def watch(self, seconds: float, deeds: Sequence[Deed] = ()) -> Evidence:
        """Go on for so long, with what is to be done meanwhile; rates are taken after the warm-up."""
        start_ns = self._machine.plane.now_ns
        warm_ns, end_ns = (start_ns + round(part * seconds * 1e9) for part in (_WARM_UP, 1.0))
        before = None
        stretches = Stretches(self._machine)
        pauses = set(takewhile(lambda pause_ns: pause_ns < end_ns, stretches.pauses(warm_ns)))
        marks = sorted({warm_ns, end_ns, *pauses, *(start_ns + round(one.at_s * 1e9) for one in deeds)})
        for mark_ns in marks:
            if mark_ns > end_ns:
                break
            self._course.go_to(mark_ns)
            for one in deeds:
                if start_ns + round(one.at_s * 1e9) == mark_ns:
                    self._ask(one.op, dict(one.params))
            if mark_ns == warm_ns:
                before = stretches.begin()
            elif mark_ns in pauses:
                stretches.end()
        self._look()
        stats = stretches.end()
        return Evidence(self._machine.config(), stats, before, self._trace, stretches.worst)

    def to_the_end(self) -> Evidence:
        """Go on until the source has no more frames and nothing is pending; rates are over all of it."""
        stretches = Stretches(self._machine)
        stretches.begin()
        self._course.go_to_end(stretches.pauses(self._machine.plane.now_ns), stretches.end)
        self._machine.rounds.replace_dead()
        self._machine.settle()
        self._look()
        stats = stretches.end()
        return Evidence(self._machine.config(), stats, None, self._trace, stretches.worst)

    def apply(self, fix: Sequence[Request]) -> None:
        """Carry out the requests of a fix, in order."""
        answers: list[Mapping[str, Any]] = []
        for one in fix:
            answers.append(self._ask(one.op, filled_in(one, answers)))

    def _ask(self, op: str, params: dict[str, Any]) -> Mapping[str, Any]:
        outcome = self._machine.request(op, params)
        refused = [
            f"queue {one.get('queue_id')}: {one.get('ndis_status')}"
            for one in outcome.result.get("queues", ())
            if op == "complete_allocation" and one.get("ndis_status") != "NDIS_STATUS_SUCCESS"
        ]
        if outcome.status != "ok" or refused:
            raise TrialError(f"{op}: {outcome.ndis_status}: {', '.join(refused) or outcome.message}")
        self._conductor.source = self._feed.source
        self._look()
        return outcome.result


def filled_in(request: Request, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of a request, with the queue's id that an earlier one was given."""
    params = dict(request.params)
    if request.queue_from is not None:
        queue_id = answers[request.queue_from]["queue_id"]
        params |= {"queue_ids": [queue_id]} if "queue_ids" in params else {"queue_id": queue_id}
    return params


@dataclass(frozen=True, eq=False)
class Tried:
    """A finding whose fix was tried: what was seen with it, or why it could not be."""

    finding: Finding
    after: Evidence | None = None
    refused: str = ""


def diagnose(
    trial: Trial,
    thresholds: AdviceThresholds | None = None,
    *,
    most_tries: int = 16,
    progress: Callable[[str], None] = lambda sentence: None,
) -> tuple[Evidence, list[Tried]]:
    """Run a trial, look for what is wrong, and run it again with each fix: at most ``most_tries`` of them.

    Findings beyond that keep their "after" unknown. Raises what ``Trial.run`` does.
    """
    evidence = trial.run()
    found = findings(evidence, thresholds)
    return evidence, list(_tried(trial, found, thresholds, most_tries, progress))


def _tried(
    trial: Trial,
    found: Sequence[Finding],
    thresholds: AdviceThresholds | None,
    most_tries: int,
    progress: Callable[[str], None],
) -> Iterator[Tried]:
    tries = 0
    for finding in found:
        unknown = msgspec.structs.replace(finding, after=None, cleared=None, estimated=False)
        if not finding.requests or tries >= most_tries:
            yield Tried(unknown)
            continue
        tries += 1
        progress(f"trying the fix of {finding.rule}, {finding.where}")
        try:
            after = trial.run(finding.requests)
        except TrialError as error:
            yield Tried(unknown, refused=str(error))
            continue
        left = {one.identity for one in findings(after, thresholds)}
        measured = msgspec.structs.replace(
            unknown,
            after=RULES[finding.rule].measure(after, finding),
            cleared=finding.identity not in left,
        )
        yield Tried(measured, after)


def _close(machine: Machine) -> None:
    with whole():
        machine.close()
