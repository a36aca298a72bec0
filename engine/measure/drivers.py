"""What each Linux driver calls the counters of its receive rings: one row a driver.

To add a driver, add a row: its name as ``ethtool -i`` prints it, the names of ``ethtool -S`` with ``{}`` for
the number of a ring, and the end of its interrupts' names in ``/proc/interrupts``. All other code
is the same for every driver.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from engine.telemetry.stats import Source

INTERRUPTS = ("-TxRx-{}", "-rx-{}")


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver. A counter is a sum of names (``"a + b"``); of several, the first that is there counts.

    ``frames_source`` and ``dropped_source`` tell how well a counter is what it is taken for.
    ``dropped_zeros`` false: zeros of all rings may also mean that the adapter has not reported them.
    ``bytes_have_fcs`` tells whether the bytes of a ring include the 4 bytes of the FCS; None: not known.
    ``port_dropped`` counts the frames of the whole port that are lost for want of a buffer.
    ``rings_are_channels``: it has as many rings as channels, whatever the kernel lists as receive queues.
    ``vf_counters`` and ``vf_dropped`` tell whether the driver fills in IFLA_VF_STATS; otherwise its zeros
    mean nothing.
    """

    title: str
    names: tuple[str, ...]
    frames: tuple[str, ...] = ()
    bytes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    frames_source: Source = "exact"
    dropped_source: Source = "exact"
    dropped_zeros: bool = True
    bytes_have_fcs: bool | None = False
    port_dropped: str = ""
    rings_are_channels: bool = False
    interrupts: tuple[str, ...] = INTERRUPTS
    vf_counters: bool = False
    vf_dropped: bool = False


def _queue(counter: str) -> str:
    return "rx_queue_{}_" + counter


OTHER = Driver(
    "any other",
    (),
    (_queue("packets"), "rx-{}.packets", "rx{}_packets"),
    (_queue("bytes"), "rx-{}.bytes", "rx{}_bytes"),
    frames_source="guessed",
    bytes_have_fcs=None,
    interrupts=("-TxRx-{}", "-Tx-Rx-{}", "-rxtx-{}", "-rx-{}", "-input.{}"),
)
"""A driver without a row: by common names, which is a guess. Its drops are unknown."""

DRIVERS = (
    Driver(
        "igb, igc",
        ("igb", "igc"),
        (_queue("packets"),),
        (_queue("bytes"),),
        (_queue("drops"),),
    ),
    Driver("igbvf", ("igbvf",)),
    Driver(
        "ixgbe",
        ("ixgbe",),
        (_queue("packets"),),
        (_queue("bytes"),),
        port_dropped="rx_missed_errors + rx_no_dma_resources",
        vf_counters=True,
    ),
    Driver("ixgbevf", ("ixgbevf",), (_queue("packets"),), (_queue("bytes"),)),
    Driver(
        "ice",
        ("ice",),
        (_queue("packets"),),
        (_queue("bytes"),),
        port_dropped="rx_dropped",
        vf_counters=True,
        vf_dropped=True,
    ),
    Driver(
        "i40e, iavf",
        ("i40e", "iavf"),
        ("rx-{}.packets", "rx-{}.rx_packets"),
        ("rx-{}.bytes", "rx-{}.rx_bytes"),
        vf_counters=True,
        vf_dropped=True,
    ),
    Driver(
        "mlx5",
        ("mlx5_core",),
        ("rx{}_packets",),
        ("rx{}_bytes",),
        port_dropped="rx_out_of_buffer",
        rings_are_channels=True,  # Linux 5.3 to 6.0 list twice as many queues: half of them for AF_XDP
        interrupts=("mlx5_comp{}",),
        vf_counters=True,
    ),
    Driver(
        "mlx4",
        ("mlx4_en",),
        ("rx{}_packets",),
        ("rx{}_bytes",),
        ("rx{}_dropped",),
        interrupts=(),
        vf_counters=True,
    ),
    Driver(
        "bnxt",
        ("bnxt_en",),
        ("[{}]: rx_ucast_packets + [{}]: rx_mcast_packets + [{}]: rx_bcast_packets",),
        ("[{}]: rx_ucast_bytes + [{}]: rx_mcast_bytes + [{}]: rx_bcast_bytes",),
        ("[{}]: rx_discards",),
        bytes_have_fcs=None,
    ),
    Driver("ena", ("ena",), ("queue_{}_rx_cnt",), ("queue_{}_rx_bytes",), interrupts=("-Tx-Rx-{}",)),
    Driver(
        "virtio_net",
        ("virtio_net",),
        (_queue("packets"),),
        (_queue("bytes"),),
        ("rx{}_drops", _queue("drops")),
        dropped_source="guessed",
        interrupts=("-input.{}",),
    ),
    Driver(
        "vmxnet3",
        ("vmxnet3",),
        ("rx{}: ucast pkts rx + rx{}: mcast pkts rx + rx{}: bcast pkts rx",),
        ("rx{}: ucast bytes rx + rx{}: mcast bytes rx + rx{}: bcast bytes rx",),
        ("rx{}: pkts rx OOB",),
        bytes_have_fcs=None,
        interrupts=("-rxtx-{}", "-rx-{}"),
    ),
    Driver("hv_netvsc", ("hv_netvsc",), (_queue("packets"),), (_queue("bytes"),), interrupts=()),
    Driver(
        "gve",
        ("gve", "gvnic"),
        ("rx_completed_desc[{}]",),
        ("rx_bytes[{}]",),
        ("rx_no_buffers_posted[{}]",),
        frames_source="guessed",
        dropped_source="guessed",
        dropped_zeros=False,
        interrupts=(),
    ),
    Driver(
        "be2net",
        ("be2net",),
        ("rxq{}: rx_pkts",),
        ("rxq{}: rx_bytes",),
        ("rxq{}: rx_drops_no_frags",),
        interrupts=("-q{}",),
    ),
    Driver("qede", ("qede",), ("{}: rcv_pkts",), interrupts=("-fp-{}",)),
    Driver("nfp", ("nfp",), ("rvec_{}_rx_pkts",), interrupts=("-rxtx-{}",)),
    replace(OTHER, title="fm10k", names=("fm10k",), vf_counters=True),
    replace(OTHER, title="liquidio", names=("liquidio", "LiquidIO"), vf_counters=True),
    replace(OTHER, title="ionic", names=("ionic",), vf_counters=True, vf_dropped=True),
)

