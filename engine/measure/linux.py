"""The adapters and processors of this Linux machine, read again and again. No rights are needed."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from engine.measure.adapter import KEEP_SECONDS, AdapterGoneError, AdapterReader
from engine.measure.ethtool import EthtoolSocket
from engine.measure.facts import Adapter, Machine, Processor
from engine.measure.host import UnknownAdapterError
from engine.measure.netlink import NetlinkSocket
from engine.measure.procfs import (
    SOFTNET_WRAP,
    Interrupts,
    ProcFiles,
    parse_cpu_times,
    parse_interrupt_names,
    parse_interrupts,
    parse_softnet,
    shown,
)


@dataclass(slots=True)
class _Topology:
    """Where the processors that are online are."""

    cpus: tuple[int, ...] = ()
    cores: dict[int, int] = field(default_factory=dict)
    numa_nodes: dict[int, int] = field(default_factory=dict)


class _InterruptFile:
    """``/proc/interrupts``, read once if it is needed."""

    def __init__(self, files: ProcFiles) -> None:
        self._files = files

    @cached_property
    def content(self) -> bytes:
        return self._files.read("/proc/interrupts") or b""

    def names(self, wanted: Collection[int]) -> dict[int, list[str]]:
        return parse_interrupt_names(self.content, wanted)


class LinuxProbe:
    """Reads this machine: the adapters ``names``, or by default those with several receive queues or with
    virtual functions; if there are none, all that have a device.

    An adapter found by default stays as long as it is there. ``root`` is where ``/proc`` and ``/sys`` are;
    ``ethtool`` and ``netlink`` stand in for the kernel in tests.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        root: Path = Path("/"),
        ethtool: EthtoolSocket | None = None,
        netlink: NetlinkSocket | None = None,
    ) -> None:
        """
        :raises UnknownAdapterError: an interface of ``names`` is not there.
        """
        self._files = ProcFiles(root)
        self._named = tuple(dict.fromkeys(names))
        there = self._files.interfaces()
        for name in self._named:
            if name not in there:
                raise UnknownAdapterError(
                    f"no adapter {name!r} here; there are: {', '.join(map(shown, there)) or 'none'}"
                )
        self._ethtool = ethtool or EthtoolSocket()
        self._netlink = netlink or NetlinkSocket()
        self._kernel = self._files.text("/proc/sys/kernel/osrelease")
        self._host = self._files.text("/proc/sys/kernel/hostname")
        self._readers: dict[str, AdapterReader] = {}
        self._were_read: set[str] = set()
        self._listed: list[str] = []
        self._found: list[str] = []
        self._select_at = 0.0
        self._topology = _Topology()
        self._softnet: dict[int, int] = {}

    def close(self) -> None:
        """Close the sockets. Closing twice is harmless."""
        self._ethtool.close()
        self._netlink.close()

    def read(self) -> Machine:
        """Read the machine now. What can't be read is unknown, and a sentence in ``troubles``."""
        troubles: list[str] = []
        file = _InterruptFile(self._files)
        wanted: set[int] = set()
        ready = []
        for name in self._select():
            reader = self._readers.setdefault(
                name, AdapterReader(name, self._files, self._ethtool, self._netlink)
            )
            try:
                wanted |= reader.prepare(file.names)
                ready.append(reader)
            except AdapterGoneError:
                self._forget(name, troubles)
            except OSError as error:
                troubles.append(f"{shown(name)} can't be read: {error.strerror or error}")
        time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        interrupts = parse_interrupts(file.content, wanted) if wanted else Interrupts({}, {})
        adapters: list[Adapter] = []
        for reader in ready:
            try:
                adapters.append(reader.read(interrupts))
                self._were_read.add(reader.name)
            except AdapterGoneError:
                self._forget(reader.name, troubles)
            troubles += reader.troubles
        processors = self._processors(interrupts)
        if not processors:
            troubles.append("the load of processors is unknown: /proc/stat can't be read")
        if not self._named and not self._found and not self._were_read:
            troubles.append("this machine has no network interface with a device")
        return Machine(
            time_ns, monotonic_ns, self._kernel, self._host, processors, tuple(adapters), tuple(troubles)
        )

    def _select(self) -> list[str]:
        """Return the adapters to read: those named, or those found before that are still there, and new."""
        if self._named:
            return list(self._named)
        now = time.monotonic()
        listed = self._files.interfaces()
        if listed != self._listed or now >= self._select_at:
            self._listed, self._select_at = listed, now + KEEP_SECONDS
            self._found = self._find(self._files.with_device(listed))
        return self._found

    def _find(self, there: list[str]) -> list[str]:
        fresh = [name for name in there if name not in self._readers]
        own = [name for name in fresh if not self._files.is_part_of_another(name)]
        several = [name for name in own if self._has_several_queues(name)]
        kept = [name for name in there if name in self._readers]
        return sorted(kept + (several or ([] if kept else own or fresh)))

    def _has_several_queues(self, name: str) -> bool:
        functions = self._files.number(f"/sys/class/net/{name}/device/sriov_numvfs") or 0
        return (self._files.rings(name) or 0) > 1 or functions > 0

    def _forget(self, name: str, troubles: list[str]) -> None:
        """Forget an adapter that is gone; a trouble if no reading had it, or the readings themselves tell."""
        self._readers.pop(name, None)
        if name in self._named and name not in self._were_read:
            troubles.append(f"{shown(name)} is not there any more")

    def _processors(self, interrupts: Interrupts) -> tuple[Processor, ...]:
        times = parse_cpu_times(self._files.read("/proc/stat") or b"")
        cpus = tuple(times)
        if cpus != self._topology.cpus:
            self._topology = _Topology(cpus, self._files.cores(cpus), self._files.numa_nodes())
        softnet = parse_softnet(self._files.read("/proc/net/softnet_stat") or b"", cpus)
        for cpu, frames in softnet.items():
            before = self._softnet.get(cpu, 0)
            self._softnet[cpu] = before + (frames - before) % SOFTNET_WRAP
        return tuple(
            Processor(
                cpu,
                self._topology.cores.get(cpu),
                self._topology.numa_nodes.get(cpu),
                each.busy_ns,
                each.total_ns,
                interrupts.by_cpu.get(cpu),
                self._softnet[cpu] if cpu in softnet else None,
            )
            for cpu, each in times.items()
        )
