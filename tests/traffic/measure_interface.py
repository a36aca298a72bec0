"""How fast frames of a live interface are read: ``python -m tests.traffic.measure_interface``, as root.

They are sent over a cable first and wait in the kernel's buffer: what is measured is the reading alone.
"""

import time
from typing import Final

import numpy as np

from engine.traffic.batch import FrameBatch
from engine.traffic.interface import InterfaceSource
from tests.traffic.captures import ethernet
from tests.veth import Veth, veth

_ROUNDS: Final = 5
_FAR_NS: Final = 10**11
_LOADS: Final = ((60, 100_000), (1514, 20_000))


def main() -> None:
    room = FrameBatch(
        np.zeros(16 << 20, np.uint8), np.zeros(65_536, np.int64), np.zeros(65_536, np.uint32),
        np.zeros(65_536, np.uint32), np.zeros(65_536, np.int64), np.zeros(65_536, np.uint16),
    )  # fmt: skip
    with veth() as cable:
        for size, count in _LOADS:
            measured = sorted(_measure(cable, room, size, count) for _ in range(_ROUNDS))
            wall, cpu = measured[_ROUNDS // 2]
            best = measured[-1][0]
            print(
                f"{size} bytes: {wall / 1e6:.1f} million frames/s (best {best / 1e6:.1f}),"
                f" {cpu / 1e6:.1f} million in a second of CPU time"
            )


def _measure(cable: Veth, room: FrameBatch, size: int, count: int) -> tuple[float, float]:
    """Frames per second of wall time, and of CPU time."""
    source = InterfaceSource(cable.near, adapter=0, link_gbps=100.0)
    source.fill(room, 0)
    cable.send([ethernet(length=size)] * count)
    while (counted := source.counters())["kernel_received_frames"] < count:
        pass
    assert counted["kernel_dropped_frames"] == 0
    until_ns = 0
    read, wall, cpu = 0, time.perf_counter(), time.process_time()
    while read < count:
        until_ns += _FAR_NS
        read += source.fill(room, until_ns).frames
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    source.close()
    return count / wall, count / cpu


if __name__ == "__main__":
    main()
