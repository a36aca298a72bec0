"""Where an adapter's queues belong: one processor set for each adapter, and the queues in it.

Every rule takes its fix from here, so that fixes of one output agree: each adapter has one target set, which
a line of ``Set-NetAdapterVmq`` gives, and the requests move queues to where that set puts them.

Sets of members of a team in mode "sum" stay apart, those in other modes stay equal, and a VM's queues on
several members of such a team stay on one processor (event 106; Microsoft, KB 2974384).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

from engine.advice import linux, powershell
from engine.advice.evidence import Evidence, Team
from engine.advice.finding import MOST_REQUESTS, Request
from engine.advice.room import Room, eligible
from engine.scenario.processor_set import SetLine
from engine.view.adapter import AdapterView
from engine.view.index import set_keys
from engine.view.rows import CpuView, QueueView

Cpus = tuple[int, ...]
Unit = Sequence[QueueView]
"""Queues that stay on one processor: a VM's on all members of a team, or a single one."""

NO_LINE = "No line moves a single queue: Windows places queues within the adapter's set. Look where they are:"


@dataclass(frozen=True, eq=False)
class Placement:
    """The sets of some adapters, the requests that put their queues there, and the same as lines.

    ``changed`` are the adapters that get a set which they are not known to have.
    """

    sets: Mapping[str, Cpus]
    requests: list[Request]
    commands: list[str]
    room: Room
    changed: Sequence[str]
    words: str

    @property
    def fits(self) -> bool:
        """Whether no processor of the sets needs more than it has."""
        return all(self.room.loads[cpu] < 1.0 for cpus in self.sets.values() for cpu in cpus)


def of_vms(adapter: AdapterView) -> list[QueueView]:
    """Return an adapter's VM queues, without those being freed."""
    return [one for one in adapter.of_vms if one.state not in ("dma_stopped", "freeing")]


def set_of(evidence: Evidence, adapter: AdapterView) -> frozenset[int]:
    """Return the processors of an adapter: its configured set, or where its queues are if that is unknown."""
    configured = evidence.processors.configured(set_keys(adapter.known))
    if configured is not None:
        return frozenset(configured)
    return frozenset(cpu for queue in of_vms(adapter) if (cpu := queue.planned_cpu) is not None)


def team_of(evidence: Evidence, adapter: AdapterView) -> Team | None:
    """Return the team of an adapter, if it has one of a known mode."""
    for team in evidence.teams:
        if team.mode in ("sum", "min", "primary") and any(one.name == adapter.name for one in team.members):
            return team
    return None


def shared(sets: Mapping[str, frozenset[int]]) -> set[int]:
    """Return the processors that more than one of the sets has."""
    counts = Counter(cpu for cpus in sets.values() for cpu in cpus)
    return {cpu for cpu, members in counts.items() if members > 1}


def called(queue: QueueView) -> str:
    """Return the name of the VM that a queue is for, else its own."""
    return queue.vm or queue.known.name


def placement(evidence: Evidence, adapter: AdapterView, busy_load: float) -> Placement | None:
    """Return where an adapter's queues belong, with those of its team that depend on it; None if nowhere.

    Queues that are outside their set move, and those on a processor as busy as ``busy_load``; others stay.
    """
    if evidence.is_linux:
        return _rings_placed(evidence, adapter, busy_load)
    team = team_of(evidence, adapter)
    members = list(team.members) if team is not None else [adapter]
    if team is not None and team.mode == "sum":
        alone = _each_alone(evidence, members, busy_load)
        if alone:
            return _placed(
                evidence, [adapter], {adapter.name: alone[adapter.name]}, busy_load, together=False
            )
        parts = _stepwise(evidence, members, parts_of(evidence, members), busy_load)
        return _placed(evidence, members, parts, busy_load, together=False) if parts else None
    best = _own_run(evidence, members, members, _of_earlier(evidence, members), busy_load)
    best = best or _apart_from_others(evidence, members)
    if not best:
        return None
    return _placed(evidence, members, dict.fromkeys((one.name for one in members), best), busy_load)


