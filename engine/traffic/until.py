"""A source that ends at a time, for those that go on for ever."""

from engine.traffic.batch import Filled, FrameBatch, Source


class Until:
    """The frames of another source that arrive before ``end_ns``, which is above 0."""

    def __init__(self, source: Source, end_ns: int) -> None:
        self._source = source
        self._end_ns = end_ns
        self._reached_ns = 0

    @property
    def share(self) -> float:
        """How much of the time until its end has been filled."""
        return self._reached_ns / self._end_ns

    @property
    def skipped_ns(self) -> int:
        """What the other source took out of its gaps."""
        return self._source.skipped_ns

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""
        filled = self._source.fill(batch, min(until_ns, self._end_ns))
        self._reached_ns = min(self._end_ns, self._end_ns if filled.next_ns is None else filled.next_ns)
        if filled.next_ns is None or filled.next_ns >= self._end_ns:
            return Filled(filled.frames, None)
        return filled

    def close(self) -> None:
        """Close the other source."""
        self._source.close()
