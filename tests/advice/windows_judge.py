"""Judges an output of the advisor: its findings, for a host that a scenario file describes.

It reads the file itself, as the scenario reference has it, and shares no code with the engine's reader.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from engine.advice.finding import Finding, Request
from tests.advice.windows_host import Adapter, Host, Processor, Team, Vlan, Vmq, Vnic
from tests.advice.windows_typing import Fault, run

GROUP: Final = 64
_SET_KEYS: Final = ("base_processor", "max_processor", "max_processors", "preferred_numa_node")


def groups_of(cpus: int, nodes: int) -> tuple[int, ...]:
    """Sizes of the processor groups: whole NUMA nodes, at most 64 processors each."""
    node = cpus // nodes
    whole = max(1, GROUP // node)
    return tuple(node * min(whole, nodes - first) for first in range(0, nodes, whole))


def host_of(document: Mapping[str, Any], *, gone: Iterable[str] = ()) -> Host:
    """The Windows host that a scenario file describes, without the VMs that are ``gone`` from it."""
    about, rows = document.get("host", {}), document.get("adapter", [{}])
    cpus, nodes = about.get("cpus", 8), about.get("numa_nodes", 1)
    release = about.get("windows") or _newest(rows)
    groups = tuple(about.get("group_sizes", groups_of(cpus, nodes)))
    bare = Host(release, groups, about.get("hyperthreading", False), nodes)
    teams = tuple(_team(release, one) for one in document.get("team", ()))
    return replace(
        bare,
        adapters={row.get("name", "nic0"): _adapter(bare, row) for row in rows},
        vnics=tuple(one for one in _vnics(rows, teams) if one.vm is None or one.vm not in {*gone}),
        teams=teams,
    )


def _newest(rows: Sequence[Mapping[str, Any]]) -> str:
    """The release that a host has at least, by the drivers of its adapters."""
    minor = max(int(str(row.get("ndis_version", "6.30")).partition(".")[2]) for row in rows)
    of_minor = ((20, "2008 R2"), (30, "2012"), (40, "2012 R2"), (60, "2016"), (80, "2019"), (85, "2022"))
    return [release for least, release in of_minor if minor >= least][-1]


def _team(release: str, row: Mapping[str, Any]) -> Team:
    mode = row.get("mode", "min")
    return Team(row.get("name", "team0"), tuple(row["members"]), mode, _is_lbfo(release, mode))


def _is_lbfo(release: str, mode: str) -> bool:
    """Whether a team is LBFO: SET exists from 2016 on, in sum mode only, and is the only one from 2022 on."""
    return release in ("2008 R2", "2012", "2012 R2") or (mode != "sum" and release in ("2016", "2019"))


def _number_of(text: str | None, otherwise: Processor) -> Processor:
    group, _, number = (text or f"{otherwise[0]}:{otherwise[1]}").partition(":")
    return int(group), int(number)


def _adapter(host: Host, row: Mapping[str, Any]) -> Adapter:
    setting = None
    if any(key in row for key in _SET_KEYS):
        group, base = _number_of(row.get("base_processor"), (0, 0))
        most = _number_of(row["max_processor"], (0, 0))[1] if "max_processor" in row else None
        setting = Vmq(group, base, most, row.get("max_processors"), row.get("preferred_numa_node"))
    major, _, minor = str(row.get("ndis_version", "6.30")).partition(".")
    return Adapter(
        row.get("name", "nic0"),
        setting,
        row.get("link_gbps", 10.0),
        (int(major), int(minor)),
        row.get("vmq", True),
        frozenset(host.processor(queue.get("cpu", 0)) for queue in row.get("queue", ())),
    )


def _vnics(rows: Sequence[Mapping[str, Any]], teams: Sequence[Team]) -> Iterator[Vnic]:
    """Each VM's vNICs, one a MAC, with the VLANs of its filters and ports; the host's own, too."""
    vlans: dict[tuple[str | None, str, str], set[int]] = {}
    behind: dict[tuple[str | None, str, str], list[str]] = {}
    for row in rows:
        name = row.get("name", "nic0")
        mates = next(([*team.members] for team in teams if name in team.members), [name])
        for owner, test in _tests(row):
            own = bool(owner.get("management_os"))
            if not own and owner.get("vm") is None:
                continue
            vnic = owner.get("name", "") if own else "Network Adapter"
            key = (None if own else str(owner["vm"]), str(vnic), test["mac"].lower().replace("-", ":"))
            vlan = test.get("vlan")
            vlans.setdefault(key, set()).add(vlan if isinstance(vlan, int) else 0)
            behind[key] = mates
    for (vm, vnic, mac), ids in vlans.items():
        yield Vnic(vm, vnic, Vlan.of(ids), adapters=tuple(behind[vm, vnic, mac]))


def _tests(row: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for queue in row.get("queue", ()):
        for one in queue.get("filter", ()):
            yield queue, one
    for port in row.get("port", ()):
        yield port, port


def judge(host: Host, found: Sequence[Finding], listed: Sequence[Finding] | None = None) -> list[Fault]:
    """Type the lines of each finding, and as one block those of all as they are ``listed`` together (by
    default ``found`` is that list); return what is wrong."""
    faults: list[Fault] = []
    ends: dict[tuple[str, str], tuple[object, Finding]] = {}
    for finding in found:
        typed = run(host, finding.commands)
        faults += (replace(one, rule=finding.rule) for one in typed.faults)
        for target, end in _changes(host, typed.after).items():
            other_end, other = ends.setdefault(target, (end, finding))
            if other_end != end:
                rules = "+".join(sorted({other.rule, finding.rule}))
                lines = f"{other.commands} and {finding.commands}"
                faults.append(Fault("contradicts", lines, " ".join(target), rules))
    if not any(one.kind == "contradicts" for one in faults):
        typed = run(
            host, [line for finding in (found if listed is None else listed) for line in finding.commands]
        )
        known = {(one.kind, one.says) for one in faults}
        faults += [one for one in typed.faults if (one.kind, one.says) not in known]
        one_by_one = run(host, [line for finding in found for line in finding.commands])
        faults += _left_of_106(host, one_by_one.after)
    return faults


def _left_of_106(before: Host, after: Host) -> Iterator[Fault]:
    """Event 106 by configured sets, which no finding of the output clears."""
    for pair, dispute in after.clashes().items():
        if all(before.adapters[name].setting is not None for name in pair):
            yield Fault("106-stays", f"{pair}", f"{sorted(dispute)[:8]}")


def _changes(before: Host, after: Host) -> dict[tuple[str, str], object]:
    """What differs, by adapter or vNIC and what of it."""
    found: dict[tuple[str, str], object] = {}
    for name, one in after.adapters.items():
        was = before.adapters[name]
        if one.setting != was.setting:
            found[name, "set"] = one.setting
        if one.vmq != was.vmq:
            found[name, "VMQ"] = one.vmq
    for had, has in zip(before.vnics, after.vnics, strict=True):
        who = f"{has.vm or ''} {has.name}"
        if has.weight != had.weight:
            found[who, "weight"] = has.weight
        if has.vlan != had.vlan:
            found[who, "VLAN"] = has.vlan
    return found


def one_sided(host: Host, finding: Finding, places: Mapping[str, Iterable[int]]) -> Iterator[Fault]:
    """Where a fix's lines and requests part. ``places``: an adapter's queues after the requests."""
    after = run(host, finding.commands).after
    line = " ; ".join(one for one in finding.commands if one.startswith("Set-"))
    asked = {one.params["adapter"]: _asked(one.params) for one in finding.requests if _sets(one)}
    for name, adapter in after.adapters.items():
        if adapter.setting == host.adapters[name].setting:
            continue
        if not finding.requests:
            yield Fault("no-request", line, f"no request sets {name}", finding.rule)
            continue
        outside = {host.processor(cpu) for cpu in places.get(name, ())} - after.processors_of(name)
        if outside:
            yield Fault("request-differs", line, f"queues of {name} are on {sorted(outside)}", finding.rule)
        if name in asked and host.span(asked[name]) != after.processors_of(name):
            yield Fault("request-differs", line, f"the request sets {asked[name]} of {name}", finding.rule)


def _sets(request: Request) -> bool:
    return request.op == "set_adapter" and any(key in request.params for key in _SET_KEYS)


def _asked(params: Mapping[str, Any]) -> Vmq:
    group, base = _number_of(params.get("base_processor"), (0, 0))
    most = _number_of(params["max_processor"], (0, 0))[1] if params.get("max_processor") else None
    return Vmq(group, base, most, params.get("max_processors"), params.get("preferred_numa_node"))
