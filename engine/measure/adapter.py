"""One adapter of this machine, read again and again. Facts that change seldom are kept for some seconds."""

import errno
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from engine.measure.drivers import Driver, RingCounters, driver_named, interrupt_pattern, locate_counters
from engine.measure.ethtool import MAX_COUNTERS, MAX_RULES, DriverInfo, EthtoolSocket
from engine.measure.facts import Adapter, Ring, Rule, VirtualFunction
from engine.measure.netlink import Link, NetlinkSocket, QueueCounters, VfLink
from engine.measure.procfs import Interrupts, ProcFiles, shown
from engine.telemetry.stats import Source, total

KEEP_SECONDS = 5.0
SLOW_SECONDS = 1.0
_HEADER_BYTES = 18
"""An Ethernet header and a VLAN tag."""
_NOT_TOLD = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT)
"""The answers of drivers and kernels that don't know a request."""

InterruptNames = Callable[[Collection[int]], dict[int, list[str]]]
"""Return the words after the counts of each of these interrupts in ``/proc/interrupts``."""
_T = TypeVar("_T")
_Candidate = tuple[Sequence[int | None] | None, Source]


class AdapterGoneError(Exception):
    """There is no such interface (any more)."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What makes kept facts stale when it changes."""

    index: int
    info: DriverInfo
    rings: int | None
    up: bool | None
    functions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Facts that change seldom, and when to read them again."""

    until: float
    identity: _Identity
    driver: Driver
    counters: RingCounters
    queue_counters: bool
    link_mbps: int | None
    ring_size: int | None
    max_rings: int | None
    rules: tuple[Rule, ...]
    irqs: dict[int, int]
    irq_source: Source | None
    work_moves_on: bool
    devices: dict[int, str]
    """The names of virtual functions' own interfaces."""
    numa_node: int | None
    troubles: tuple[str, ...]