def _placed(
    evidence: Evidence,
    members: Sequence[AdapterView],
    sets: Mapping[str, Cpus],
    busy_load: float,
    together: bool = True,
) -> Placement:
    room = Room(evidence)
    moves = _moves(evidence, units_of(members, together), sets, room, busy_load)
    requests: list[Request] = []
    commands: list[str] = []
    changed = []
    for member in sorted(members, key=lambda one: _steps_aside(evidence, one, members, sets)):
        cpus = sets[member.name]
        line = evidence.processors.line_for(cpus)
        if (
            line is None
            or member.known.vmq is False
            or evidence.processors.configured(set_keys(member.known)) == cpus
        ):
            continue
        changed.append(member.name)
        requests.append(_set_request(member, line, _new_node(evidence, member, cpus)))
        commands += _block(evidence, member, cpus, line)
    words = "; ".join(f"{one.name} {evidence.processors.names(sets[one.name])}" for one in members)
    if len(members) == 1 or len(set(sets.values())) == 1:
        words = evidence.processors.names(sets[members[0].name])
    if not commands:
        commands = [
            line
            for one in members[:8]
            for line in powershell.look_at_queues(one.name, NO_LINE)
            if of_vms(one)
        ]
    return Placement(sets, [*requests, *moves][:MOST_REQUESTS], commands, room, changed, words)


def _rings_placed(evidence: Evidence, adapter: AdapterView, busy_load: float) -> Placement | None:
    """Return where a Linux adapter's rings belong: any processor can serve any of them, so those stay that
    are near and have time, and others go to a core of their own."""
    cores = eligible(evidence, adapter)
    near = {cpu.known.numa_node for cpu in cores}
    units = [[one] for one in adapter.queues if one.known.cpu is not None]
    present = [cpu for (one,) in units if (cpu := evidence.serving(one)) and cpu.known.numa_node in near]
    theirs = {cpu.cpu for cpu in present if _is_of_another(evidence, adapter, cpu, busy_load)}
    cpus = tuple(sorted({cpu.cpu for cpu in [*cores, *present]} - theirs))
    if not cpus:
        return None
    room = Room(evidence)
    moves = _moves(evidence, units, {adapter.name: cpus}, room, busy_load)[:MOST_REQUESTS]
    targets = [(adapter.by_id[one.params["queue_id"]], one.params["cpu"]) for one in moves]
    commands = linux.affinity(adapter.name, targets)
    return Placement({adapter.name: cpus}, moves, commands, room, (), evidence.processors.names(cpus))


def _is_of_another(evidence: Evidence, adapter: AdapterView, cpu: CpuView, busy_load: float) -> bool:
    """Return whether a busy processor is mostly another adapter's, so that this one's rings leave it."""
    heaviest = max(cpu.queues, key=evidence.work)
    return evidence.demand[cpu.cpu] >= busy_load and heaviest.adapter != adapter.adapter


def _new_node(evidence: Evidence, member: AdapterView, cpus: Cpus) -> int | None:
    """Return the node that an adapter must prefer for a set; None if its preferred node need not change."""
    preferred = set_keys(member.known).preferred_numa_node
    nodes = {node for cpu in cpus if (node := evidence.cpu[cpu].known.numa_node) is not None}
    return None if preferred is None or not nodes or nodes == {preferred} else min(nodes)


def _set_request(member: AdapterView, line: SetLine, node: int | None) -> Request:
    params: dict[str, Any] = {
        "adapter": member.name,
        "base_processor": f"{line.group}:{line.base_number}",
        "max_processor": f"{line.group}:{line.max_number}",
        "max_processors": line.max_processors,
    }
    if node is not None:
        params["preferred_numa_node"] = node
    return Request(op="set_adapter", params=params)


