"""Findings at a moment: of now, and of moments of the past."""

from bisect import bisect_right
from collections import deque
from contextlib import suppress
from typing import Final

from engine.advice.thresholds import AdviceThresholds
from engine.advice.window import LONGEST_CUT_NS, AdviceWindow
from vmqtui.state.moment import Tape, lead
from vmqtui.state.rows import Advised

_THINNED_NS: Final = 200_000_000
"""Of the readings that led to a moment, so much apart are enough."""
_MARGIN_NS: Final = 10_000_000_000
"""How far one may go back from a moment without judging again what led to it."""
_KEPT: Final = 32
"""Stretches whose findings are at hand."""


def advised(window: AdviceWindow) -> Advised:
    """The findings that a window lists now."""
    judged_ns = window.judged.sim_time_ns if window.judged is not None else None
    return Advised(window.listed, judged_ns, window.seconds, window.is_whole)


class TapeAdvice:
    """What the advisor found at moments of a tape: the readings that led to one are judged again, in order.

    Going on from one moment to a later one judges what lies between; going back by a little judges nothing.
    """

    def __init__(self, tape: Tape, thresholds: AdviceThresholds) -> None:
        self._tape = tape
        self._thresholds = thresholds
        self._span_ns = round(thresholds.window_s * 1e9) + LONGEST_CUT_NS
        self._window = AdviceWindow(thresholds)
        self._first = self._reached = -1
        self._found: deque[tuple[int, Advised]] = deque(maxlen=_KEPT)

    def at(self, number: int) -> Advised:
        """What was found at a moment; nothing of one that is not on the tape."""
        with suppress(KeyError):
            leading = lead(self._tape, number, self._span_ns)
            known = self._first <= leading[0] <= self._reached
            if not known or not self._found or self._found[0][0] > number:
                self._begin(lead(self._tape, number, self._span_ns + _MARGIN_NS)[0])
            self._go_on(number)
            return next(found for since, found in reversed(self._found) if since <= number)
        return Advised()

    def _begin(self, number: int) -> None:
        """Judge from a moment on."""
        self._window = AdviceWindow(self._thresholds)
        self._first, self._reached = number, number - 1
        self._found.clear()
        self._found.append((number, Advised()))

    def _go_on(self, number: int) -> None:
        """Judge up to a moment."""
        numbers, tape, window = self._tape.numbers(), self._tape, self._window
        last_ns: int | None = None
        for one in numbers[bisect_right(numbers, self._reached) : bisect_right(numbers, number)]:
            at_ns = tape.sim_time_ns(one)
            if one != number and last_ns is not None and 0 <= at_ns - last_ns < _THINNED_NS:
                continue
            last_ns = at_ns
            with suppress(KeyError):  # what can't be read is left out
                judged = window.add(*tape.reading(one))
                restarted = window.judged is None and self._found[-1][1].judged_ns is not None
                if judged or restarted:
                    self._found.append((one, advised(window)))
        self._reached = max(self._reached, number)
