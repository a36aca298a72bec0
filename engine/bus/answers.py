"""What was answered to whom, so that a repeated request does nothing again."""

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

IDS_PER_CLIENT = 1024
CLIENT_LIMIT = 1024
TOTAL_LIMIT_BYTES = 64 << 20

_ENTRY_BYTES = 256


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    answer: bytes | None = None  # compressed; None while the request is being carried out

    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.answer or b"")


class Answers:
    """The last 1,024 request ids of each client with their answers.

    When clients or bytes exceed their bound, what the client asked that has been silent longest is
    forgotten first. A request that is being carried out is never forgotten, however many come after it.
    """

    def __init__(self, total_limit_bytes: int = TOTAL_LIMIT_BYTES) -> None:
        self._clients: OrderedDict[str, OrderedDict[str, _Entry]] = OrderedDict()
        self._total_limit_bytes = total_limit_bytes
        self._total_bytes = 0

    def begin(
        self,
        client: str,
        id: str,  # noqa: A002
        fingerprint: bytes,
    ) -> Literal["new", "in progress", "mismatch"] | bytes:
        """Take note of a request; the recorded answer when it is one that was answered already.

        "mismatch" is the id of another request: other op or params.
        """
        entries = self._clients.setdefault(client, OrderedDict())
        self._clients.move_to_end(client)
        entry = entries.get(id)
        if entry is None:
            entries[id] = _Entry(fingerprint)
            self._total_bytes += _ENTRY_BYTES
            self._keep_bounds()
            return "new"
        if entry.fingerprint != fingerprint:
            return "mismatch"
        return "in progress" if entry.answer is None else zlib.decompress(entry.answer)

    def finish(self, client: str, id: str, answer: bytes) -> None:  # noqa: A002
        """Record the answer to a request that has begun."""
        entry = self._clients.get(client, OrderedDict()).get(id)
        if entry is not None:
            entry.answer = zlib.compress(answer, 1)
            self._total_bytes += len(entry.answer)
            self._keep_bounds()

    def _keep_bounds(self) -> None:
        newest = next(reversed(self._clients.values()))
        if len(newest) > IDS_PER_CLIENT:
            self._forget_oldest(newest)
        while len(self._clients) > CLIENT_LIMIT or self._total_bytes > self._total_limit_bytes:
            answered = (client for client, entries in self._clients.items() if self._forget_oldest(entries))
            client = next(answered, None)
            if client is None:
                return
            if not self._clients[client]:
                del self._clients[client]

    def _forget_oldest(self, entries: OrderedDict[str, _Entry]) -> bool:
        """Forget the oldest answer, if there is one."""
        for id, entry in entries.items():  # noqa: A001
            if entry.answer is not None:
                del entries[id]
                self._total_bytes -= entry.size_bytes()
                return True
        return False
