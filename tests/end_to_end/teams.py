"""Which member of a team a frame comes in on, and when: docs/teams.md read plainly, beside the program."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from tests.end_to_end.oracle import Adapter, Frame, adapters_of, stamps_ns

GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64 - 1


def mixed(state: int, word: int) -> int:
    z = ((state ^ word) + GOLDEN) & WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def member(data: bytes, mode: str, members: int, ports: Mapping[str, int]) -> int:
    """The rule, word for word; ``ports``: which member has a MAC's port."""
    if mode == "primary":
        return 0
    known = data.ljust(12, b"\0")
    if mode == "sum":
        mac = known[:6].hex(":")
        if mac in ports:
            return ports[mac]
        state = mixed(0, number(known[:6]))
    else:
        state = mixed(mixed(0, number(known[:6])), number(known[6:12]))
        place = 12
        while data[place : place + 2] in (b"\x81\x00", b"\x88\xa8") and place < 20:
            place += 4
        kind, packet = data[place : place + 2], data[place + 2 :]
        if kind == b"\x08\x00" and len(packet) >= 20:
            state = mixed(state, number(packet[12:20]))
        elif kind == b"\x86\xdd" and len(packet) >= 40:
            for k in range(4):
                state = mixed(state, number(packet[8 + 8 * k : 16 + 8 * k]))
    return (state >> 32) * members >> 32


@dataclass(frozen=True)
class Team:
    """A team of a scenario's text: its mode, and its members' adapters in order."""

    mode: str
    members: list[Adapter]
    ports: dict[str, int]

    @classmethod
    def of(cls, scenario: str) -> "Team":
        adapters = adapters_of(scenario)
        [table] = tomllib.loads(scenario)["team"]
        members = [adapters[name] for name in table["members"]]
        ports: dict[str, int] = {}
        for place, adapter in enumerate(members):
            for _, test in adapter.filters.values():
                ports.setdefault(test.mac, place)
        for place, adapter in enumerate(members):
            for test in adapter.ports:
                ports.setdefault(test.mac, place)
        if table["mode"] == "min":  # the switch behind it is one
            every = [test for adapter in members for test in adapter.ports]
            for adapter in members:
                adapter.ports = [*adapter.ports, *every]
        return cls(table["mode"], members, ports)

    def spread(self, frames: list[Frame]) -> dict[str, list[Frame]]:
        """What each member receives, by its name, in order."""
        came: dict[str, list[Frame]] = {adapter.name: [] for adapter in self.members}
        for frame in frames:
            place = member(frame.captured, self.mode, len(self.members), self.ports)
            came[self.members[place].name].append(frame)
        return came

    def last_arrival_ns(self, frames: list[Frame]) -> Fraction:
        """When the last frame of all has come in, each member having a wire of its own."""
        free = [Fraction(0)] * len(self.members)
        last = Fraction(0)
        for stamp, frame in zip(stamps_ns(frames), frames, strict=True):
            place = member(frame.captured, self.mode, len(self.members), self.ports)
            arrival = max(stamp, free[place])
            free[place] = arrival + (frame.wire + 20) * 8 / self.members[place].link_gbps
            last = max(last, arrival)
        return last
