"""The answers of a measured host, which takes no requests: nothing is changed on a real host."""

from typing import Final

import msgspec

from engine.bus.messages import Request, Response
from engine.counted import counted
from engine.ndis import operations
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, answer
from engine.ndis.queries import EventHistory
from engine.telemetry.events import Event

ANSWERED: Final = ("ping", "query_events")
"""Operations that a measured host answers."""

_encoder = msgspec.msgpack.Encoder()


class NoRequests:
    """Answers ``ping`` and ``query_events`` for a host, and refuses every other operation."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._history = EventHistory()
        self._revision = 0

    def configured(self, revision: int) -> None:
        """Use the revision of a new configuration in the answers that follow."""
        self._revision = revision

    def happened(self, event: Event) -> None:
        """Keep an event for ``query_events``."""
        self._history.add(msgspec.to_builtins(event), len(_encoder.encode(event)))

    async def __call__(self, client: str, request: Request) -> Response:
        """Answer a request; the same signature as an engine's handler of requests."""
        try:
            outcome = self._outcome(request)
        except NdisError as error:
            outcome = Outcome(error.status, error.message)
        return Response(
            id=request.id,
            status=outcome.status,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
            result=outcome.result,
            revision=self._revision,
        )

    def _outcome(self, request: Request) -> Outcome:
        """Return the outcome of a request. Raises ``NdisError``."""
        if request.op in operations.OPERATIONS and request.op not in ANSWERED:
            raise NdisError(
                NdisStatus.NOT_SUPPORTED,
                f"op: {request.op} is not for {self._host}, a real host that is measured: nothing is changed"
                f" on it ({' and '.join(ANSWERED)} are answered)",
            )
        asked = operations.decode(request.op, request.params)
        if request.op == "ping":
            return answer("the agent is there", {})
        events = self._history.since(asked.values.get("since_seq", 0), asked.values.get("limit", 256))
        return answer(counted(len(events), "event"), {"events": events})
