"""Rules about NIC teams: the processors of their members must be disjoint or equal, by mode (event 106)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule, Team
from engine.advice.finding import Finding, Request
from engine.advice.room import Room, eligible
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted, noun
from engine.view.adapter import AdapterView
from engine.view.rows import CpuView, QueueView

_Thing = TypeVar("_Thing")

Sets = Mapping[str, frozenset[int]]
"""For each member: the processors of its VM queues."""


def overlap(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a team in mode "sum" (sum of queues) whose members share processors."""
    for team in _teams(evidence, "sum"):
        shared = _shared(_sets(team))
        if not shared:
            continue
        queues = [one for one in _queues(team) if one.planned_cpu in shared]
        loads = [cpu.load for cpu in evidence.cpus if cpu.id in shared and cpu.load is not None]
        load = max(loads, default=None)
        busy = _by_busy_members(queues, thresholds)
        parts = _parts(evidence, team)
        words = ", ".join(f"{name} {evidence.processors.names(cpus)}" for name, cpus in parts.items())
        yield Finding(
            rule="team-overlap",
            severity="note" if not busy else "bad" if load is not None and load >= 0.99 else "warn",
            adapter=team.members[0].adapter,
            key=f"team {team.name}",
            where=f"team {team.name}",
            says=f"{team.name} (sum of queues): members share {noun(len(shared), 'processor')} "
            f"{evidence.processors.names(shared)}",
            numbers={
                "members": len(team.members),
                "shared_processors": len(shared),
                "busy_shared_processors": busy,
                "load": load,
                "drops_pps": _sum(one.rate("dropped_no_buffer") for one in queues),
            },
            cause="With the members' queues summed up, each VM's frames come in on one member, which brings "
            "them to its own processors as if it were alone: where two members use the same one, it has the "
            "work of both (event 106).",
            fix=f"Give each member processors of its own: {words}"
            if parts
            else f"There are fewer processors than the {counted(len(team.members), 'member')} need: take one"
            " out of the team, or give the host more",
            requests=_into(evidence, team, parts),
            commands=[powershell.adapter_vmq(name, sorted(cpus)) for name, cpus in parts.items()],
            measure="processors that members share",
            value=float(len(shared)),
            after=0.0 if parts else None,
            estimated=True,
        )