@dataclass(slots=True)
class AdapterReader:
    """Reads one interface. ``troubles`` are sentences about the last reading."""

    name: str
    files: ProcFiles
    ethtool: EthtoolSocket
    netlink: NetlinkSocket
    troubles: list[str] = field(default_factory=list)
    _kept: _Kept | None = None
    _link: Link | None = None
    _took_s: float = 0.0
    _of_functions: "dict[int, AdapterReader]" = field(default_factory=dict)

    def prepare(self, interrupt_names: InterruptNames) -> set[int]:
        """Read the link, and what is due of the kept facts; return the receive interrupts to count.

        :raises AdapterGoneError: there is no such interface.
        :raises OSError: the kernel doesn't answer.
        """
        self.troubles.clear()
        started = time.monotonic()
        self._link = link = self._unless_gone(self.netlink.link)
        info = self._told("its driver's name", self.ethtool.driver) or DriverInfo("", "", "", "", 0)
        identity = _Identity(
            link.index,
            info,
            self._ring_count(info),
            link.up,
            tuple(each.vf for each in link.functions),
        )
        kept = self._kept
        if kept is None or kept.identity != identity or started >= kept.until:
            kept = self._kept = self._read_seldom(link, identity, started + KEEP_SECONDS, interrupt_names)
        else:
            self.troubles += kept.troubles
        irqs = {*kept.irqs.values(), *self._prepare_functions(kept, interrupt_names)}
        self._took_s = time.monotonic() - started
        return irqs

    def _prepare_functions(self, kept: _Kept, interrupt_names: InterruptNames) -> set[int]:
        """Prepare the virtual functions' own interfaces; return their receive interrupts."""
        ready: dict[int, AdapterReader] = {}
        irqs: set[int] = set()
        for vf, name in kept.devices.items():
            reader = self._of_functions.get(vf)
            if reader is None or reader.name != name:
                reader = AdapterReader(name, self.files, self.ethtool, self.netlink)
            with suppress(AdapterGoneError, OSError):  # it is another driver's now, or a VM's
                irqs |= reader.prepare(interrupt_names)
                ready[vf] = reader
        self._of_functions = ready
        return irqs

    def read(self, interrupts: Interrupts) -> Adapter:
        """Read the counters. Call ``prepare`` before.

        :raises AdapterGoneError: the interface went away since.
        """
        started = time.monotonic()
        link, kept = self._link, self._kept
        assert link is not None
        assert kept is not None
        info = kept.identity.info
        sources: dict[str, Source] = {}
        numbers = self._numbers(kept)
        rings = self._rings(link, kept, numbers, interrupts, sources)
        port_dropped = _port_dropped(kept, numbers, rings, sources)
        functions = tuple(self._function(each, link, kept, interrupts) for each in link.functions)
        self._took_s += time.monotonic() - started
        if self._took_s > SLOW_SECONDS:
            self.troubles.append(f"{shown(self.name)}: its driver took {self._took_s:.1f} s to answer")
        return Adapter(
            name=shown(self.name),
            index=link.index,
            mac=link.mac,
            driver=info.driver or self.files.driver(self.name),
            driver_version=info.version,
            firmware=info.firmware,
            bus_address=info.bus_address,
            numa_node=kept.numa_node,
            link_mbps=kept.link_mbps,
            link_up=link.up,
            max_frame_bytes=link.mtu + _HEADER_BYTES if link.mtu else None,
            ring_size=kept.ring_size,
            max_rings=kept.max_rings,
            rings=rings,
            functions=functions,
            rules=kept.rules,
            port_frames=link.frames,
            port_bytes=link.bytes,
            port_dropped=port_dropped,
            port_errors=link.errors,
            sources=sources,
        )

    def _unless_gone(self, read: Callable[[str], _T], name: str | None = None) -> _T:
        try:
            return read(name or self.name)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise AdapterGoneError(name or self.name) from error
            raise

    def _told(self, what: str, read: Callable[[str], _T], name: str | None = None) -> _T | None:
        """Return the kernel's answer; None if it doesn't know the request, or fails, which is a trouble."""
        try:
            return self._unless_gone(read, name)
        except OSError as error:
            if error.errno not in _NOT_TOLD:
                self.troubles.append(
                    f"{shown(name or self.name)}: {what} can't be read: {error.strerror or error}"
                )
            return None

    def _ring_count(self, info: DriverInfo) -> int | None:
        """Return the number of rings in use; None if neither the files nor the driver tell it."""
        before = None if self._kept is None else self._kept.identity.rings
        rings = None
        if not driver_named(info.driver).rings_are_channels:
            rings = self.files.rings(self.name, before)
        if rings is None and (channels := self._told("its channels", self.ethtool.channels)):
            rings = channels[0]
        return rings or self.files.rings(self.name, before)

    def _read_seldom(
        self, link: Link, identity: _Identity, until: float, interrupt_names: InterruptNames
    ) -> _Kept:
        before = len(self.troubles)
        info, name = identity.info, self.name
        driver = driver_named(info.driver or self.files.driver(name))
        last = self._kept
        if last is not None and (last.identity.info, last.identity.rings) == (info, identity.rings):
            counters = last.counters
        else:
            counters = locate_counters(driver, self._counter_names(info.counters), identity.rings)
        channels = self._told("its channels", self.ethtool.channels)
        rules, rule_count = self._told("its ntuple rules", self.ethtool.rules) or ([], 0)
        if rule_count > MAX_RULES:
            self.troubles.append(f"{shown(name)}: {MAX_RULES:,} of its {rule_count:,} ntuple rules are read")
        if len(link.functions) < link.function_count:
            count = f"{len(link.functions):,} of its {link.function_count:,}"
            self.troubles.append(f"{shown(name)}: the kernel sends {count} virtual functions")
        elif link.without_vf_counters:
            why = "the kernel can't send the counters of so many virtual functions"
            self.troubles.append(f"{shown(name)}: {why}")
        queue_counters = self._told("its queues' counters", lambda _: self.netlink.queue_counters(link.index))
        irqs, irq_source = self._interrupts(link, driver, counters.rings, interrupt_names)
        return _Kept(
            until,
            identity,
            driver,
            counters,
            bool(queue_counters),
            self.files.number(f"/sys/class/net/{name}/speed") or None,
            self._told("its ring size", self.ethtool.ring_size) or None,
            channels[1] if channels else None,
            tuple(rules),
            irqs,
            irq_source,
            self.files.work_moves_on(name, counters.rings),
            self.files.virtual_function_interfaces(name, identity.functions),
            self.files.numa_node(name),
            tuple(self.troubles[before:]),
        )

    def _counter_names(self, count: int) -> list[str]:
        if count > MAX_COUNTERS:
            self.troubles.append(
                f"{shown(self.name)}: its {count:,} counters are too many; up to {MAX_COUNTERS:,} are read"
            )
            return []
        if not count:
            return []
        return self._told("its counters' names", lambda name: self.ethtool.counter_names(name, count)) or []

    def _interrupts(
        self, link: Link, driver: Driver, rings: int, interrupt_names: InterruptNames
    ) -> tuple[dict[int, int], Source | None]:
        """Map rings to interrupts: as the kernel tells, else by the names of the adapter's interrupts."""
        told = self._told("its queues", lambda _: self.netlink.queue_interrupts(link.index)) or {}
        irqs = {ring: irq for ring, irq in told.items() if ring < rings}
        if irqs:
            return irqs, "exact"
        by_name = self._by_name(self.name, driver, interrupt_names)
        irqs = {ring: irq for ring, irq in by_name.items() if ring < rings}
        return irqs, "guessed" if irqs else None

    def _by_name(self, name: str, driver: Driver, interrupt_names: InterruptNames) -> dict[int, int]:
        pattern = interrupt_pattern(driver)
        if pattern is None:
            return {}
        found: dict[int, int] = {}
        for irq, words in interrupt_names(self.files.interrupt_numbers(name)).items():
            for word in words:
                if match := pattern.search(word):
                    found.setdefault(int(match[match.lastindex or 0]), irq)
        return found

    def _numbers(self, kept: _Kept) -> Sequence[int] | None:
        """Read the numbers of ``ethtool -S`` if any is used; None also when their count just changed."""
        counters, count = kept.counters, kept.identity.info.counters
        if not (counters.frames or counters.dropped or counters.port_dropped):
            return None
        return self._told("its counters", lambda name: self.ethtool.counters(name, count))

    def _rings(
        self,
        link: Link,
        kept: _Kept,
        numbers: Sequence[int] | None,
        interrupts: Interrupts,
        sources: dict[str, Source],
    ) -> tuple[Ring, ...]:
        driver, counters, count = kept.driver, kept.counters, kept.counters.rings
        queues = self._queue_counters(link, kept)
        alone = count == 1  # all that the interface received, its one ring received
        drops = _pick(counters.dropped, numbers)
        if drops is not None and not driver.dropped_zeros and not any(drops):
            drops = None
        columns: dict[str, tuple[_Candidate, ...]] = {
            "frames": (
                ([queue.frames for queue in queues], "exact"),
                (_pick(counters.frames, numbers), driver.frames_source),
                ([link.frames] if alone else None, "derived"),
            ),
            "bytes": (
                ([queue.bytes for queue in queues], "exact"),
                (_pick(counters.bytes, numbers), "guessed" if driver.bytes_have_fcs is None else "exact"),
                ([link.bytes] if alone else None, "derived"),
            ),
            "dropped": (
                ([queue.overruns for queue in queues], "exact"),
                (drops, driver.dropped_source),
                ([queue.hardware_drops for queue in queues], "guessed"),
            ),
        }
        frames, octets, dropped = (
            _best(name, candidates, count, sources) for name, candidates in columns.items()
        )
        return tuple(
            Ring(ring, frames[ring], octets[ring], dropped[ring], *interrupt)
            for ring, interrupt in enumerate(self._ring_interrupts(kept, interrupts, sources))
        )

    def _queue_counters(self, link: Link, kept: _Kept) -> list[QueueCounters]:
        by_queue: dict[int, QueueCounters] | None = None
        if kept.queue_counters:
            by_queue = self._told("its queues' counters", lambda _: self.netlink.queue_counters(link.index))
        return [(by_queue or {}).get(ring, QueueCounters()) for ring in range(kept.counters.rings)]

    def _ring_interrupts(
        self, kept: _Kept, interrupts: Interrupts, sources: dict[str, Source]
    ) -> list[tuple[int | None, Source | None, int | None, tuple[int, ...] | None]]:
        """Return each ring's interrupt, how it is known, its count, and its processors."""
        irqs = [kept.irqs.get(ring) for ring in range(kept.counters.rings)]
        counts = [None if irq is None else interrupts.totals.get(irq) for irq in irqs]
        cpus = [None if irq is None else self.files.affinity(irq) for irq in irqs]
        if kept.irq_source is not None:
            sources["irq"] = kept.irq_source
            if any(count is not None for count in counts):
                sources["interrupts"] = kept.irq_source
            if any(cpus):
                sources["cpus"] = "guessed" if kept.work_moves_on else kept.irq_source
        known = [None if irq is None else kept.irq_source for irq in irqs]
        return list(zip(irqs, known, counts, cpus, strict=True))

    def _function(self, function: VfLink, link: Link, kept: _Kept, interrupts: Interrupts) -> VirtualFunction:
        """Join what the PF tells of a virtual function with its own interface, if this machine has it."""
        own = self._own_interface(function.vf, interrupts)
        told = VirtualFunction(function.vf, function.mac, function.vlan)
        if kept.driver.vf_counters and not link.without_vf_counters:
            dropped = function.dropped if kept.driver.vf_dropped else None
            told = replace(
                told,
                frames=function.frames,
                bytes=function.bytes,
                dropped=dropped,
                counters_source=None if function.frames is None else "exact",
                sources={} if dropped is None else {"dropped": "exact"},
            )
        return told if own is None else _joined(told, own)

    def _own_interface(self, vf: int, interrupts: Interrupts) -> Adapter | None:
        """Read a virtual function's own interface as any interface; None if there is none."""
        reader = self._of_functions.get(vf)
        if reader is None:
            return None
        try:
            return reader.read(interrupts)
        except AdapterGoneError:
            return None
        finally:
            self.troubles += reader.troubles


