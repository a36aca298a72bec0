"""The default queue's frames by MAC, VLAN and reason, from a capture on an adapter of this machine.

Only ``--capture-default`` loads this module: it needs libpcap, the right to capture, and Numba's kernels. The
interface is not made promiscuous: frames that its filters keep away are not seen.
"""

import threading
import time
from typing import Final

import msgspec
import numpy as np

from engine.kernels.layout import TOP_PAIRS, TOP_ROW
from engine.kernels.top import note_all
from engine.measure.host import Measured
from engine.ndis import counters
from engine.scenario.values import BROADCAST, parse_address
from engine.telemetry.config import AdapterConfig, Vlan
from engine.telemetry.events import NewEvent
from engine.telemetry.snapshot import top_pairs
from engine.telemetry.stats import AdapterStats, Stats
from engine.traffic.batch import FrameBatch
from engine.traffic.interface import InterfaceSource
from engine.traffic.libpcap import InterfaceError

POLL_S: Final = 0.05
"""Time between two looks at what was captured."""
BATCH_FRAMES: Final = 16_384
_SNAPSHOT_BYTES: Final = 64
_KERNEL_BYTES: Final = 32 << 20
_LINK_GBPS: Final = 1000.0
"""Above any adapter's: the source must not slow frames down."""
_PAIRS_KEPT: Final = 65_536
_HEAD_BYTES: Final = 18
_GROUP_BIT: Final = 1 << 40
_REASONS: Final = counters.names(counters.DEFAULT_QUEUE_REASONS)


class KnownAddresses:
    """The MAC addresses of an adapter's filters and ports, and the VLANs of its ports."""

    def __init__(self, config: AdapterConfig) -> None:
        self._ports: dict[int, list[Vlan]] = {}
        for port in config.ports:
            self._ports.setdefault(parse_address(port.mac), []).append(port.vlan)
        self._macs = {*self._ports, *(parse_address(one.mac) for one in config.filters)}
        self._reasons: dict[int, int] = {}

    def reason(self, key: int) -> int:
        """Return why a frame with this key (MAC << 16 | VID, 0: untagged) is in the default queue, as an
        index into ``DEFAULT_QUEUE_REASONS``."""
        known = self._reasons.get(key)
        if known is None:
            if len(self._reasons) >= _PAIRS_KEPT:
                self._reasons.clear()
            known = self._reasons[key] = _REASONS.index(self._reason(key >> 16, key & 0xFFF))
        return known

    def _reason(self, mac: int, vid: int) -> str:
        if mac == BROADCAST:
            return "broadcast"
        if mac & _GROUP_BIT:
            return "multicast"
        if any(
            vlan is None or vid == (0 if vlan == "untagged" else vlan) for vlan in self._ports.get(mac, ())
        ):
            return "no_queue"
        return "vlan_mismatch" if mac in self._macs else "unknown_unicast"