def differ(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a team in mode "min" (min of queues) whose members use different processors."""
    for team in _teams(evidence, "min"):
        sets = _sets(team)
        uncommon = _uncommon(sets)
        if not uncommon:
            continue
        members = [one for one in team.members if sets.get(one.adapter)]
        target = _common(members, Room(evidence), evidence)
        split = _split_vms(members)
        traffic = any(
            one.known_pps >= thresholds.idle_pps for one in _queues(team) if one.planned_cpu in uncommon
        )
        words = "; ".join(f"{name} {evidence.processors.names(cpus)}" for name, cpus in sets.items())
        yield Finding(
            rule="team-differs",
            severity="warn" if traffic else "note",
            adapter=team.members[0].adapter,
            key=f"team {team.name}",
            where=f"team {team.name}",
            says=f"{team.name} (min of queues): members use different processors: {words}",
            numbers={
                "members": len(team.members),
                "different_processors": len(uncommon),
                "vms_on_several": len(split),
                "frames_of_those_pps": _sum(
                    one.rate("steered_frames") for one in _queues(team) if _called(one) in split
                ),
            },
            cause="A VM's frames come in on any member, so it has a queue on each; Windows gives these the "
            "same processor, and can do that only within a set that all members have (event 106).",
            fix=f"Let all members use processors {evidence.processors.names(set(target.values()))}, and a "
            "VM's queues the same one",
            requests=_onto(members, target),
            commands=[powershell.adapter_vmq(one.adapter, sorted(set(target.values()))) for one in members],
            measure="processors that not every member uses",
            value=float(len(uncommon)),
            after=0.0,
            estimated=True,
        )


# --- teams and processor sets ----------------------------------------------------------------------


def _teams(evidence: Evidence, mode: str) -> Iterator[Team]:
    """Yield the teams of a mode whose queues are all on processors in the configuration."""
    for team in evidence.teams:
        if team.mode == mode and all(one.planned_cpu in evidence.cpu for one in _queues(team)):
            yield team


def is_of_team(evidence: Evidence, queues: Sequence[QueueView]) -> bool:
    """Return whether queues of one processor belong to members of a team in mode "sum", one to each."""
    names = [queue.adapter for queue in queues]
    return len(set(names)) == len(names) > 1 and any(
        set(names) <= {member.name for member in team.members} for team in _teams(evidence, "sum")
    )


def _queues(team: Team) -> list[QueueView]:
    """Return the VM queues of all members, without those being freed."""
    return [queue for member in team.members for queue in _of_vms(member)]


def _of_vms(member: AdapterView) -> list[QueueView]:
    return [one for one in member.of_vms if one.state not in ("dma_stopped", "freeing")]


def _sets(team: Team) -> Sets:
    """Return the planned processors of each member with queues; moves by the balancer don't count."""
    sets = {one.adapter: frozenset(queue.planned_cpu for queue in _of_vms(one)) for one in team.members}
    return {name: cpus for name, cpus in sets.items() if cpus}


def _shared(sets: Sets) -> set[int]:
    """Return the processors that more than one member uses."""
    counts = Counter(cpu for cpus in sets.values() for cpu in cpus)
    return {cpu for cpu, members in counts.items() if members > 1}


def _uncommon(sets: Sets) -> frozenset[int]:
    """Return the processors that some members use and others don't."""
    every = list(sets.values())
    return frozenset().union(*every) - every[0].intersection(*every[1:]) if every else frozenset()


def _called(queue: QueueView) -> str:
    return queue.vm or queue.known.name


def _by_busy_members(queues: Sequence[QueueView], thresholds: AdviceThresholds) -> int:
    """Return the number of processors with busy queues of more than one member."""
    busy = {(one.planned_cpu, one.adapter) for one in queues if one.known_pps >= thresholds.idle_pps}
    return sum(members > 1 for members in Counter(cpu for cpu, _ in busy).values())


def _split_vms(members: Sequence[AdapterView]) -> set[str]:
    """Return the VMs whose queues are on different processors on different members."""
    cpus: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for member in members:
        for queue in _of_vms(member):
            cpus[_called(queue)][member.name].add(queue.planned_cpu)
    return {vm for vm, used in cpus.items() if len({frozenset(one) for one in used.values()}) > 1}


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


# --- fixes ----------------------------------------------------------------------------------------


def _parts(evidence: Evidence, team: Team) -> dict[str, list[int]]:
    """Return a run of processors of its own, on its NUMA node, for each member; {} if too few exist.

    Members are ordered by the average processor of their queues, so that few queues move.
    """
    nodes: defaultdict[int, list[AdapterView]] = defaultdict(list)
    for member in team.members:
        nodes[member.known.numa_node].append(member)
    parts: dict[str, list[int]] = {}
    for members in nodes.values():
        cpus = _free_of_default(evidence, members)
        if len(cpus) < len(members):
            return {}
        for member, part in zip(sorted(members, key=_middle), _cut(cpus, len(members)), strict=True):
            parts[member.name] = [cpu.id for cpu in part]
    used = [cpu for part in parts.values() for cpu in part]
    if len(set(used)) < len(used):  # a node without processors uses those of other nodes
        return {}
    return {member.name: parts[member.name] for member in team.members}


def _free_of_default(evidence: Evidence, members: Sequence[AdapterView]) -> list[CpuView]:
    """Return the processors that are eligible for every member; if too few, those for any member."""
    fitting = [{cpu.id for cpu in eligible(evidence, member)} for member in members]
    cpus = set.intersection(*fitting)
    if len(cpus) < len(members):
        cpus = set.union(*fitting)
    return [evidence.cpu[cpu] for cpu in sorted(cpus)]


def _middle(member: AdapterView) -> float:
    """Return the average processor number of a member's queues; infinity without queues."""
    cpus = [queue.planned_cpu for queue in _of_vms(member)]
    return sum(cpus) / len(cpus) if cpus else float("inf")


def _cut(things: Sequence[_Thing], count: int) -> list[Sequence[_Thing]]:
    """Cut a sequence into ``count`` consecutive parts of nearly equal length."""
    marks = [place * len(things) // count for place in range(count + 1)]
    return [things[low:high] for low, high in pairwise(marks)]


def _into(evidence: Evidence, team: Team, parts: Mapping[str, Sequence[int]]) -> list[Request]:
    """Return the requests that move queues outside their member's part into it, most expensive first."""
    room, requests = Room(evidence), []
    for member in team.members if parts else ():
        part = [evidence.cpu[cpu] for cpu in parts[member.name]]
        outside = [one for one in _of_vms(member) if one.planned_cpu not in parts[member.name]]
        for queue in sorted(outside, key=lambda one: (-one.cycles, one.queue_id)):
            target = room.coolest(part)
            assert target is not None
            requests.append(room.move(queue, target))
    return requests


def _common(members: Sequence[AdapterView], room: Room, evidence: Evidence) -> dict[tuple[str, int], int]:
    """Map each (adapter, queue id) to a processor, so that all members use the same processors.

    A VM with a queue on every member gets its processor from the member that uses the most processors. Other
    queues go to the least loaded of these. If no VM has one on every member, each member first uses every
    processor of a common set once.
    """
    first = max(members, key=lambda one: len({queue.planned_cpu for queue in _of_vms(one)}))
    everywhere = set.intersection(*(set(_numbered(member)) for member in members))
    cpu_of = {unit: queue.planned_cpu for unit, queue in _numbered(first).items() if unit in everywhere}
    least = min(len(_of_vms(member)) for member in members)
    cpus = sorted(set(cpu_of.values())) or sorted({one.planned_cpu for one in _of_vms(first)})[:least]
    target: dict[tuple[str, int], int] = {}
    for member in members:
        unused = [] if cpu_of else list(cpus)
        for unit, queue in sorted(_numbered(member).items(), key=lambda pair: -pair[1].cycles):
            cpu = cpu_of.get(unit)
            if cpu is None:
                cpu = unused.pop(0) if unused else room.coolest(evidence.cpu[one] for one in cpus)
            assert cpu is not None
            target[member.name, queue.queue_id] = cpu
            room.move(queue, cpu)
    return target


def _numbered(member: AdapterView) -> dict[tuple[str, int], QueueView]:
    """Return a member's queues by VM and by running number within the VM, from 1."""
    counts: Counter[str] = Counter()
    queues = {}
    for queue in _of_vms(member):
        counts[_called(queue)] += 1
        queues[_called(queue), counts[_called(queue)]] = queue
    return queues


def _onto(members: Sequence[AdapterView], target: Mapping[tuple[str, int], int]) -> list[Request]:
    """Return the requests that move queues to their target processors, if not planned there already."""
    return [
        Request(
            op="set_queue_parameters",
            params={"adapter": member.name, "queue_id": queue.queue_id, "cpu": cpu},
        )
        for member in members
        for queue in _of_vms(member)
        if queue.planned_cpu != (cpu := target[member.name, queue.queue_id])
    ]


# --- metrics --------------------------------------------------------------------------------------


def _measured(count: Callable[[Sets], Iterable[int]]) -> Callable[[Evidence, Finding], float | None]:
    def measure(evidence: Evidence, finding: Finding) -> float | None:
        team = next((one for one in evidence.teams if f"team {one.name}" == finding.key), None)
        return None if team is None else float(len(set(count(_sets(team)))))

    return measure


RULES = (
    Rule(
        "team-overlap",
        "A team's members share processors (sum of queues)",
        "event 106, processor sets overlap",
        (3,),
        overlap,
        _measured(_shared),
        "processors",
        thresholds=("idle_pps",),
    ),
    Rule(
        "team-differs",
        "A team's members use different processors (min of queues)",
        "event 106, processor sets differ",
        (3,),
        differ,
        _measured(_uncommon),
        "processors",
        thresholds=("idle_pps",),
    ),
)
