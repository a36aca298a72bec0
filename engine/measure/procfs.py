"""Processors, interrupts and interfaces from ``/proc`` and ``/sys``. What is not there is None or empty.

All paths are under a root, so that a copy of another machine's files can be read.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NANOSECONDS_PER_TICK = 10_000_000
"""``/proc/stat`` counts in ticks of 1/100 s (USER_HZ) on every architecture of today."""
_REPRESENTOR = re.compile(r"pf\d+(vf|sf)\d+$")
_READ_BYTES = 1 << 16
_LINE_BYTES = 4096
_UNKNOWN = (1 << 32) - 1
SOFTNET_WRAP = 1 << 32
MAX_CPUS = 8192


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Nanoseconds since the start of the machine."""

    busy_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class Interrupts:
    """``totals``: by interrupt, of all processors. ``by_cpu``: by processor, of all interrupts asked for."""

    totals: dict[int, int]
    by_cpu: dict[int, int]


def shown(name: str) -> str:
    """Return an interface's name as text; bytes that are not UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Return the processors of a list such as ``0-3,8``; what is not a list gives none."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            cpus.extend(range(int(first), min(int(last or first) + 1, MAX_CPUS)))
    return tuple(cpus)


def parse_cpu_times(content: bytes) -> dict[int, CpuTimes]:
    """Return the times of each processor that is online, from ``/proc/stat``."""
    times = {}
    for line in content.splitlines():
        if not line.startswith(b"cpu"):
            break  # the processors come first, and the long line of interrupts after them
        name, *fields = line.split()
        try:
            cpu, ticks = int(name[3:] or b"-1"), list(map(int, fields[:8]))  # guest times are part of user
        except ValueError:
            continue
        if cpu >= 0 and len(ticks) == 8:
            busy = ticks[5] + ticks[6]
            times[cpu] = CpuTimes(busy * _NANOSECONDS_PER_TICK, sum(ticks) * _NANOSECONDS_PER_TICK)
    return times


def parse_softnet(content: bytes, online: Sequence[int]) -> dict[int, int]:
    """Return the frames that each processor took off devices' queues, modulo 2**32, from ``softnet_stat``.

    Kernels before 5.10 don't name the processor of a line: they are the ones online, in order.
    """
    frames = {}
    for place, line in enumerate(content.splitlines()):
        fields = line.split()
        with suppress(ValueError, IndexError):
            cpu = int(fields[12], 16) if len(fields) > 12 else online[place]
            frames[cpu] = int(fields[0], 16) % SOFTNET_WRAP
    return frames


def parse_interrupts(content: bytes, wanted: Collection[int]) -> Interrupts:
    """Return the counts of the interrupts ``wanted`` from ``/proc/interrupts``."""
    head, _, rest = content.partition(b"\n")
    cpus = [int(name[3:]) for name in head.split() if name[3:].isdigit()]
    totals, rows = {}, []
    for irq, fields in _interrupt_rows(rest, wanted, len(cpus)):
        try:
            counts = list(map(int, fields[: len(cpus)]))
        except ValueError:
            continue  # a processor went while the kernel wrote the file
        totals[irq] = sum(counts)
        rows.append(counts)
    by_cpu = map(sum, zip(*rows, strict=False))
    return Interrupts(totals, dict(zip(cpus, by_cpu, strict=False)))


def parse_interrupt_names(content: bytes, wanted: Collection[int]) -> dict[int, list[str]]:
    """Return the words after the counts of the interrupts ``wanted``: chips, and names of users."""
    head, _, rest = content.partition(b"\n")
    cpus = len(head.split())
    return {
        irq: [word.decode("utf-8", "replace").rstrip(",") for word in b"".join(fields[cpus:]).split()]
        for irq, fields in _interrupt_rows(rest, wanted, cpus)
    }


def _interrupt_rows(rest: bytes, wanted: Collection[int], cpus: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number of each interrupt, its counts, and all that follows as one more field."""
    names = {b"%d" % each for each in wanted}
    for line in rest.splitlines() if names else ():
        name, _, tail = line.partition(b":")
        name = name.strip()
        if name in names:
            yield int(name), tail.split(None, cpus)