class DefaultQueueCapture:
    """What one interface receives, read in a thread. Raises InterfaceError if it can't be captured."""

    def __init__(self, name: str) -> None:
        self.broken: str | None = None
        """Why no more frames come; None while they do."""
        self._known: KnownAddresses | None = None
        self._lock = threading.Lock()
        self._top = np.zeros((TOP_PAIRS, TOP_ROW), np.int64)
        self._reasons = np.zeros(len(_REASONS), np.int64)
        self._batch = FrameBatch(
            np.zeros(BATCH_FRAMES * _SNAPSHOT_BYTES + _HEAD_BYTES, np.uint8),
            np.empty(BATCH_FRAMES, np.int64), np.empty(BATCH_FRAMES, np.uint32),
            np.empty(BATCH_FRAMES, np.uint32), np.empty(BATCH_FRAMES, np.int64),
            np.empty(BATCH_FRAMES, np.uint16),
        )  # fmt: skip
        self._source = InterfaceSource(
            name, adapter=0, link_gbps=_LINK_GBPS, kernel_bytes=_KERNEL_BYTES, snapshot_bytes=_SNAPSHOT_BYTES
        )
        self._counters = self._source.counters()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"vmq-capture-{name}", daemon=True)
        self._thread.start()

    def configured(self, config: AdapterConfig) -> None:
        """Use the filters and ports of a configuration for the frames that follow."""
        with self._lock:
            self._known = KnownAddresses(config)

    def close(self) -> None:
        """Stop reading, and close the interface."""
        self._ended.set()
        self._thread.join()

    def add_to(self, stats: AdapterStats) -> AdapterStats:
        """Return an adapter's counters with those of the capture."""
        with self._lock:
            if self.broken is not None:
                return stats
            reasons = self._reasons.tolist()
            pairs = top_pairs(self._top)
            interface = dict(self._counters)
        return msgspec.structs.replace(
            stats,
            default_queue=dict(zip(_REASONS, reasons, strict=True)),
            default_queue_top=pairs,
            interface={**interface},
            sources={
                **(stats.sources or {}),
                **dict.fromkeys(_REASONS, "derived"),
                **dict.fromkeys(interface, "exact"),
            },
        )

    def _run(self) -> None:
        begun_ns = time.monotonic_ns()
        while not self._ended.wait(POLL_S):
            with self._lock:
                self._read(time.monotonic_ns() - begun_ns)
                self._counters = self._source.counters()
                self.broken = self._source.broken
            if self.broken is not None:
                break
        self._source.close()

    def _read(self, until_ns: int) -> None:
        batch, next_ns = self._batch, 0
        while next_ns < until_ns:
            filled = self._source.fill(batch, until_ns)
            self._count(batch, filled.frames)
            if filled.next_ns is None:
                return
            next_ns = filled.next_ns

    def _count(self, batch: FrameBatch, frames: int) -> None:
        if not frames or self._known is None:
            return
        at, captured = batch.offset[:frames], batch.captured[:frames]
        heads = batch.data[at[:, None] + np.arange(_HEAD_BYTES)].astype(np.int64)
        tagged = (heads[:, 12] == 0x81) & (heads[:, 13] == 0)
        is_whole = captured >= np.where(tagged, 16, 14)
        at, heads, tagged = at[is_whole], heads[is_whole], tagged[is_whole]
        keys = np.where(tagged, (heads[:, 14] & 0x0F) << 8 | heads[:, 15], 0)
        for place in range(6):
            keys |= heads[:, place] << (16 + 8 * (5 - place))
        unique, inverse = np.unique(keys, return_inverse=True)
        reason = np.array([self._known.reason(key & (1 << 64) - 1) for key in unique.tolist()], np.int64)
        reasons = reason[inverse]
        self._reasons += np.bincount(reasons, minlength=len(_REASONS))
        note_all(self._top, batch.data, at, reasons)


class DefaultQueueCaptures:
    """The captures of a host's adapters; they come and go with the adapters."""

    def __init__(self) -> None:
        self._captures: dict[str, DefaultQueueCapture] = {}
        self._told: set[str] = set()

    def add_to(self, measured: Measured) -> Measured:
        """Return a reading with what the captures counted, and events of those that ended or can't begin."""
        stats, events = measured.stats, list(measured.events)
        for name in self._captures.keys() - stats.adapters.keys():
            self._captures.pop(name).close()
        self._told &= stats.adapters.keys()
        for name in stats.adapters.keys() - self._captures.keys():
            try:
                self._captures[name] = DefaultQueueCapture(name)
            except InterfaceError as error:
                events += self._tell(name, str(error).removeprefix("interface: "))
        if measured.config is not None:
            for adapter in measured.config.adapters:
                if adapter.name in self._captures:
                    self._captures[adapter.name].configured(adapter)
        for name, capture in self._captures.items():
            if capture.broken is not None:
                events += self._tell(name, capture.broken)
        return Measured(measured.config, self._with_counts(stats), events)

    def _with_counts(self, stats: Stats) -> Stats:
        adapters = {
            name: self._captures[name].add_to(one) if name in self._captures else one
            for name, one in stats.adapters.items()
        }
        return msgspec.structs.replace(stats, adapters=adapters)

    def _tell(self, name: str, why: str) -> list[NewEvent]:
        if name in self._told:
            return []
        self._told.add(name)
        return [NewEvent("reading_trouble", f"the default queue can't be captured: {why}", name)]

    def close(self) -> None:
        """End all captures."""
        while self._captures:
            self._captures.popitem()[1].close()