def _joined(told: VirtualFunction, own: Adapter) -> VirtualFunction:
    """Return a virtual function with the counters, ring and interrupts of its own interface."""
    sources: dict[str, Source] = {
        name: own.sources[key]
        for name, key in (("dropped", "port_dropped"), ("interrupts", "interrupts"), ("cpus", "cpus"))
        if key in own.sources
    }
    drops = told.dropped, told.sources
    if own.port_dropped is not None:
        drops = own.port_dropped, sources
    cpus = {cpu for ring in own.rings for cpu in ring.cpus or ()}
    counts = [ring.interrupts for ring in own.rings]
    return replace(
        told,
        mac=told.mac or own.mac,
        device=own.name,
        frames=own.port_frames,
        bytes=own.port_bytes,
        dropped=drops[0],
        counters_source=None if own.port_frames is None else "exact",
        cpus=tuple(sorted(cpus)) or None,
        interrupts=total(counts) if counts else None,
        ring_size=own.ring_size,
        sources={**drops[1], **sources},
    )


def _pick(
    pick: Callable[[Sequence[int]], list[int]] | None, numbers: Sequence[int] | None
) -> list[int] | None:
    return None if pick is None or numbers is None else pick(numbers)


def _best(
    name: str, candidates: Iterable[_Candidate], count: int, sources: dict[str, Source]
) -> Sequence[int | None]:
    """Return the first column that knows every ring, and note its source; unknown cells if there is none."""
    for values, source in candidates:
        if values and None not in values:
            sources[name] = source
            return values
    return [None] * count


def _port_dropped(
    kept: _Kept, numbers: Sequence[int] | None, rings: tuple[Ring, ...], sources: dict[str, Source]
) -> int | None:
    """Return what the port lost for want of a buffer: as its driver counts it, else the sum of its rings."""
    if numbers is not None and kept.counters.port_dropped is not None:
        sources["port_dropped"] = "derived" if "+" in kept.driver.port_dropped else "exact"
        return kept.counters.port_dropped(numbers)[0]
    dropped = [ring.dropped for ring in rings if ring.dropped is not None]
    if not dropped or len(dropped) < len(rings):
        return None
    sources["port_dropped"] = "derived" if sources["dropped"] == "exact" else sources["dropped"]
    return sum(dropped)