class ProcFiles:
    """The files of one machine."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = os.fspath(root).rstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return a whole file (a path from the root on), or None if it can't be read."""
        try:
            handle = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            parts = []
            while part := os.read(handle, _READ_BYTES):
                parts.append(part)
            return b"".join(parts)
        except OSError:
            return None
        finally:
            os.close(handle)

    def text(self, path: str) -> str:
        """Return a file of one line, up to 4,096 bytes, without the line's end; "" if it can't be read."""
        try:
            handle = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(handle, _LINE_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return ""
        finally:
            os.close(handle)

    def number(self, path: str) -> int | None:
        """Return a file's number; None if it has none, or -1 (of 32 bits, too), which stands for unknown."""
        text = self.text(path)
        return int(text) if text.isdecimal() and int(text) != _UNKNOWN else None

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, in order; none if it can't be read."""
        try:
            return sorted(os.listdir(self._root + path))  # noqa: PTH208  # a Path would cost more
        except OSError:
            return []

    def has(self, path: str) -> bool:
        """Return whether there is such a file or folder."""
        return os.path.exists(self._root + path)  # noqa: PTH110  # a Path would cost more

    def driver(self, name: str) -> str:
        """Return the name of the driver that an interface's device is bound to; "" if there is none."""
        try:
            bound = os.readlink(f"{self._root}/sys/class/net/{name}/device/driver")  # noqa: PTH115  # as above
            return bound.rpartition("/")[2]
        except OSError:
            return ""

    def interfaces(self) -> list[str]:
        """Return the names of all interfaces."""
        return [name for name in self.names("/sys/class/net") if name != "bonding_masters"]  # a file

    def with_device(self, names: Iterable[str]) -> list[str]:
        """Return those of these interfaces that have a device: physical and virtio, not veth, bridges, lo."""
        return [name for name in names if self.has(f"/sys/class/net/{name}/device")]

    def is_part_of_another(self, name: str) -> bool:
        """Return whether an interface is a virtual function whose PF is here, or a switch's port for one."""
        folder = f"/sys/class/net/{name}"
        return (
            bool(self.names(f"{folder}/device/physfn/net"))
            or _REPRESENTOR.search(self.text(f"{folder}/phys_port_name")) is not None
        )

    def rings(self, name: str, before: int | None = None) -> int | None:
        """Return the number of an interface's receive queues in use, or None if it isn't told.

        It is found faster if it is what it was ``before``.
        """
        queue = f"/sys/class/net/{name}/queues/rx-"
        if before and self.has(f"{queue}{before - 1}") and not self.has(f"{queue}{before}"):
            return before
        queues = self.names(f"/sys/class/net/{name}/queues")
        return sum(queue.startswith("rx-") for queue in queues) or None

    def interrupt_numbers(self, name: str) -> list[int]:
        """Return the message-signalled interrupts of an interface's device, or of the device it is on."""
        folder = f"/sys/class/net/{name}/device"
        for each in (f"{folder}/msi_irqs", f"{folder}/../msi_irqs"):
            if numbers := [int(number) for number in self.names(each) if number.isdecimal()]:
                return sorted(numbers)
        return []

    def work_moves_on(self, name: str, rings: int) -> bool:
        """Return whether packet steering (RPS) or threads of NAPI move work off the interrupt's processor."""
        folder = f"/sys/class/net/{name}"
        masks = (self.text(f"{folder}/queues/rx-{ring}/rps_cpus") for ring in range(rings))
        return self.text(f"{folder}/threaded") not in ("", "0") or any(mask.strip("0,") for mask in masks)

    def affinity(self, irq: int) -> tuple[int, ...] | None:
        """Return the processors that an interrupt goes to, or None if that isn't told."""
        return parse_cpu_list(self.text(f"/proc/irq/{irq}/effective_affinity_list")) or None

    def virtual_function_interfaces(self, name: str, functions: Iterable[int]) -> dict[int, str]:
        """Map the virtual functions of an interface to their own interfaces, where this machine has them."""
        folder = f"/sys/class/net/{name}/device/virtfn"
        found = ((vf, self.names(f"{folder}{vf}/net")) for vf in functions)
        return {vf: names[0] for vf, names in found if names}

    def cores(self, cpus: Iterable[int]) -> dict[int, int]:
        """Map processors to their cores, each known by its first processor."""
        folder = "/sys/devices/system/cpu/cpu"
        siblings = ((cpu, parse_cpu_list(self._siblings(f"{folder}{cpu}/topology"))) for cpu in cpus)
        return {cpu: each[0] for cpu, each in siblings if each}

    def _siblings(self, topology: str) -> str:
        return self.text(f"{topology}/core_cpus_list") or self.text(f"{topology}/thread_siblings_list")

    def numa_nodes(self) -> dict[int, int]:
        """Map processors to their NUMA nodes; empty if the machine doesn't tell."""
        folder = "/sys/devices/system/node"
        nodes = {}
        for node in self.names(folder):
            if node.startswith("node") and node[4:].isdecimal():
                for cpu in parse_cpu_list(self.text(f"{folder}/{node}/cpulist")):
                    nodes[cpu] = int(node[4:])
        return nodes

    def numa_node(self, name: str) -> int | None:
        """Return the NUMA node of an interface's device, or of the device it is on; None if not known."""
        folder = f"/sys/class/net/{name}/device"
        node = self.number(f"{folder}/numa_node")
        return self.number(f"{folder}/../numa_node") if node is None else node