_BY_NAME = {name: driver for driver in DRIVERS for name in driver.names}


def driver_named(name: str) -> Driver:
    """Return the row of a driver, as ``ethtool -i`` names it."""
    return _BY_NAME.get(name, OTHER)


@dataclass(frozen=True, slots=True)
class RingCounters:
    """Where an adapter's counters are among the numbers of ``ethtool -S``.

    Each field takes these numbers and returns one value a ring, in order of rings; None: the driver has no
    such counter of every ring. ``port_dropped`` returns one number.
    """

    rings: int
    frames: Callable[[Sequence[int]], list[int]] | None
    bytes: Callable[[Sequence[int]], list[int]] | None
    dropped: Callable[[Sequence[int]], list[int]] | None
    port_dropped: Callable[[Sequence[int]], list[int]] | None


def locate_counters(driver: Driver, names: Sequence[str], rings: int | None) -> RingCounters:
    """Find the counters of the first ``rings`` rings (None: of as many as are named) among ``ethtool -S``."""
    places = _places(names)
    if rings is None:
        rings = next((_count(each, places) for each in driver.frames if _count(each, places)), 0)
    return RingCounters(
        rings,
        _first(driver.frames, places, rings),
        _first(driver.bytes, places, rings),
        _first(driver.dropped, places, rings),
        _picker([driver.port_dropped], places) if driver.port_dropped else None,
    )


def _places(names: Sequence[str]) -> dict[str, int]:
    """Index names; those that repeat under headers ``Rx Queue#`` get the number of their ring in front."""
    places: dict[str, int] = {}
    prefix, ring = "", -1
    for place, name in enumerate(names):
        plain = name.strip()
        if plain == "Rx Queue#":
            ring += 1
            prefix = f"rx{ring}: "
        elif plain.endswith("Queue#") or not name.startswith(" "):
            prefix = ""
        places.setdefault(prefix + plain, place)
    return places


def _count(pattern: str, places: dict[str, int]) -> int:
    """Count the rings from 0 on that have every name of a sum."""
    ring = 0
    while all(part in places for part in _parts(pattern, ring)):
        ring += 1
    return ring


def _parts(pattern: str, ring: int | str) -> list[str]:
    return [part.replace("{}", str(ring)) for part in pattern.split(" + ")]


def _first(
    patterns: Sequence[str], places: dict[str, int], rings: int
) -> Callable[[Sequence[int]], list[int]] | None:
    """Return a picker of the first pattern that all rings have."""
    for pattern in patterns:
        if rings and (picker := _picker([pattern.replace("{}", str(ring)) for ring in range(rings)], places)):
            return picker
    return None


def _picker(sums: Sequence[str], places: dict[str, int]) -> Callable[[Sequence[int]], list[int]] | None:
    """Return a function that takes all numbers and returns these sums, or None if a name is not there."""
    columns = list(zip(*(_parts(each, "") for each in sums), strict=True))
    if any(name not in places for column in columns for name in column):
        return None
    # itemgetter of one index returns the item itself: the first is taken twice, and dropped again.
    getters = [itemgetter(places[column[0]], *(places[name] for name in column)) for column in columns]

    def pick(numbers: Sequence[int]) -> list[int]:
        return [sum(values) for values in zip(*(getter(numbers)[1:] for getter in getters), strict=True)]

    return pick


def interrupt_pattern(driver: Driver) -> re.Pattern[str] | None:
    """Return a pattern that finds a ring's number in an interrupt's name, or None if names don't tell it.

    The name's beginning is left open: it is the adapter's name when the interrupt was requested, which may be
    another now. What follows ``@`` is a bus address.
    """
    if not driver.interrupts:
        return None
    ends = "|".join(re.escape(end).replace(r"\{\}", r"(\d+)") for end in driver.interrupts)
    return re.compile(f"(?<!fdir)(?:{ends})(?:@.*)?$")  # i40e's flow director has a "…:fdir-TxRx-0" too
