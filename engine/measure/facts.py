"""What a Linux machine tells at one moment, before it becomes messages. None: not known, or not told."""

from dataclasses import dataclass, field

from engine.telemetry.stats import Source


@dataclass(frozen=True, slots=True)
class Ring:
    """A receive ring in use. Counters are cumulative, as the driver has them."""

    ring: int
    frames: int | None = None
    bytes: int | None = None
    dropped: int | None = None
    """Frames lost for want of a buffer."""
    irq: int | None = None
    irq_source: Source | None = None
    interrupts: int | None = None
    cpus: tuple[int, ...] | None = None
    """Effective affinity of the interrupt."""


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """An SR-IOV virtual function. ``vlan`` 0: none. ``device`` is its interface where this machine has it.

    Where there is a ``device``, counters are its own: when it comes or goes, they are other counters.
    ``sources`` tells how ``dropped``, ``interrupts`` and ``cpus`` are known.
    """

    vf: int
    mac: str | None = None
    vlan: int | None = None
    device: str | None = None
    frames: int | None = None
    bytes: int | None = None
    dropped: int | None = None
    counters_source: Source | None = None
    cpus: tuple[int, ...] | None = None
    """Effective affinity of its receive interrupts, where this machine has its interface."""
    interrupts: int | None = None
    ring_size: int | None = None
    sources: dict[str, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """An ntuple rule that sends a MAC (and VLAN) to a ring."""

    location: int
    mac: str
    vlan: int | None
    ring: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """An interface. ``sources`` tells how its rings' ``frames``, ``bytes``, ``dropped``, ``irq``,
    ``interrupts`` and ``cpus``, and its ``port_dropped``, are known; without a source they are unknown. Other
    fields are exact.
    """

    name: str
    index: int
    mac: str
    driver: str = ""
    driver_version: str = ""
    firmware: str = ""
    bus_address: str = ""
    numa_node: int | None = None
    link_mbps: int | None = None
    link_up: bool | None = None
    max_frame_bytes: int | None = None
    """The largest frame without FCS that its MTU allows: the MTU, the Ethernet header and a VLAN tag."""
    ring_size: int | None = None
    max_rings: int | None = None
    rings: tuple[Ring, ...] = ()
    functions: tuple[VirtualFunction, ...] = ()
    rules: tuple[Rule, ...] = ()
    port_frames: int | None = None
    port_bytes: int | None = None
    port_dropped: int | None = None
    """Frames that the adapter lost for want of a buffer, in all rings."""
    port_errors: int | None = None
    sources: dict[str, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Processor:
    """A logical processor; times in nanoseconds since the start of the machine, of ticks of 10 ms."""

    cpu: int
    core: int | None
    """The first processor of its core: the same for all its hyper-threads, and no other's."""
    numa_node: int | None
    busy_ns: int
    """Spent in interrupts and soft interrupts, of all devices."""
    total_ns: int
    interrupts: int | None
    """Of the receive interrupts of the adapters that are read."""
    soft_frames: int | None = None
    """Frames that it took off all devices' queues (softnet), since the start of the machine or, where 32 bits
    have wrapped before, since a moment before the first reading."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One reading of a machine. ``kernel`` is its release, such as 6.12.9. ``troubles`` are sentences: what
    could not be read, and why.
    """

    time_ns: int
    monotonic_ns: int
    kernel: str
    name: str
    processors: tuple[Processor, ...]
    adapters: tuple[Adapter, ...]
    troubles: tuple[str, ...] = ()
