"""Sends the requests of a task, one after another, and stores their answers."""

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from engine.bus.messages import Response, Status
from vmqtui.tasks.task import Answers, Ending, Step, refusal

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
    """

    def __init__(self, link: "Link", host: str) -> None:
        self.host = host
        self.answers: Answers = {}
        self.done: list[tuple[Step, Response]] = []
        self.under_way: bool = False
        """Whether requests are being sent; one of them waits for its answer."""
        self._link = link
        self._name = secrets.token_hex(12)
        self._count = 0
        self._ids: dict[tuple[str, str, str], str] = {}
        self._open: dict[str, str] = {}
        """Titles of the steps without an answer, by request id."""

    def send(self, steps: Sequence[Step], waits: Callable[[str], None]) -> Coroutine[Any, Any, str]:
        """Send the steps that are not done yet, in order, up to the first failure; return its reason, or "".

        Sets ``under_way`` at the call, before the coroutine runs. Calls ``waits`` with a sentence before each
        request, and after each timeout.
        """
        self.under_way = True
        return self._send_all(steps, waits)

    async def _send_all(self, steps: Sequence[Step], waits: Callable[[str], None]) -> str:
        try:
            for step in steps:
                if step.key in self.answers:
                    continue
                waits(f"{step.title}: waiting for {self.host}")
                if failed := await self._send(step, waits):
                    return f"{step.title}: {failed}"
        finally:
            self.under_way = False
        return ""

    async def _send(self, step: Step, waits: Callable[[str], None]) -> str:
        try:
            params = step.params(self.answers)
        except (KeyError, TypeError, ValueError):
            return "the engine's answer had no usable queue_id"
        known = (step.key, step.op, repr(params))
        if known not in self._ids:
            self._count += 1
            self._ids[known] = f"{self._name}-{self._count}"
        request_id = self._ids[known]
        self._open[request_id] = step.title
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
        unanswered = "; ".join(self._open.values())
        unmentioned = "; ".join(one for one in self._open.values() if not failed.startswith(f"{one}: "))
        words = "; ".join(self.titles())
        if failed:
            words = f"{words}, then {failed}" if words else failed
        elif note := next((response.message for _, response in reversed(self.done) if response.message), ""):
            words += f" · {note}"
        if not words and not unanswered:
            return None
        if unmentioned:
            words += f"{'; ' if words else ''}{unmentioned}: no answer; it may still take effect"
        return Ending(words, tuple(self.done), unanswered, failed=bool(failed))


def _may_answer(asked: Status | None, now: Status | None) -> bool:
    """Whether the engine may still answer; after a restart it does not know the request's id."""
    if now is None:
        return True  # a new connection has not received the status yet
    return now.state == "online" and (asked is None or now.started_at == asked.started_at)
