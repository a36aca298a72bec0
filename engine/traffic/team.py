"""NIC teams: a source that distributes a team's frames over its members, each with its own wire.

Sum of queues (switch independent with Hyper-V port or dynamic distribution): the physical switch has learned
a VM's MAC on one member only, that of the VM's port, so all of its frames arrive there. Min of queues (static
teaming or LACP): the physical switch distributes flows over the members by their addresses. Primary (switch
independent with an address hash): the physical switch knows all addresses on the first member.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.scenario.model import Scenario, TeamSpec
from engine.scenario.values import parse_mac
from engine.traffic import team_kernels as k
from engine.traffic.batch import Filled, FrameBatch, byte_time_ns
from engine.traffic.capture import CaptureSource
from engine.traffic.capture_file import CaptureFile

_NEVER_NS: Final = 2**62
_LANE_FRAMES: Final = 8192
_LANE_BYTES: Final = 4 << 20


class Reader(Protocol):
    """A source that can be opened several times and yields the same frames each time."""

    @property
    def skipped_ns(self) -> int:
        """Simulated time cut out of gaps."""

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """See ``Source``."""

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the speed of an adapter's link."""

    def close(self) -> None:
        """Close files."""


@dataclass(frozen=True)
class Ports:
    """The member that has the port of each MAC: columns, sorted by ``mac``."""

    mac: NDArray[np.int64]
    member: NDArray[np.int64]


def ports_of(scenario: Scenario, team: TeamSpec) -> Ports:
    """Return the member of each MAC's port: the first member with a queue's filter for the MAC, or else the
    first with a port of that MAC."""
    found: dict[int, int] = {}
    specs = {adapter.name: adapter for adapter in scenario.adapter}
    members = [specs[name] for name in team.members]
    for number, adapter in enumerate(members):
        for queue in adapter.queue:
            for one in queue.filter:
                found.setdefault(parse_mac(one.mac), number)
    for number, adapter in enumerate(members):
        for port in adapter.port:
            found.setdefault(parse_mac(port.mac), number)
    macs = sorted(found)
    return Ports(np.array(macs, np.int64), np.array([found[mac] for mac in macs], np.int64))


def team_index(scenario: Scenario, team: TeamSpec) -> int:
    """Return the adapter index that sources write for a team's frames: above those of the adapters."""
    return len(scenario.adapter) + scenario.team.index(team)