def _block(evidence: Evidence, member: AdapterView, cpus: Cpus, line: SetLine) -> list[str]:
    keys = set_keys(member.known)
    processors = evidence.processors
    given = (keys.base, keys.max, keys.max_processors)
    return powershell.processor_set(
        member.name,
        line,
        processors.names(cpus),
        before=processors.line_of(keys),
        unset=[name for name, key in zip(powershell.SET_PARAMETERS, given, strict=True) if key is None],
        numa_node=_new_node(evidence, member, cpus),
        numa_node_before=keys.preferred_numa_node,
    )


def _steps_aside(
    evidence: Evidence, member: AdapterView, members: Sequence[AdapterView], sets: Mapping[str, Cpus]
) -> int:
    """Return the number of processors that a member's new set shares with the present sets of others.

    Members change in this order, so that a member takes processors after another one has left them.
    """
    present = [set_of(evidence, one) for one in members if one.name != member.name]
    return sum(cpu in one for one in present for cpu in sets[member.name])


# --- sets ---------------------------------------------------------------------------------------------


def _each_alone(evidence: Evidence, members: Sequence[AdapterView], busy_load: float) -> dict[str, Cpus]:
    """Return a run for each member of a team in mode "sum" that is right whether or not the others change.

    It is clear of the others' present sets and of their runs. {} if members share processors, or if a run
    lacks room: the whole team has to change then.
    """
    present = {one.name: set_of(evidence, one) for one in members}
    runs: dict[str, Cpus] = {}
    if shared(present):
        return {}
    for member in members:
        others = frozenset().union(
            *(cpus for name, cpus in present.items() if name != member.name), *runs.values()
        )
        run = _own_run(evidence, [member], members, others, busy_load)
        run = run or _best_run(evidence, [member], members, others)
        need = sum(Room(evidence).cost(queue) for queue in of_vms(member))
        if not run or _headroom(evidence, run, [member]) * busy_load < need:
            return {}
        runs[member.name] = run
    return runs


def _of_earlier(evidence: Evidence, members: Sequence[AdapterView]) -> frozenset[int]:
    """Return the processors of adapters before ``members``: of adapters that overlap, the first one stays."""
    names = {one.name for one in members}
    earlier = takewhile(lambda one: one.name not in names, evidence.adapters)
    return frozenset().union(*(set_of(evidence, one) for one in earlier if of_vms(one)))


def _own_run(
    evidence: Evidence,
    members: Sequence[AdapterView],
    team: Sequence[AdapterView],
    others: frozenset[int],
    busy_load: float,
) -> Cpus:
    """Return the set that some adapters are configured to have, if it is right and has room; else ()."""
    configured = {evidence.processors.configured(set_keys(one.known)) for one in members}
    cpus = configured.pop() if len(configured) == 1 else None
    if not cpus or len(cpus) < 2 or not set(cpus) <= _allowed(evidence, members, team) - others:
        return ()
    need = sum(Room(evidence).cost(queue) for one in members for queue in of_vms(one))
    fits = _headroom(evidence, cpus, members) * busy_load >= need
    return cpus if fits and evidence.processors.line_for(cpus) is not None else ()


def _apart_from_others(evidence: Evidence, members: Sequence[AdapterView]) -> Cpus:
    """Return the best run for adapters that share one; clear of other adapters if that leaves room enough."""
    names = {one.name for one in members}
    others = frozenset().union(
        *(set_of(evidence, one) for one in evidence.adapters if one.name not in names and of_vms(one))
    )
    need = sum(Room(evidence).cost(queue) for one in members for queue in of_vms(one))
    apart = _best_run(evidence, members, members, others)
    if apart and _headroom(evidence, apart, members) * 0.5 >= need:
        return apart
    return _best_run(evidence, members, members, frozenset())


def _best_run(
    evidence: Evidence, members: Sequence[AdapterView], team: Sequence[AdapterView], others: frozenset[int]
) -> Cpus:
    """Return the run of processors with most room; members of ``team`` keep their default queues' cores."""
    runs = _runs(evidence, _allowed(evidence, members, team) - others)
    return max(runs, key=lambda run: (_headroom(evidence, run, members), -run[0]), default=())


