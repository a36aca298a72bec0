"""Sends the requests of a task, one after another, and stores their answers."""

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from engine.bus.messages import Response, Status
from vmqtui.tasks.task import Answers, Ending, Group, Step, refusal, several

if TYPE_CHECKING:
    from vmqtui.link import Link

ASKED_FOR_SECONDS = 60.0
"""A request without an answer is repeated for this long."""

_PENDING = "NDIS_STATUS_PENDING"


class Submission:
    """The requests of one dialog to ``host``. It can outlive the dialog.

    An accepted step is not sent again. A request without an answer is repeated with the same id, so that the
    engine executes it once (contract 5), for up to ``ASKED_FOR_SECONDS`` and until the engine restarts. A
    refused step gets a new id when it is sent again.

    At most one request is outstanding. In a batch (steps with a group) a refusal ends only its group; a
    request without an answer ends the batch, as ``stop`` does.
    """

    def __init__(self, link: "Link", host: str) -> None:
        self.host = host
        self.answers: Answers = {}
        self.done: list[tuple[Step, Response]] = []
        self.under_way: bool = False
        """Whether requests are being sent; one of them waits for its answer."""
        self.stopped: bool = False
        """Whether no further step is sent."""
        self._groups: dict[Group | None, list[Step]] = {}
        """The steps by the row of a batch that they are for."""
        self._refused: dict[Group | None, str] = {}
        """Why the steps of a group failed."""
        self._link = link
        self._name = secrets.token_hex(12)
        self._count = 0
        self._ids: dict[tuple[str, str, str], str] = {}
        self._open: dict[str, Step] = {}
        """The steps without an answer, by request id."""

    def send(self, steps: Sequence[Step], waits: Callable[[str], None]) -> Coroutine[Any, Any, str]:
        """Send the steps that are not done yet, in order, up to a failure; return what failed, or "".

        Sets ``under_way`` at the call, before the coroutine runs. Calls ``waits`` with a sentence before each
        request, and after each timeout.
        """
        self.under_way = True
        self._groups = {}
        for step in steps:
            self._groups.setdefault(step.group, []).append(step)
        return self._send_all(steps, waits)

    @property
    def of_many(self) -> bool:
        """Whether it sends, or sent, a batch."""
        return any(group is not None for group in self._groups)

    def stop(self) -> None:
        """Send no further step; the outstanding request still waits for its answer."""
        self.stopped = True

    async def _send_all(self, steps: Sequence[Step], waits: Callable[[str], None]) -> str:
        self._refused.clear()
        try:
            for step in steps:
                if self.stopped or (self._open and self._refused):
                    break
                if step.key in self.answers or step.group in self._refused:
                    continue
                failed = step.hindered() if step.hindered is not None and not self.is_open(step) else ""
                if not failed:
                    waits(f"{step.title}: waiting for {self.host}")
                    failed = await self._send(step, waits)
                if failed:
                    self._refused[step.group] = failed
                    if step.group is None:
                        return f"{step.title}: {failed}"
        finally:
            self.under_way = False
        return " · ".join(self.summary()) if self._refused or self._left() else ""

    def is_open(self, step: Step) -> bool:
        """Whether the same request was sent and has no answer: it may have been carried out, and sent again
        is carried out once."""
        try:
            params = step.params(self.answers)
        except (KeyError, TypeError, ValueError):
            return False
        return self._ids.get(_known(step, params)) in self._open

    async def _send(self, step: Step, waits: Callable[[str], None]) -> str:
        try:
            params = step.params(self.answers)
        except (KeyError, TypeError, ValueError):
            return "the engine's answer had no usable queue_id"
        known = _known(step, params)
        if known not in self._ids:
            self._count += 1
            self._ids[known] = f"{self._name}-{self._count}"
        request_id = self._ids[known]
        self._open[request_id] = step
        try:
            response = await self._answer_to(step, params, request_id, waits)
        except TimeoutError:
            return f"no answer from {self.host}; it may still take effect"
        except ConnectionError as error:
            return f"the broker is not there ({error}); if it was sent before, it may still take effect"
        del self._open[request_id]
        refused = refusal(step, response)
        if refused is not None:
            del self._ids[known]
            return refused
        self.answers[step.key] = response
        self.done.append((step, response))
        return ""

    async def _answer_to(
        self, step: Step, params: dict[str, Any], request_id: str, waits: Callable[[str], None]
    ) -> Response:
        """Send a request, repeating it after timeouts. Raises TimeoutError or ConnectionError."""
        asked_at, asked = self._link.clock(), self._status()
        while True:
            try:
                return await self._link.request(self.host, step.op, params, request_id)
            except TimeoutError:
                waited = self._link.clock() - asked_at
                if waited >= ASKED_FOR_SECONDS or not _may_answer(asked, self._status()):
                    raise
                waits(f"{step.title}: no answer from {self.host} for {waited:.0f} s; still asking")

    def _status(self) -> Status | None:
        view = self._link.view(self.host)
        return view.status if view is not None else None

    def titles(self) -> list[str]:
        """A phrase for each completed step."""
        return [
            f"{step.title}: pending" if response.ndis_status == _PENDING else step.title
            for step, response in self.done
        ]

    def ending(self, failed: str = "") -> Ending | None:
        """The ending to report; None if nothing was sent. ``failed`` is why a step was not done."""
        unanswered = tuple(self._open.values())
        if self.of_many:
            wrong = bool(self._refused or self._left())
            words, groups = " · ".join(self.summary(3)), tuple(self._done_groups())
            return Ending(words, tuple(self.done), unanswered, wrong, groups)
        unmentioned = "; ".join(one.title for one in unanswered if not failed.startswith(f"{one.title}: "))
        words = several(self.titles(), 6)
        if failed:
            words = f"{words}, then {failed}" if words else failed
        elif note := next((response.message for _, response in reversed(self.done) if response.message), ""):
            words += f" · {note}"
        if not words and not unanswered:
            return None
        if unmentioned:
            words += f"{'; ' if words else ''}{unmentioned}: no answer; it may still take effect"
        return Ending(words, tuple(self.done), unanswered, failed=bool(failed))

    def _done_groups(self) -> list[Group]:
        return [
            group
            for group, steps in self._groups.items()
            if group is not None and all(step.key in self.answers for step in steps)
        ]

    def _left(self) -> list[Group]:
        """The rows of the batch that are neither done nor refused."""
        done = {*self._done_groups(), *self._refused}
        return [group for group in self._groups if group is not None and group not in done]

    def progress(self) -> str:
        """How many rows of the batch are done and refused so far."""
        refused = f", {len(self._refused):,} refused" if self._refused else ""
        return f"{len(self._done_groups()):,} of {len(self._groups):,} done{refused}"

    def summary(self, reasons: int = 12) -> list[str]:
        """The rows of the batch that are done, refused with each reason, not answered and not sent, a
        sentence each.

        Beyond so many ``reasons`` only their number is told.
        """
        open_groups = {step.group for step in self._open.values()}
        pending = sum(response.ndis_status == _PENDING for _, response in self.done)
        done = self._done_groups()
        parts = [f"{len(done):,} done"]
        if pending:
            parts[0] += f" ({pending:,} of them pending until their buffers are returned)"
        if done:
            parts[0] += f": {several([group.name for group in done], 3, ', ')}"
        by_reason: dict[str, list[str]] = {}
        for group, why in self._refused.items():
            if group is not None and group not in open_groups:
                before = [step.title for step, _ in self.done if step.group == group]
                reason = f"{why} (done before: {several(before)})" if before else why
                by_reason.setdefault(reason, []).append(group.name)
        if by_reason:
            words = [f"{several(names, 6, ', ')}: {why}" for why, names in by_reason.items()]
            refused = sum(map(len, by_reason.values()))
            parts.append(f"{refused:,} refused: {several(words, reasons)}")
        parts += [
            f"{one.name}: no answer; it may still take effect" for one in open_groups if one is not None
        ]
        if left := self._left():
            half = [step.title for step, _ in self.done if step.group in left]
            stopped = " (stopped)" if self.stopped else ""
            done_half = f"; done of these: {several(half)}" if half else ""
            parts.append(f"{len(left):,} not sent{stopped}{done_half}")
        return parts


def _known(step: Step, params: dict[str, Any]) -> tuple[str, str, str]:
    """Return what a request is, sent for the first time or again."""
    return step.key, step.op, repr(params)


def _may_answer(asked: Status | None, now: Status | None) -> bool:
    """Whether the engine may still answer; after a restart it does not know the request's id."""
    if now is None:
        return True  # a new connection has not received the status yet
    return now.state == "online" and (asked is None or now.started_at == asked.started_at)