class TeamSource:
    """The frames of a source, with those for teams distributed over the members.

    ``open_reader`` opens the source; its frames for teams have ``team_index`` and no wire. Each member has
    its own reader, which may lag as far as the member's wire does, so that memory is bounded; with ``beside``
    one more reader has the frames for no team. Frames are in order of arrival, ties by member. ``wire_free``
    has, by adapter, the exact ns at which the last frame of a previous source ends.
    """

    _in_order = True
    """Whether readers yield frames in order of arrival, so that a ``fill`` can stop at ``until_ns``."""

    def __init__(
        self,
        scenario: Scenario,
        teams: Sequence[TeamSpec],
        open_reader: Callable[[], Reader],
        *,
        beside: bool = False,
        wire_free: Mapping[int, Fraction] | None = None,
    ) -> None:
        names = [adapter.name for adapter in scenario.adapter]
        self._ports: list[Ports] = []
        lanes = []
        none = Ports(np.empty(0, np.int64), np.empty(0, np.int64))
        if beside:
            lanes.append([k.ALL_BELOW, len(names), *[0] * (k.LANE_COLUMNS - 2)])
            self._ports.append(none)
        for team in teams:
            ports = ports_of(scenario, team) if team.mode == "sum" else none
            members = team.members[:1] if team.mode == "primary" else team.members  # the others get no frame
            for member, name in enumerate(members):
                row = [0] * k.LANE_COLUMNS
                row[k.TAKES], row[k.GIVES] = team_index(scenario, team), names.index(name)
                row[k.MODE] = k.MIN if team.mode == "min" else k.SUM
                row[k.MEMBER], row[k.MEMBERS] = member, len(members)
                lanes.append(row)
                self._ports.append(ports)
        self._lanes = np.array(lanes, np.int64)
        for lane in self._lanes:
            if lane[k.TAKES] != k.ALL_BELOW:
                index = int(lane[k.GIVES])
                free = (wire_free or {}).get(index, Fraction(0))
                _set_link(lane, scenario.adapter[index].link_gbps, free)
        count = len(lanes)
        self._rooms = FrameBatch(
            np.zeros((count, _LANE_BYTES), np.uint8),
            np.zeros((count, _LANE_FRAMES), np.int64),
            np.zeros((count, _LANE_FRAMES), np.uint32),
            np.zeros((count, _LANE_FRAMES), np.uint32),
            np.zeros((count, _LANE_FRAMES), np.int64),
            np.zeros((count, _LANE_FRAMES), np.uint16),
        )
        self._unknown_ns = [0] * count
        self.frames = 0
        self.last_arrival_ns = 0
        self.readers: list[Reader] = []
        try:
            for _ in range(count):
                self.readers.append(open_reader())
        except BaseException:
            self.close()
            raise

    @property
    def skipped_ns(self) -> int:
        """Simulated time cut out of gaps so far: the minimum over readers that have not ended."""
        going_on = [r for r, ns in zip(self.readers, self._unknown_ns, strict=True) if ns < _NEVER_NS]
        return min(reader.skipped_ns for reader in going_on or self.readers)

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        """Write the next frames that arrive before ``until_ns``, as many as fit."""
        rooms, frames, used, stopped = self._rooms, 0, 0, k.LANE_EMPTY
        while stopped == k.LANE_EMPTY:
            for number in range(len(self.readers)):
                self._read(number, until_ns)
            frames, used, stopped = k.merge(
                batch.data, batch.offset, batch.captured, batch.wire, batch.arrival_ns, batch.adapter,
                frames, used, until_ns, self._lanes,
                rooms.data, rooms.offset, rooms.captured, rooms.wire, rooms.arrival_ns, rooms.adapter,
            )  # fmt: skip
        if stopped == k.FULL and not frames:
            raise ValueError(f"a batch for {len(batch.offset)}, of {len(batch.data)} bytes, holds no frame")
        if frames:
            self.frames += frames
            self.last_arrival_ns = int(batch.arrival_ns[frames - 1])
        waiting = [
            int(rooms.arrival_ns[number, lane[k.POS]])
            for number, lane in enumerate(self._lanes)
            if lane[k.POS] < lane[k.COUNT]
        ]
        next_ns = min([*waiting, *self._unknown_ns])
        return Filled(frames, None if next_ns >= _NEVER_NS else next_ns)

    def wire_free(self) -> dict[int, Fraction]:
        """Return the exact ns at which the last frame so far ends, by adapter."""
        free: dict[int, Fraction] = {}
        for lane, reader in zip(self._lanes, self.readers, strict=True):
            if lane[k.TAKES] == k.ALL_BELOW:
                free |= getattr(reader, "wire_free", dict)()
        free = {adapter: end for adapter, end in free.items() if adapter < self._adapters}
        for lane in self._lanes:
            if lane[k.TAKES] != k.ALL_BELOW:
                free[int(lane[k.GIVES])] = _wire_free(lane)
        return free

    def set_link(self, adapter: int, link_gbps: float) -> None:
        """Change the speed of an adapter's link; frames already read ahead keep their arrival times."""
        for lane in self._lanes:
            if lane[k.TAKES] != k.ALL_BELOW and lane[k.GIVES] == adapter:
                _set_link(lane, link_gbps, _wire_free(lane))
        for reader in self.readers:
            reader.set_link(adapter, link_gbps)

    def close(self) -> None:
        """Close the readers."""
        for reader in self.readers:
            reader.close()

    @property
    def _adapters(self) -> int:
        """The lowest team index: adapters have lower indices."""
        takes = [int(lane[k.TAKES]) for lane in self._lanes if lane[k.TAKES] != k.ALL_BELOW]
        return min(takes)

    def _read(self, number: int, until_ns: int) -> None:
        """Read frames for a lane until it has one, or until no further one can arrive before ``until_ns``."""
        lane, rooms, ports = self._lanes[number], self._rooms, self._ports[number]
        room = FrameBatch(
            rooms.data[number], rooms.offset[number], rooms.captured[number],
            rooms.wire[number], rooms.arrival_ns[number], rooms.adapter[number],
        )  # fmt: skip
        while lane[k.POS] == lane[k.COUNT] and self._unknown_ns[number] < until_ns:
            filled = self.readers[number].fill(room, until_ns if self._in_order else _NEVER_NS)
            k.take(
                room.data, room.offset, room.captured, room.wire, room.arrival_ns, room.adapter,
                filled.frames, lane, ports.mac, ports.member,
            )  # fmt: skip
            self._unknown_ns[number] = self._next_ns(number, filled)

    def _next_ns(self, number: int, filled: Filled) -> int:
        """Return a lower bound of the arrival of a lane's next unread frame.

        A reader that has ended has no further frame, even if its wire is still busy.
        """
        wire_free_ns = int(self._lanes[number, k.END_NS])
        return _NEVER_NS if filled.next_ns is None else max(filled.next_ns, wire_free_ns)


