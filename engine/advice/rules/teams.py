"""Rules about NIC teams: the processors of their members must be disjoint or equal, by mode (event 106)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule, Team
from engine.advice.finding import Finding
from engine.advice.needs import SET, SIBLINGS
from engine.advice.placement import called, of_vms, placement, set_of
from engine.advice.placement import shared as shared_by
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted, noun
from engine.view.adapter import AdapterView
from engine.view.rows import QueueView

_Thing = TypeVar("_Thing")

_COMES_IN = {"min": "any member, so it has", "primary": "the primary member, but it has"}
"""Where frames of a VM come in, by the mode of a team whose members have a queue each for it."""

Sets = Mapping[str, frozenset[int]]
"""For each member: the processors of its VM queues."""


def overlap(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a team in mode "sum" (sum of queues) whose members share processors."""
    for team in _teams(evidence, "sum"):
        shared = shared_by(_sets(evidence, team))
        if not shared:
            continue
        queues = [one for one in _queues(team) if one.planned_cpu in shared]
        loads = [cpu.load for cpu in evidence.cpus if cpu.id in shared and cpu.load is not None]
        load = max(loads, default=None)
        busy = _by_busy_members(queues, thresholds)
        plan = placement(evidence, team.members[0], thresholds.busy_load)
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
            fix=f"Give each member processors of its own: {plan.words}"
            if plan
            else f"There are fewer processors than the {counted(len(team.members), 'member')} need: take one"
            " out of the team, or give the host more",
            requests=plan.requests if plan else [],
            commands=plan.commands if plan else [],
            measure="processors that members share",
            value=float(len(shared)),
            after=0.0 if plan else None,
            estimated=True,
        )


def differ(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a team in mode "min" (min of queues) whose members use different processors."""
    for team in (*_teams(evidence, "min"), *_teams(evidence, "primary")):
        sets = _sets(evidence, team)
        uncommon = _uncommon(sets)
        if not uncommon:
            continue
        members = [one for one in team.members if sets.get(one.adapter)]
        plan = placement(evidence, members[0], thresholds.busy_load)
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
                "frames_of_those_pps": _sum(one.pps for one in _queues(team) if called(one) in split),
            },
            cause=f"A VM's frames come in on {_COMES_IN[team.mode]} a queue on each; Windows gives these the "
            "same processor, and can do that only within a set that all members have (event 106).",
            fix=f"Let all members use processors {plan.words}, and a VM's queues the same one"
            if plan
            else "No processors are there for all members",
            requests=plan.requests if plan else [],
            commands=plan.commands if plan else [],
            measure="processors that not every member uses",
            value=float(len(uncommon)),
            after=0.0 if plan else None,
            estimated=True,
        )


def separate(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report adapters without a common team whose processors overlap: each works as if it were alone."""
    sets = _separate_sets(evidence)
    overlapping = {name for name, cpus in sets.items() if cpus & _of_others(sets, name)}
    if not overlapping:
        return
    both = shared_by(sets)
    names = [one.name for one in evidence.adapters if one.name in overlapping]
    plan = None
    for name in reversed(names):  # the first of them stays where it is
        mine = placement(evidence, evidence.by_name[name], thresholds.busy_load)
        if mine is not None and not _of_others(sets, name).intersection(mine.sets[name]):
            plan = mine
            break
    yield Finding(
        rule="sets-overlap",
        severity="note",
        adapter=names[0],
        key="host",
        where=", ".join(names)[:256],
        says=f"{counted(len(names), 'adapter')} without a common team share {noun(len(both), 'processor')} "
        f"{evidence.processors.names(both)}",
        numbers={"adapters": len(names), "shared_processors": len(both)},
        cause="Each switch places its queues as if its adapter had these processors for itself, so that one "
        "may have the work of several.",
        fix="Give " + name + f" processors of its own: {plan.words}"
        if plan
        else "Give each adapter fewer processors, so that all have some of their own",
        requests=plan.requests if plan else [],
        commands=plan.commands
        if plan
        else [line for one in names[:8] for line in (powershell.queues_of(one),)],
        measure="processors that adapters share",
        value=float(len(both)),
        after=float(len(shared_by({**sets, name: frozenset(plan.sets[name])}))) if plan else None,
        estimated=True,
    )


def _separate_sets(evidence: Evidence) -> dict[str, frozenset[int]]:
    """Return the processors of adapters with VM queues; those of a team, whose rules are its own, as one."""
    sets: dict[str, frozenset[int]] = {}
    teams: dict[str, str] = {}
    for one in evidence.adapters:
        if not of_vms(one):
            continue
        name = teams.setdefault(one.known.team, one.name) if one.known.team is not None else one.name
        sets[name] = sets.get(name, frozenset()) | set_of(evidence, one)
    return sets


def _of_others(sets: Mapping[str, frozenset[int]], name: str) -> frozenset[int]:
    return frozenset().union(*(cpus for other, cpus in sets.items() if other != name))


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
    return [queue for member in team.members for queue in of_vms(member)]


def _sets(evidence: Evidence, team: Team) -> Sets:
    """Return the processors of each member: its configured set, else those planned for its queues, if any."""
    sets = {one.adapter: set_of(evidence, one) for one in team.members}
    return {name: cpus for name, cpus in sets.items() if cpus}


def _uncommon(sets: Sets) -> frozenset[int]:
    """Return the processors that some members use and others don't."""
    every = list(sets.values())
    return frozenset().union(*every) - every[0].intersection(*every[1:]) if every else frozenset()


def _by_busy_members(queues: Sequence[QueueView], thresholds: AdviceThresholds) -> int:
    """Return the number of processors with busy queues of more than one member."""
    busy = {(one.planned_cpu, one.adapter) for one in queues if one.known_pps >= thresholds.idle_pps}
    return sum(members > 1 for members in Counter(cpu for cpu, _ in busy).values())


def _split_vms(members: Sequence[AdapterView]) -> set[str]:
    """Return the VMs whose queues are on different processors on different members."""
    cpus: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for member in members:
        for queue in of_vms(member):
            if (cpu := queue.planned_cpu) is not None:
                cpus[called(queue)][member.name].add(cpu)
    return {vm for vm, used in cpus.items() if len({frozenset(one) for one in used.values()}) > 1}


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


# --- metrics --------------------------------------------------------------------------------------


def _measured(
    count: Callable[[Mapping[str, frozenset[int]]], Iterable[int]],
) -> Callable[[Evidence, Finding], float | None]:
    def measure(evidence: Evidence, finding: Finding) -> float | None:
        team = next((one for one in evidence.teams if f"team {one.name}" == finding.key), None)
        return None if team is None else float(len(set(count(_sets(evidence, team)))))

    return measure


RULES = (
    Rule(
        "team-overlap",
        "A team's members share processors (sum of queues)",
        "event 106, processor sets overlap",
        (3,),
        overlap,
        _measured(shared_by),
        "processors",
        thresholds=("idle_pps",),
        needs=(SET, SIBLINGS),
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
        needs=(SET, SIBLINGS),
    ),
    Rule(
        "sets-overlap",
        "Adapters of separate switches share processors",
        "one switch slows down when the other is busy",
        (3,),
        separate,
        lambda evidence, finding: float(len(shared_by(_separate_sets(evidence)))),
        "processors",
        needs=(SET, SIBLINGS),
    ),
)
