"""What rules must know of a host, and which of them could not look for want of it.

The model knows everything; of a real host much is unknown (Linux has no buffers in use, Windows no counters
of a queue). A rule names its needs as data; this is the one place that holds them against a host. A rule
whose need is not met makes no findings there, and is reported as unchecked, never as "all is well".
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from engine.advice.evidence import Evidence, Need, Rule
from engine.advice.finding import Unchecked
from engine.counted import noun
from engine.view.adapter import AdapterView

BUSY: Final = Need("the busy time of processors is not known", ("cpus.busy_cycles",))
FRAMES: Final = Need("frames by queue are not known", ("queues.steered_frames", "queues.received_frames"))
DROPS: Final = Need("drops by queue are not known", ("queues.dropped_no_buffer",))
SHORTAGE: Final = Need(
    "free buffers and drops by queue are not known", ("queues.low_free_buffers", "queues.dropped_no_buffer")
)
BUFFERS: Final = Need("the buffers of queues are not known", ("queues.total_buffers",))
HELD: Final = Need("the buffers that VMs hold are not known", ("queues.outstanding",))
WANTED: Final = Need("the buffers that queues suggested are not known", ("queue.buffers",))
PLACE: Final = Need("the processors of queues are not known", ("queue.cpu",))
SET: Final = Need("the processor set is not known", ("adapter.processor_set", "queue.cpu"))
NODE: Final = Need("the NUMA node of the adapter is not known", ("adapter.numa_node",))
NODES: Final = Need("the NUMA nodes of processors are not known", ("processor.numa_node",))
SIBLINGS: Final = Need("hyper-threading is not known", ("host.hyperthreading",))
BALANCER: Final = Need("what moves queues between processors is not known", ("host.balancer",))
LINK: Final = Need("the speed of the link is not known", ("adapter.link_gbps",))
PORT: Final = Need("the bytes that the adapter received are not known", ("port.offered_bytes",))
QUEUES: Final = Need("the number of queues that the adapter has is not known", ("adapter.max_queues",))
REASONS: Final = Need("why frames are in the default queue is not known", ("reasons.vlan_mismatch",))
PAIRS: Final = Need("the MACs and VLANs in the default queue are not known", ("pairs.frames",))

NEEDS: Final = (
    *(BUSY, FRAMES, DROPS, SHORTAGE, BUFFERS, HELD, WANTED, PLACE, SET),
    *(NODE, NODES, SIBLINGS, BALANCER, LINK, PORT, QUEUES, REASONS, PAIRS),
)

_OF_HOST: Final = frozenset({"host", "processor", "cpus"})
_OTHER_LOAD: Final = 0.3
"""Load beyond what frames can take that is worth a word."""
NOT_LINUX: Final = "about Windows and its switch, and this host runs Linux"


@dataclass(frozen=True)
class _Met:
    """Of ``rows`` rows, ``unknown`` lack the need; a rule can look if any has it."""

    unknown: int
    rows: int

    @property
    def is_met(self) -> bool:
        return self.unknown < self.rows or not self.rows


class Known:
    """Which needs of rules a host meets, as a whole and by adapter. It is judged by the newest reading."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._met: dict[tuple[Need, str], _Met] = {}

    def can_look(self, rule: Rule) -> bool:
        """Return whether a rule can look anywhere on the host."""
        if self._evidence.is_linux and not rule.on_linux:
            return False
        return all(self._is_met(need, "") for need in rule.needs) and (
            not self._evidence.adapters or any(self.can_look_at(rule, one) for one in self._evidence.adapters)
        )

    def can_look_at(self, rule: Rule, adapter: AdapterView) -> bool:
        """Return whether a rule that can look at the host can look at one of its adapters."""
        return all(self._is_met(need, adapter.name) for need in rule.needs)

    def _is_met(self, need: Need, adapter: str) -> bool:
        """Return whether a need is met by the host, if it is one of the whole host, or by an adapter."""
        return _is_of_host(need) is bool(adapter) or self._of(need, adapter).is_met

    def _of(self, need: Need, adapter: str) -> _Met:
        key = (need, adapter)
        if key not in self._met:
            cells = [_cells(self._evidence, place, adapter) for place in need.places]
            met = [_Met(column.count(None), len(column)) for column in cells]
            self._met[key] = min(met, key=lambda one: (not one.is_met, one.unknown))
        return self._met[key]

    def unchecked(self, rules: Iterable[Rule]) -> list[Unchecked]:
        """Return which rules could not look, which left rows out, and which are about other hosts."""
        alien = [rule.id for rule in rules if self._evidence.is_linux and not rule.on_linux]
        looking = [rule for rule in rules if rule.id not in alien]
        found = [Unchecked(why=NOT_LINUX, rules=alien, applies=False)] if alien else []
        for need in NEEDS:
            its = [rule.id for rule in looking if need in rule.needs]
            if its:
                found += self._gaps(need, its)
        busy_by_others = self._busy_by_others()
        if busy_by_others is not None and (its := [rule.id for rule in looking if BUSY in rule.needs]):
            found.append(msgspec.structs.replace(busy_by_others, rules=its))
        return sorted(found, key=lambda one: (not one.applies, one.left_out > 0))

    def _busy_by_others(self) -> Unchecked | None:
        """Return the processors of a real host with more load than the frames of their queues can take."""
        cpus = [cpu for cpu in self._evidence.cpus if cpu.load is not None and cpu.queues]
        others = [cpu for cpu in cpus if (cpu.load or 0.0) - (self._evidence.load(cpu) or 0.0) >= _OTHER_LOAD]
        if not others:
            return None
        names = self._evidence.processors.names(cpu.cpu for cpu in others)
        return Unchecked(
            why=f"frames of queues don't explain the load of {noun(len(others), 'processor')} {names}: other"
            " devices have that time",
            rules=[],
            left_out=len(others),
            rows=len(cpus),
        )

    def _gaps(self, need: Need, rules: Sequence[str]) -> Iterable[Unchecked]:
        """Yield the adapters (or the host) of which nothing is known, then those with unknown rows."""
        names = [""] if _is_of_host(need) else [one.name for one in self._evidence.adapters]
        groups: defaultdict[bool, list[str]] = defaultdict(list)
        for name in names:
            met = self._of(need, name)
            if met.unknown:
                groups[met.is_met].append(name)
        for is_met, adapters in sorted(groups.items()):
            met_of = [self._of(need, name) for name in adapters]
            yield Unchecked(
                why=need.unknown,
                rules=list(rules),
                adapters=[name for name in adapters if name],
                left_out=sum(one.unknown for one in met_of) if is_met else 0,
                rows=sum(one.rows for one in met_of) if is_met else 0,
            )


