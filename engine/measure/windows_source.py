"""A Windows host that is read again and again: the collecting script, run by PowerShell for each reading."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import msgspec

from engine.counted import counted
from engine.measure.host import Measured, SourceError, UnknownAdapterError
from engine.measure.windows import WindowsHost, read_host
from engine.measure.windows_counters import (
    CounterReader,
    CounterReading,
    FrameSizes,
    Growth,
    QueueCounts,
    QueueKey,
    Tallies,
    make_stats,
)
from engine.measure.windows_tables import SCRIPT, WindowsTables, printable, read_json
from engine.telemetry.config import AdapterConfig, Config, QueueConfig
from engine.telemetry.events import NewEvent

COMMAND: Final = ("powershell", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File")
TIMEOUT_S: Final = 120.0
"""Longest that one run of the script may take; on a host of many VMs the cmdlets take seconds."""
MOST_REMARKS: Final = 16
"""Remarks on one reading that are events; more are counted."""
_LONGEST_STEP_NS: Final = 3600 * 1_000_000_000


class WindowsSource:
    """This machine, or what ``command`` prints in its place, as the host ``name``; only its ``adapters``."""

    def __init__(self, name: str, adapters: Sequence[str] = (), command: Sequence[str] | None = None) -> None:
        self._follower = WindowsFollower(name, adapters)
        self._command = [*COMMAND, str(SCRIPT), "-Seconds", "0"] if command is None else [*command]
        self._running: subprocess.Popen[bytes] | None = None

    def read(self) -> Measured:
        """Run the script once. Raises ``SourceError`` if it does not print a host."""
        try:
            with subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as self._running:
                try:
                    out, complaint = self._running.communicate(timeout=TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self._running.kill()
                    raise SourceError(f"PowerShell took more than {TIMEOUT_S:g} s: it was ended") from None
                status = self._running.returncode
        except FileNotFoundError:
            raise SourceError(f"{self._command[0]} is not found, which reads a Windows host") from None
        finally:
            self._running = None
        if not out.strip():
            said = printable(complaint.decode("utf-8", "replace").strip().partition("\n")[0])
            raise SourceError(f"PowerShell printed no host and ended with {status}: {said or 'nothing said'}")
        return self._follower.read(read_json("the script's output", out))

    def close(self) -> None:
        """End a run that is under way."""
        with suppress(AttributeError, OSError):
            self._running.kill()  # type: ignore[union-attr]  # another thread may have ended it


class _Queue:
    """One queue from reading to reading: whose it is, its generation, and what it received since."""

    def __init__(self, identity: object, generation: int) -> None:
        self.identity = identity
        self.generation = generation
        self.counts = QueueCounts(0, 0, "exact", 0)
        self._sizes = FrameSizes()

    def take(self, growth: Growth, next_generation: int) -> bool:
        """Count what it received. A count that was unknown meanwhile starts again, as another generation."""
        frames, interrupts = self.counts.frames, self.counts.interrupts
        renewed = frames is None and growth.frames is not None
        if renewed:
            self.generation, frames, interrupts, self._sizes = next_generation, 0, 0, FrameSizes()
        else:
            self._sizes.add(growth)
            frames = None if frames is None or growth.frames is None else frames + growth.frames
            known = growth.interrupts is not None
            interrupts = (interrupts or 0) + (growth.interrupts or 0) if known else None
        size = None if frames is None else self._sizes.bytes
        self.counts = QueueCounts(frames, interrupts, growth.source, size)
        return renewed


class WindowsFollower:
    """Turns what successive runs of the script printed into the messages of the host ``name``.

    Counters count from the first reading on. A queue whose frames were unknown for a while, or which is
    another VM's now, is another generation; a processor's or port's counter that went back starts at 0 again.
    """

    def __init__(
        self, name: str, adapters: Sequence[str] = (), clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._name = name
        self._wanted = adapters
        self._clock = clock
        self._read_ns = 0
        self._seq = 0
        self._sim_time_ns = 0
        self._revision = 0
        self._queues: dict[QueueKey, _Queue] = {}
        self._generations: dict[str, int] = {}
        self._before: CounterReading | None = None
        self._config: Config | None = None
        self._tallies = Tallies(restart=True)
        self._having_queues: set[str] = set()
        self._remarks: frozenset[str] = frozenset()

    def read(self, tables: WindowsTables) -> Measured:
        """Process what one run printed. Raises ``UnknownAdapterError`` if an adapter is not there."""
        host = read_host(tables)
        host = replace(host, config=msgspec.structs.replace(host.config, host=self._name))
        if self._wanted:
            host = _only(host, self._wanted)
        reader, sample = CounterReader(host), tables.samples[-1]
        now = reader.read(sample)
        before, self._before = self._before, now
        self._advance(0 if before is None else sample.time_ns - before.sample.time_ns)
        self._tallies.add(before or now, now)
        having = {one.mac for adapter in host.config.adapters for one in adapter.filters}
        self._tallies.begin("vnics", having | self._having_queues)  # only frames without a queue are shown
        self._having_queues = having
        growth = {} if before is None else reader.growth(before, now)
        config = self._follow(host.config, growth)
        events = [*self._changes(config), *self._new_remarks(list(tables.remarks))]
        changed = self._config is None or _bytes(config) != _bytes(self._config)
        self._revision += changed
        self._config = msgspec.structs.replace(config, revision=self._revision)
        counts = {key: one.counts for key, one in self._queues.items()}
        stats = make_stats(
            replace(host, config=self._config), now, self._seq, self._sim_time_ns, counts, self._tallies
        )
        return Measured(self._config if changed else None, stats, events)

    def _advance(self, step_ns: int) -> None:
        """Let the time pass that the host says; that of this machine if the host's clock was set."""
        read_ns, self._read_ns = self._read_ns, self._clock()
        if self._seq and not 0 < step_ns < _LONGEST_STEP_NS:
            step_ns = max(1, self._read_ns - read_ns)
        self._sim_time_ns += step_ns
        self._seq += 1

    def _follow(self, config: Config, growth: dict[QueueKey, Growth]) -> Config:
        """Count what queues received, and return the configuration with their generations."""
        followed: dict[QueueKey, _Queue] = {}
        adapters = []
        for adapter in config.adapters:
            queues = []
            for queue in adapter.queues:
                key = adapter.name, queue.queue_id
                macs = frozenset(one.mac for one in adapter.filters if one.queue_id == queue.queue_id)
                identity = (queue.vm, macs)
                known = self._queues.get(key)
                following = self._generations.get(adapter.name, 0) + 1
                if known is None or known.identity != identity:
                    known = _Queue(identity, following)
                elif not known.take(growth.get(key, Growth()), following):
                    following -= 1
                self._generations[adapter.name] = max(following, known.generation)
                followed[key] = known
                queues.append(msgspec.structs.replace(queue, generation=known.generation))
            adapters.append(msgspec.structs.replace(adapter, queues=queues))
        self._queues = followed
        return msgspec.structs.replace(config, adapters=adapters)

    # --- events ---------------------------------------------------------------------------------

    def _changes(self, config: Config) -> Iterator[NewEvent]:
        if self._config is None:
            return
        old = {one.name: one for one in self._config.adapters}
        new = {one.name: one for one in config.adapters}
        for name in old.keys() - new.keys():
            yield NewEvent("adapter_gone", f"{name} is no longer there", name)
        for name, adapter in new.items():
            if name not in old:
                yield NewEvent("adapter_came", f"{name} is there now", name)
            else:
                yield from _changes_of(old[name], adapter, {cpu.id: cpu.name for cpu in config.cpus})

    def _new_remarks(self, remarks: list[str]) -> Iterator[NewEvent]:
        new = [one for one in remarks if one not in self._remarks]
        self._remarks = frozenset(remarks)
        yield from (NewEvent("reading_trouble", one) for one in new[:MOST_REMARKS])
        if len(new) > MOST_REMARKS:
            yield NewEvent("reading_trouble", f"{counted(len(new) - MOST_REMARKS, 'trouble')} more")