def _headroom(evidence: Evidence, run: Cpus, members: Sequence[AdapterView]) -> float:
    """Return the processor time of a run that queues of other adapters, and default queues, leave."""
    names = {one.name for one in members}
    free = 0.0
    for cpu in (evidence.cpu[one] for one in run):
        taken = sum(
            evidence.need(cpu, one) for one in cpu.queues if one.adapter not in names or one.queue_id == 0
        )
        free += max(0.0, 1.0 - taken)
    return round(free, 6)


def _allowed(
    evidence: Evidence, members: Sequence[AdapterView], team: Sequence[AdapterView]
) -> frozenset[int]:
    """Return the processors for all of some adapters: on their node, off the default queues of their team."""
    fitting = [_near(evidence, one) for one in members]
    usable = frozenset.intersection(*fitting) or fitting[0]
    cores = {
        evidence.cpu[one.default.known.cpu].known.core
        for one in team
        if one.default is not None and one.default.known.cpu in evidence.cpu
    }
    return frozenset(cpu for cpu in usable if evidence.cpu[cpu].known.core not in cores) or usable


def _near(evidence: Evidence, adapter: AdapterView) -> frozenset[int]:
    """Return the usable processors on an adapter's node; all usable ones if it has none."""
    usable = [evidence.cpu[cpu] for cpu in evidence.processors.usable if not evidence.cpu[cpu].down]
    near = [cpu for cpu in usable if cpu.known.numa_node == adapter.known.numa_node]
    return frozenset(cpu.id for cpu in near or usable)


def _runs(evidence: Evidence, cpus: Iterable[int]) -> list[Cpus]:
    """Cut processors into runs that a line gives: consecutive usable ones of one group and node."""
    wanted, processors = set(cpus), evidence.processors
    runs: list[list[int]] = [[]]
    for cpu in processors.usable:
        last = runs[-1][-1] if runs[-1] else None
        if cpu not in wanted or (
            last is not None
            and (processors.place(last).group, processors.nodes.get(last))
            != (processors.place(cpu).group, processors.nodes.get(cpu))
        ):
            runs.append([])
        if cpu in wanted:
            runs[-1].append(cpu)
    return [tuple(run) for run in runs if run]


def parts_of(evidence: Evidence, members: Sequence[AdapterView]) -> dict[str, Cpus]:
    """Return a run of processors of its own, on its NUMA node, for each member; {} if too few exist.

    Members are ordered by the average of their present processors, so that few queues move.
    """
    nodes: defaultdict[int | None, list[AdapterView]] = defaultdict(list)
    for member in members:
        nodes[member.known.numa_node].append(member)
    parts: dict[str, Cpus] = {}
    for of_node in nodes.values():
        cuts = _cut(_runs(evidence, _allowed(evidence, of_node, members)), len(of_node))
        if len(cuts) < len(of_node):
            cuts = _cut(_runs(evidence, _near(evidence, of_node[0])), len(of_node))
        if len(cuts) < len(of_node):
            return {}
        for member, part in zip(sorted(of_node, key=lambda one: _middle(evidence, one)), cuts, strict=True):
            parts[member.name] = part
    used = [cpu for part in parts.values() for cpu in part]
    if len(set(used)) < len(used):  # a node without processors uses those of other nodes
        return {}
    return {member.name: parts[member.name] for member in members}


def _stepwise(
    evidence: Evidence, members: Sequence[AdapterView], parts: dict[str, Cpus], busy_load: float
) -> dict[str, Cpus]:
    """Return parts that members can take one after another without sharing more than before at any time.

    Where no order does that, members first narrow: they keep what their part and their present set share.
    """
    present = {one.name: set_of(evidence, one) for one in members}
    before, now = shared(present), dict(present)
    for member in (
        sorted(members, key=lambda one: _steps_aside(evidence, one, members, parts)) if parts else ()
    ):
        now[member.name] = frozenset(parts[member.name])
        if not shared(now) <= before:
            break
    else:
        return parts
    narrow = {}
    for member in members:
        runs = _runs(evidence, present[member.name].intersection(parts[member.name]))
        run = max(runs, key=len, default=())
        need = sum(Room(evidence).cost(queue) for queue in of_vms(member))
        fits = run and _headroom(evidence, run, [member]) * busy_load >= need
        narrow[member.name] = run if fits else parts[member.name]
    return narrow