def _set_link(lane: NDArray[np.int64], link_gbps: float, wire_free: Fraction) -> None:
    """Set the time of a byte on a member's wire, and the time when the wire is free."""
    byte_ns = byte_time_ns(link_gbps)
    lane[k.NUMERATOR] = byte_ns.numerator
    lane[k.DENOMINATOR] = byte_ns.denominator
    lane[k.END_NS], part = divmod(wire_free, 1)
    lane[k.END_PART] = int(part * byte_ns.denominator)


def _wire_free(lane: NDArray[np.int64]) -> Fraction:
    return int(lane[k.END_NS]) + Fraction(int(lane[k.END_PART]), int(lane[k.DENOMINATOR]))


class TeamCapture(TeamSource):
    """The frames of a capture file, distributed over the members of a team; otherwise like ``CaptureSource``.

    Each member reads the file independently up to its own next frame, so that decreasing timestamps don't
    delay other members' frames. Raises CaptureError.
    """

    _in_order = False

    def __init__(
        self,
        scenario: Scenario,
        team: TeamSpec,
        path: CaptureFile | Path | str,
        *,
        loop: bool = False,
        shorten_gaps: bool = False,
    ) -> None:
        index = team_index(scenario, team)
        self._readers: list[CaptureSource] = []
        self._pass_of_last_frame = [0] * len(team.members)

        def opened() -> CaptureSource:
            reader = CaptureSource(
                path, adapter=index, link_gbps=math.inf, loop=loop, shorten_gaps=shorten_gaps
            )
            self._readers.append(reader)
            return reader

        super().__init__(scenario, [team], opened)

    def _next_ns(self, number: int, filled: Filled) -> int:
        """See ``TeamSource``; a member without a frame in a whole pass over the file has ended."""
        lane, passes = self._lanes[number], self._readers[number].passes
        if lane[k.COUNT]:
            self._pass_of_last_frame[number] = passes
        has_ended = filled.next_ns is None or passes > self._pass_of_last_frame[number] + 1
        return _NEVER_NS if has_ended else int(lane[k.END_NS])

    @property
    def broken(self) -> str | None:
        """A sentence with the position and reason of a break at which a reader has ended; else None."""
        return next((reader.broken for reader in self._readers if reader.broken is not None), None)

    @property
    def skipped_frames(self) -> int:
        """Frames skipped so far, because their interface is not Ethernet: the maximum over readers."""
        return max(reader.skipped_frames for reader in self._readers)

    @property
    def bytes_read(self) -> int:
        """File bytes read so far in this pass: the minimum over readers."""
        return min(reader.bytes_read for reader in self._readers)

    @property
    def bytes_total(self) -> int:
        """Size of the file when it was opened."""
        return self._readers[0].bytes_total