def _only(host: WindowsHost, names: Sequence[str]) -> WindowsHost:
    there = [one.name for one in host.config.adapters]
    for name in names:
        if name not in there:
            fits = f"{', '.join(there)} {'fits' if len(there) == 1 else 'fit'}" if there else "it has none"
            raise UnknownAdapterError(f"no adapter {printable(name)!r} on this host ({fits})")
    chosen = [one for one in host.config.adapters if one.name in names]
    return replace(host, config=msgspec.structs.replace(host.config, adapters=chosen))


def _bytes(config: Config) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(config, revision=0))


def _changes_of(old: AdapterConfig, new: AdapterConfig, names: dict[int, str]) -> Iterator[NewEvent]:
    name = new.name
    if old.link_up is not new.link_up and new.link_up is not None:
        kind, word = ("link_up", "up") if new.link_up else ("link_down", "down")
        yield NewEvent(kind, f"the link of {name} is {word}", name)
    were = {one.queue_id: one for one in old.queues}
    for queue in new.queues:
        was = were.pop(queue.queue_id, None)
        if was is None or was.vm != queue.vm:
            if was is not None:
                yield _freed(name, was)
            cause = f"allocated for {queue.vm}" if queue.vm else "allocated"
            yield NewEvent("queue_state", cause, name, queue.queue_id, queue.state)
        elif was.cpu != queue.cpu and queue.cpu is not None:
            of = "" if was.cpu is None else f" from {names.get(was.cpu, was.cpu)}"
            cause = f"moved{of} to {names.get(queue.cpu, queue.cpu)}"
            yield NewEvent("queue_moved", cause, name, queue.queue_id)
    for gone in were.values():
        yield _freed(name, gone)


def _freed(adapter: str, queue: QueueConfig) -> NewEvent:
    cause = f"it was that of {queue.vm}" if queue.vm else "it is no longer there"
    return NewEvent("queue_freed", cause, adapter, queue.queue_id)