def _cut(runs: Sequence[Cpus], count: int) -> list[Cpus]:
    """Cut runs into ``count`` parts, as equal as runs allow, in order; none if processors are too few."""
    pieces = [0] * len(runs)
    for _ in range(count):
        free = [place for place, run in enumerate(runs) if pieces[place] < len(run)]
        if not free:
            return []
        largest = max(free, key=lambda place: (len(runs[place]) / (pieces[place] + 1), -place))
        pieces[largest] += 1
    parts = []
    for run, number in zip(runs, pieces, strict=True):
        marks = [place * len(run) // number for place in range(number + 1)] if number else []
        parts += [run[low:high] for low, high in pairwise(marks)]
    return parts


def _middle(evidence: Evidence, member: AdapterView) -> float:
    """Return the average number of a member's present processors; infinity if they are not known."""
    cpus = set_of(evidence, member)
    return sum(cpus) / len(cpus) if cpus else float("inf")


# --- queues -------------------------------------------------------------------------------------------


def units_of(members: Sequence[AdapterView], together: bool = True) -> list[list[QueueView]]:
    """Return the queues of members by unit; ``together``: a VM's queues on several members are one unit."""
    if not together or len(members) == 1:
        return [[queue] for member in members for queue in of_vms(member)]
    units: defaultdict[tuple[str, int], list[QueueView]] = defaultdict(list)
    for member in members:
        for unit, queue in numbered(member).items():
            units[unit].append(queue)
    return list(units.values())


def numbered(member: AdapterView) -> dict[tuple[str, int], QueueView]:
    """Return a member's queues by VM and by running number within the VM, from 1."""
    counts: Counter[str] = Counter()
    queues = {}
    for queue in of_vms(member):
        counts[called(queue)] += 1
        queues[called(queue), counts[called(queue)]] = queue
    return queues


def _moves(
    evidence: Evidence, units: Sequence[Unit], sets: Mapping[str, Cpus], room: Room, busy_load: float
) -> list[Request]:
    """Return the moves of units to processors of their sets, most expensive first."""
    costs = {id(unit): sum(room.cost(queue) for queue in unit) for unit in units}
    staying = _staying(evidence, units, sets, costs, busy_load)
    moving = [unit for unit in units if id(unit) not in staying]
    for unit in moving:  # a unit's own work is no reason to leave where it is
        for queue in unit:
            room.take_out(queue)
    requests = []
    for unit in sorted(moving, key=lambda one: (-costs[id(one)], one[0].adapter, one[0].queue_id)):
        cpus = sets[unit[0].adapter]
        target = room.coolest(evidence.cpu[cpu] for cpu in cpus)
        assert target is not None
        for queue in unit:
            request = room.put(queue, target)
            if (queue.planned_cpu, queue.known.cpu) != (target, target):
                requests.append(request)
    return requests


def _staying(
    evidence: Evidence,
    units: Sequence[Unit],
    sets: Mapping[str, Cpus],
    costs: Mapping[int, float],
    busy_load: float,
) -> set[int]:
    """Return the units that stay: together, in their set, and alone or heaviest where it is too busy."""
    there: defaultdict[int, list[Unit]] = defaultdict(list)
    for unit in units:
        home, *others = {queue.planned_cpu for queue in unit}
        if home is not None and not others and home in sets[unit[0].adapter]:
            there[home].append(unit)
    staying: set[int] = set()
    for cpu, its in there.items():
        if evidence.demand.get(cpu, 0.0) >= busy_load:
            with_default = not all(map(evidence.is_plain, evidence.cpu[cpu].queues))
            its = [] if with_default else [max(its, key=lambda one: (costs[id(one)], -one[0].queue_id))]
        staying |= {id(unit) for unit in its}
    return staying
