"""Readings of Linux machines, constructed by us from the documented properties of drivers."""

from collections.abc import Sequence

from engine.measure.facts import Adapter, Machine, Processor, Ring, Rule, VirtualFunction
from engine.telemetry.stats import Source

S = 1_000_000_000
MS = 1_000_000
SOURCES: dict[str, Source] = {
    **dict.fromkeys(("frames", "bytes", "dropped"), "exact"),
    **dict.fromkeys(("irq", "interrupts", "cpus"), "guessed"),
}


def ring(number: int, frames: int | None = 0, dropped: int | None = 0, cpu: int | None = None) -> Ring:
    """A ring of igb: frames of 100 bytes, its interrupt known by name, on the processor of its number."""
    return Ring(
        ring=number,
        frames=frames,
        bytes=None if frames is None else frames * 100,
        dropped=dropped,
        irq=40 + number,
        irq_source="guessed",
        interrupts=7 if frames is None else frames // 4,
        cpus=(number if cpu is None else cpu,),
    )


def function(number: int, frames: int | None = 0, vlan: int = 0, mac: str | None = None) -> VirtualFunction:
    """A virtual function whose interface this machine has, so that its frames are exact."""
    return VirtualFunction(
        vf=number,
        mac=mac or f"02:00:00:00:00:{number:02x}",
        vlan=vlan,
        device=f"eth0v{number}",
        frames=frames,
        bytes=None if frames is None else frames * 100,
        dropped=None if frames is None else 0,
        counters_source=None if frames is None else "exact",
        cpus=(number % 4,),
    )


def igb(
    rings: Sequence[Ring],
    functions: Sequence[VirtualFunction] = (),
    *,
    name: str = "eth0",
    index: int = 2,
    rules: Sequence[Rule] = (),
    link_up: bool = True,
) -> Adapter:
    """An adapter of the driver igb, which counts frames, bytes and drops of each ring."""
    return Adapter(
        name=name,
        index=index,
        mac="02:00:00:00:01:00",
        driver="igb",
        driver_version="6.12.9",
        firmware="3.25",
        numa_node=0,
        link_mbps=1000,
        link_up=link_up,
        max_frame_bytes=1518,
        ring_size=256,
        max_rings=8,
        rings=tuple(rings),
        functions=tuple(functions),
        rules=tuple(rules),
        sources=SOURCES,
    )


def processors(count: int = 4, at_ns: int = 0) -> tuple[Processor, ...]:
    """Processors of which each has spent a tenth of its time in interrupts."""
    return tuple(
        Processor(cpu=cpu, core=cpu // 2, numa_node=0, busy_ns=at_ns // 10, total_ns=at_ns, interrupts=0)
        for cpu in range(count)
    )


def machine(*adapters: Adapter, at_ms: int = 0, cpus: int = 4, troubles: Sequence[str] = ()) -> Machine:
    """A reading at a time; the machine has run for 100 s before the first one."""
    at_ns = 100 * S + at_ms * MS
    return Machine(
        time_ns=1_700_000_000 * S + at_ms * MS,
        monotonic_ns=at_ns,
        kernel="6.12.9",
        name="lab",
        processors=processors(cpus, at_ns),
        adapters=adapters,
        troubles=tuple(troubles),
    )
