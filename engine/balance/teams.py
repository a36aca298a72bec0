"""Members of a team with summed-up queues keep apart: none is given a processor that is another's."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet


def barred(homes: Sequence[AbstractSet[int]], teams: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """By adapter: the processors that its queues may not move away to.

    ``homes`` are those of each adapter's VMs' queues, ``teams`` the members of each team in mode "sum".
    """
    found: list[frozenset[int]] = [frozenset()] * len(homes)
    for members in teams:
        for one in members:
            found[one] = frozenset().union(*(homes[other] for other in members if other != one))
    return found