def _is_of_host(need: Need) -> bool:
    return need.places[0].partition(".")[0] in _OF_HOST


def _cells(evidence: Evidence, place: str, adapter: str) -> Sequence[object]:
    """Return what is known of a place, one value a row; None is unknown.

    The node of everything is known where there is one only; on Linux, cores tell which processors are
    siblings.
    """
    table, _, name = place.partition(".")
    view = evidence.by_name.get(adapter)
    one_node = name == "numa_node" and evidence.config.numa_nodes == 1
    match table:
        case "host":
            value = getattr(evidence.config, name)
            if name == "hyperthreading" and evidence.is_linux:
                value = all(cpu.known.core is not None for cpu in evidence.cpus) or None
            return [None if value == {} else value]
        case "processor":
            return [0 if one_node else getattr(cpu.known, name) for cpu in evidence.cpus]
        case "cpus":
            return [cpu.count(name) for cpu in evidence.cpus]
    if view is None:
        return []
    match table:
        case "adapter":
            value = view.processor_set if name == "processor_set" else getattr(view.known, name)
            return [0 if one_node else value]
        case "port":
            return [view.count(name)]
        case "reasons":
            return [view.now.default_queue.get(name)]
        case "pairs":
            return _pairs(evidence, view)
        case "queue":
            return [getattr(queue, name) for queue in view.known.queues]
    column = view.now.queues.get(name, ())
    if len(column) == len(view.queues) and None not in column:
        return column  # as in a model, which may have tens of thousands of queues
    return [queue.count(name) for queue in view.queues]


def _pairs(evidence: Evidence, view: AdapterView) -> Sequence[object]:
    """Return what is known of the default queue's pairs: on a measured Windows host a row for each port
    without a queue, as a port that it did not count has none among the pairs; else the pairs as a whole."""
    top = view.now.default_queue_top
    if top is None or evidence.is_linux or not evidence.is_measured:
        return [top]
    ports = evidence.without_queue[view.name]
    if not ports:
        return [top]
    counted = set(top.mac)
    return [mac if mac in counted else None for mac in ports]
