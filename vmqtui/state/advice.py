"""Findings as rows of a table: of now, and of moments of the past."""

from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from engine.advice.finding import SEVERITIES, Finding
from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import LONGEST_CUT_NS, AdviceWindow
from vmqtui.state.moment import Tape, lead

_THINNED_NS: Final = 200_000_000
"""Of the readings that led to a moment, so much apart are enough."""


class FindingRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A finding on the screen. ``unseen_s``: for how long (simulated) it was not seen; 0: it is seen now."""

    finding: Finding
    unseen_s: float = 0.0

    @property
    def identity(self) -> Hashable:
        return self.finding.identity

    @property
    def adapter(self) -> str:
        return self.finding.adapter

    def concerns(self, adapter: str) -> bool:
        """Whether it is about an adapter: its own, one that the fix changes, or all of a host."""
        changed = {request.params.get("adapter") for request in self.finding.requests}
        return adapter == self.adapter or bool(changed & {adapter, None})

    @property
    def label(self) -> str:
        return self.finding.where

    @property
    def rank(self) -> int:
        """How bad it is; 0 is worst."""
        return SEVERITIES.index(self.finding.severity)


@dataclass(frozen=True)
class Advised:
    """What the advisor finds at one moment, worst first. ``seconds`` of simulated time were judged, a whole
    window where ``whole``. ``judged_ns`` is the simulated time of its end; None: nothing was judged yet."""

    findings: tuple[Finding, ...] = ()
    judged_ns: int | None = None
    seconds: float = 0.0
    whole: bool = False

    @classmethod
    def of(cls, window: AdviceWindow) -> "Advised":
        judged_ns = window.judged.sim_time_ns if window.judged is not None else None
        return cls(window.listed, judged_ns, window.seconds, window.is_whole)

    @cached_property
    def rows(self) -> tuple[FindingRow, ...]:
        now_ns = self.judged_ns or 0
        return tuple(FindingRow(one, (now_ns - one.last_seen_ns) / 1e9) for one in self.findings)


class TapeAdvice:
    """What the advisor found at moments of a tape: the readings that led to one are judged again, in order.

    Going on from one moment to a later one judges what lies between.
    """

    def __init__(self, tape: Tape, thresholds: AdviceThresholds) -> None:
        self._tape = tape
        self._thresholds = thresholds
        self._window = AdviceWindow(thresholds)
        self._number: int | None = None

    def at(self, number: int) -> Advised:
        """What was found at a moment; nothing of one that is not on the tape."""
        with suppress(KeyError):
            leading = lead(self._tape, number, round(self._thresholds.window_s * 1e9) + LONGEST_CUT_NS)
            reached = self._number
            if reached is None or not leading[0] <= reached <= number:
                self._window, reached = AdviceWindow(self._thresholds), None
            last_ns = None if reached is None else self._tape.sim_time_ns(reached)
            for one in leading:
                if reached is not None and one <= reached:
                    continue
                at_ns = self._tape.sim_time_ns(one)
                if one == number or last_ns is None or not 0 <= at_ns - last_ns < _THINNED_NS:
                    last_ns = at_ns
                    with suppress(KeyError):  # what can't be read is left out
                        self._window.add(*self._tape.reading(one))
            self._number = number
            return Advised.of(self._window)
        return Advised()
