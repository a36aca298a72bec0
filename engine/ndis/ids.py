"""Identifiers: the lowest that is not in use."""

from heapq import heappop, heappush


class Ids:
    """Gives out the lowest unused identifier, from ``first``."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._freed: list[int] = []

    def take(self) -> int:
        """The lowest unused identifier, now in use."""
        if self._freed:
            return heappop(self._freed)
        self._next += 1
        return self._next - 1

    def give_back(self, identifier: int) -> None:
        """Put an identifier out of use."""
        heappush(self._freed, identifier)

    def copy(self) -> "Ids":
        """Identifiers that can be taken without taking these."""
        ids = Ids()
        ids._next = self._next
        ids._freed = list(self._freed)
        return ids
