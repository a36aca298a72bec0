"""A Linux machine as a host's messages: each reading's configuration, stats and events."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from engine.counted import counted
from engine.measure.facts import Machine, Processor
from engine.measure.host import Measured
from engine.measure.linux_adapter import AdapterFollower
from engine.measure.linux_queues import Total
from engine.scenario.keys import MAX_ADAPTERS, MAX_CPUS
from engine.telemetry.config import Config, CpuConfig
from engine.telemetry.events import NewEvent
from engine.telemetry.stats import Cell, Columns, Source, Stats

MOST_TROUBLES: Final = 16
"""Sentences about what could not be read that one reading reports as events; more are counted."""

_TICK_SLACK_NS: Final = 1_000_000_000
"""Times of a processor may be back by some ticks (the kernel's idle time is)."""
_CPU_SOURCES: Final[dict[str, Source]] = {
    "busy_cycles": "exact",
    "budget_cycles": "exact",
    "interrupts": "derived",
    "queues": "derived",
}


class _ProcessorTotals:
    """The counters of one processor, which never go back."""

    def __init__(self) -> None:
        self._busy, self._budget = Total(_TICK_SLACK_NS), Total(_TICK_SLACK_NS)
        self._interrupts = Total()

    def take(self, one: Processor) -> tuple[Cell, Cell, Cell]:
        return (
            self._busy.take(one.busy_ns),
            self._budget.take(one.total_ns),
            self._interrupts.take(one.interrupts),
        )


class LinuxHost:
    """Turns successive readings of one machine into the messages of the host ``name``.

    Counters are the driver's own, cumulative; ``sim_time_ns`` is the time since the first reading. Busy and
    budget cycles are nanoseconds: of interrupts and soft interrupts of all devices, and of all time.
    ``with_own_ports``: an adapter's own MAC address is a port, of the host itself.
    """

    def __init__(self, name: str, *, with_own_ports: bool = False) -> None:
        self.name = name
        self._with_own_ports = with_own_ports
        self._seq = 0
        self._began_ns = 0
        self._sim_time_ns = 0
        self._adapters: dict[str, AdapterFollower] = {}
        self._generations = 0
        self._processors: dict[int, _ProcessorTotals] = {}
        self._configured: bytes = b""
        self._revision = 0
        self._troubles: frozenset[str] = frozenset()

    def read(self, machine: Machine) -> Measured:
        """Process a reading; return its messages, the configuration only if it has changed."""
        self._seq += 1
        if self._seq == 1:
            self._began_ns = machine.monotonic_ns
        self._sim_time_ns = max(self._sim_time_ns, machine.monotonic_ns - self._began_ns)
        events = [*self._follow(machine), *self._new_troubles(machine)]
        config = self._changed_config(machine)
        stats = Stats(
            seq=self._seq,
            sim_time_ns=self._sim_time_ns,
            time_ns=machine.time_ns,
            revision=self._revision,
            cpus=self._cpus(_processors(machine)),
            adapters={name: one.stats() for name, one in self._adapters.items()},
            sources=_CPU_SOURCES,
        )
        return Measured(config, stats, events)

    def _follow(self, machine: Machine) -> Iterable[NewEvent]:
        followed: dict[str, AdapterFollower] = {}
        for adapter in machine.adapters[:MAX_ADAPTERS]:
            known = self._adapters.pop(adapter.name, None)
            if known is None:
                known = AdapterFollower(adapter, self._generations)
                if self._seq > 1:
                    cause = f"{adapter.name} is there now ({adapter.driver or 'driver not known'})"
                    yield NewEvent("adapter_came", cause, adapter.name)
            else:
                yield from known.take(adapter)
            followed[adapter.name] = known
        for name, gone in self._adapters.items():
            self._generations = max(self._generations, gone.generations)
            yield NewEvent("adapter_gone", f"{name} is no longer there", name)
        self._adapters = followed

    def _new_troubles(self, machine: Machine) -> Iterable[NewEvent]:
        troubles = [*dict.fromkeys(machine.troubles), *_left_out(machine)]
        new = [one for one in troubles if one not in self._troubles]
        self._troubles = frozenset(troubles)
        yield from (NewEvent("reading_trouble", one) for one in new[:MOST_TROUBLES])
        if len(new) > MOST_TROUBLES:
            yield NewEvent("reading_trouble", f"{counted(len(new) - MOST_TROUBLES, 'trouble')} more")

    def _changed_config(self, machine: Machine) -> Config | None:
        processors = _processors(machine)
        cores, nodes = [one.core for one in processors], {one.numa_node for one in processors}
        config = Config(
            revision=0,
            host=self.name,
            cpus=[
                CpuConfig(id=one.cpu, name=f"0:{one.cpu}", core=one.core, numa_node=one.numa_node)
                for one in processors
            ],
            hyperthreading=None if None in cores else len(set(cores)) < len(cores),
            numa_nodes=None if None in nodes else len(nodes),
            system=f"Linux {machine.kernel}".strip(),
            cpu_model={},
            traffic="what this machine's adapters receive",
            adapters=[one.config(with_own_port=self._with_own_ports) for one in self._adapters.values()],
        )
        encoded = msgspec.msgpack.encode(config)
        if encoded == self._configured:
            return None
        self._configured = encoded
        self._revision += 1
        return msgspec.structs.replace(config, revision=self._revision)

    def _cpus(self, processors: Sequence[Processor]) -> Columns:
        known = self._processors
        totals = [known.setdefault(one.cpu, _ProcessorTotals()).take(one) for one in processors]
        busy, budget, interrupts = (
            (list(column) for column in zip(*totals, strict=True)) if totals else ([], [], [])
        )
        served = [cpu for one in self._adapters.values() for cpu in one.served_cpus]
        unknown: list[Cell] = [None] * len(processors)
        return {
            "id": [one.cpu for one in processors],
            "busy_cycles": busy,
            "budget_cycles": budget,
            "interrupts": interrupts,
            "dpcs": unknown,
            "indicated_frames": unknown,
            "queues": unknown if None in served else [served.count(one.cpu) for one in processors],
            "down": unknown,
        }


def _left_out(machine: Machine) -> Iterable[str]:
    """Sentences about what readers have no room for."""
    for what, found, most in (
        ("processors", len(machine.processors), MAX_CPUS),
        ("adapters", len(machine.adapters), MAX_ADAPTERS),
    ):
        if found > most:
            yield f"{most} of {found} {what} are shown: there is no room for more"


def _processors(machine: Machine) -> list[Processor]:
    """The processors of a reading in order, at most as many as readers accept."""
    return sorted(machine.processors, key=lambda one: one.cpu)[:MAX_CPUS]


class Probe(Protocol):
    """What reads a Linux machine."""

    def read(self) -> Machine:
        """Read the machine now."""
        ...

    def close(self) -> None:
        """Close what a reading keeps open."""
        ...


class Captures(Protocol):
    """What captures the frames of default queues (``engine.measure.default_queue``)."""

    def add_to(self, measured: Measured) -> Measured:
        """Return a reading with what was captured."""
        ...

    def close(self) -> None:
        """End the captures."""
        ...


class LinuxSource:
    """This machine, by ``probe``, as the host ``name``; with ``captures``, also why frames are in the default
    queues."""

    def __init__(self, probe: Probe, name: str, captures: Captures | None = None) -> None:
        self._probe = probe
        self._host = LinuxHost(name, with_own_ports=captures is not None)
        self._captures = captures

    def read(self) -> Measured:
        """Read the machine now."""
        measured = self._host.read(self._probe.read())
        return measured if self._captures is None else self._captures.add_to(measured)

    def close(self) -> None:
        """Close the probe, and end the captures."""
        self._probe.close()
        if self._captures is not None:
            self._captures.close()
