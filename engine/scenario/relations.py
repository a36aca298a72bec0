"""Rules between the values of a scenario (contract 3, NDIS.md "Bad input").

The numbers of the CPU model are exact fractions here, not floats.
"""

from fractions import Fraction
from typing import Final

from engine.counted import counted
from engine.scenario.keys import MAX_HOST_QUEUES, KeyPath
from engine.scenario.model import (
    AdapterSpec,
    BalancerSpec,
    CpuSpec,
    FlowSpec,
    HostSpec,
    MixSpec,
    PortSpec,
    QueueSpec,
    Scenario,
    TeamSpec,
    TrafficSpec,
)
from engine.scenario.processor_set import MAX_GROUP_SIZE, HostProcessors, default_group_sizes
from engine.scenario.values import BROADCAST, MAX_FRAME_BYTES, Vlan, check_filter_vlan, parse_address, show

_MAX_PRODUCT: Final = 2**62
"""The kernels use 64-bit integers; the products of the cost model for the largest DPC must fit."""


class MisfitError(Exception):
    """A value does not fit: its path, and the reason as a sentence."""

    def __init__(self, path: KeyPath, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def check_relations(scenario: Scenario) -> None:
    """Raise ``MisfitError`` for the first value, in the model's order, that conflicts with the others."""
    _check_host(scenario.host)
    names: dict[str, int] = {}
    for a, adapter in enumerate(scenario.adapter):
        first = names.setdefault(adapter.name, a)
        if first != a:
            raise MisfitError(
                ("adapter", a, "name"),
                f"{show(adapter.name)} is the name of adapter[{first}] already (a name of its own fits)",
            )
        _check_adapter(("adapter", a), adapter, scenario.host)
    _check_queues(scenario.adapter)
    _check_teams(scenario.team, names)
    _check_cpu(scenario.cpu)
    check_balancer(scenario.balancer)
    if scenario.traffic is not None:
        _check_no_member(scenario)
        check_traffic(scenario.traffic, targets(scenario))


def targets(scenario: Scenario) -> list[str]:
    """Return the names that traffic may be sent to: adapters that are in no team, then teams."""
    teamed = {name for team in scenario.team for name in team.members}
    alone = [adapter.name for adapter in scenario.adapter if adapter.name not in teamed]
    return [*alone, *(team.name for team in scenario.team)]


def _check_queues(adapters: list[AdapterSpec]) -> None:
    """Raise ``MisfitError`` for the adapter whose queues exceed the host's limit, ``MAX_HOST_QUEUES``."""
    total = 0
    for a, adapter in enumerate(adapters):
        total += 1 + len(adapter.queue)
        if total > MAX_HOST_QUEUES:
            raise MisfitError(
                ("adapter", a, "queue"),
                f"{counted(len(adapter.queue), 'queue')} make {total:,} on the host, each adapter's default"
                f" queue included ({MAX_HOST_QUEUES:,} of all adapters fit)",
            )


def _check_no_member(scenario: Scenario) -> None:
    """Check that no mix feeds a single member of a team."""
    team_of = {name: team.name for team in scenario.team for name in team.members}
    for m, mix in enumerate(scenario.traffic.mix if scenario.traffic is not None else ()):
        if mix.adapter in team_of:
            raise MisfitError(
                ("traffic", "mix", m, "adapter"),
                f"{show(mix.adapter)} is a member of a team ({show(team_of[mix.adapter])} fits)",
            )


def _check_teams(teams: list[TeamSpec], adapters: dict[str, int]) -> None:
    names: dict[str, str] = {name: f"adapter[{a}]" for name, a in adapters.items()}
    team_of: dict[str, int] = {}
    for t, team in enumerate(teams):
        first = names.setdefault(team.name, f"team[{t}]")
        if first != f"team[{t}]":
            raise MisfitError(
                ("team", t, "name"),
                f"{show(team.name)} is the name of {first} already (a name of its own fits)",
            )
        for m, name in enumerate(team.members):
            path: KeyPath = ("team", t, "members", m)
            if name not in adapters:
                listed = ", ".join(map(show, adapters))
                raise MisfitError(path, f"{show(name)} is not an adapter of this scenario ({listed} fits)")
            if name in team_of:
                where = "this team" if team_of[name] == t else f"team[{team_of[name]}]"
                raise MisfitError(path, f"{show(name)} is in {where} already (an adapter is in one team)")
            team_of[name] = t


def _check_cpu(cpu: CpuSpec) -> None:
    if inexact := inexact_key(cpu):
        key, sentence = inexact
        raise MisfitError(("cpu", key), f"{sentence} (fewer digits fit, or a lower quota or lower costs)")


def check_balancer(balancer: BalancerSpec) -> None:
    """Raise ``MisfitError`` if a queue that moved home could move away again at once."""
    if balancer.scale_in >= balancer.scale_out:
        raise MisfitError(
            ("balancer", "scale_in"),
            f"{balancer.scale_in:.12g} is not below scale_out, {balancer.scale_out:.12g}"
            " (so that a queue that came home is not sent away again)",
        )


def check_traffic(traffic: TrafficSpec, adapters: list[str]) -> None:
    """Raise ``MisfitError`` for the first value of ``[traffic]`` that conflicts with others or the host."""
    for m, mix in enumerate(traffic.mix):
        _check_mix(("traffic", "mix", m), mix, adapters)


def _check_host(host: HostSpec) -> None:
    if host.hyperthreading and host.cpus % 2:
        raise MisfitError(
            ("host", "cpus"), f"{host.cpus} is odd, and hyper-threads come in pairs (an even number fits)"
        )
    if host.cpus % host.numa_nodes:
        divisors = [str(n) for n in range(1, host.cpus + 1) if host.cpus % n == 0]
        raise MisfitError(
            ("host", "numa_nodes"),
            f"{host.numa_nodes} does not divide the {counted(host.cpus, 'processor')}"
            f" ({', '.join(divisors)} fits)",
        )
    _check_groups(host)


def _check_groups(host: HostSpec) -> None:
    sizes = host.group_sizes
    if sizes is None:
        return
    if sum(sizes) != host.cpus:
        fitting = ", ".join(map(str, default_group_sizes(host.cpus, host.numa_nodes)))
        raise MisfitError(
            ("host", "group_sizes"),
            f"the groups have {counted(sum(sizes), 'processor')}, and the host has {host.cpus}"
            f" ([{fitting}] fits, or left out)",
        )
    odd = next((g for g, size in enumerate(sizes) if host.hyperthreading and size % 2), None)
    if odd is not None:
        raise MisfitError(
            ("host", "group_sizes", odd),
            f"{sizes[odd]} is odd, and a group has whole cores of two hyper-threads (an even number fits)",
        )


def check_set(path: KeyPath, adapter: AdapterSpec, processors: HostProcessors) -> None:
    """Raise ``MisfitError`` for a key of an adapter's processor set that does not fit the host."""
    keys = adapter.set_keys
    if keys.preferred_numa_node is not None:
        node = (*path, "preferred_numa_node")
        _check_below(node, keys.preferred_numa_node, processors.numa_nodes, "a NUMA node of the host")
    if keys.base is not None:
        here = (*path, "base_processor")
        if keys.base not in processors.by_place:
            raise MisfitError(
                here,
                f"{show(adapter.base_processor)} is not a processor of the host"
                f" ({processors.groups_in_words} fits)",
            )
        if processors.hyperthreading and keys.base.number % 2:
            below = keys.base._replace(number=keys.base.number - 1)
            raise MisfitError(
                here,
                f"{show(adapter.base_processor)} is odd, and with hyper-threading VMQ uses processors of even"
                f" number only ({show(str(below))} fits)",
            )
    if keys.max is not None:
        first = processors.line_of(keys)
        if not first.base_number <= keys.max.number < MAX_GROUP_SIZE or keys.max.group != first.group:
            raise MisfitError(
                (*path, "max_processor"),
                f"{show(adapter.max_processor)} does not end a set that begins with"
                f" {first.group}:{first.base_number} ({first.group}:{first.base_number}.."
                f"{first.group}:{MAX_GROUP_SIZE - 1} fits: a set lies in one group)",
            )


def _check_below(path: KeyPath, value: int, bound: int, what: str) -> None:
    if not 0 <= value < bound:
        raise MisfitError(path, f"{show(value)} is not {what} (0..{bound - 1})")


def _check_adapter(path: KeyPath, adapter: AdapterSpec, host: HostSpec) -> None:
    smallest, largest = adapter.min_lookahead_bytes, adapter.max_lookahead_bytes
    for key, value in (("min_lookahead_bytes", smallest), ("max_lookahead_bytes", largest)):
        if value and adapter.ndis_minor >= 30:
            raise MisfitError(
                (*path, key),
                f"{value} asks for a lookahead split, which NDIS {adapter.ndis_version} does not have"
                ' (0 fits, or an ndis_version before "6.30")',
            )
    if smallest > largest:
        raise MisfitError(
            (*path, "min_lookahead_bytes"),
            f"{smallest} is above max_lookahead_bytes, {largest} (0..{largest} fits)",
        )
    if adapter.buffers is not None and adapter.buffers < adapter.default_queue_buffers:
        raise MisfitError(
            (*path, "buffers"),
            f"{adapter.buffers} is less than the default queue's {adapter.default_queue_buffers}"
            f" ({adapter.default_queue_buffers} or more fits)",
        )
    _check_below(
        (*path, "default_queue_cpu"), adapter.default_queue_cpu, host.cpus, "a processor of the host"
    )
    _check_below((*path, "numa_node"), adapter.numa_node, host.numa_nodes, "a NUMA node of the host")
    check_set(path, adapter, host.processors)
    if adapter.queue and not adapter.vmq:
        raise MisfitError((*path, "queue", 0), "a queue, but VMQ is off (none fits, or vmq = true)")
    for p, port in enumerate(adapter.port):
        _check_owner((*path, "port", p), port, needed=True)
    if len(adapter.queue) > adapter.max_queues:
        raise MisfitError(
            (*path, "queue", adapter.max_queues),
            f"one queue more than the adapter has (max_queues = {adapter.max_queues})",
        )
    filters: dict[tuple[str, Vlan], KeyPath] = {}
    for q, queue in enumerate(adapter.queue):
        queue_path = (*path, "queue", q)
        if queue.cpu is not None:
            _check_below((*queue_path, "cpu"), queue.cpu, host.cpus, "a processor of the host")
        _check_owner(queue_path, queue)
        _check_lookahead((*queue_path, "lookahead_bytes"), queue, adapter)
        _check_filters(queue_path, queue, adapter, filters)


def _check_owner(path: KeyPath, spec: PortSpec | QueueSpec, *, needed: bool = False) -> None:
    if spec.vm is not None and spec.management_os:
        raise MisfitError(
            (*path, "management_os"),
            "true beside a vm (one of the two fits: a VM's name, or the host itself)",
        )
    if needed and spec.vm is None and not spec.management_os:
        raise MisfitError((*path, "vm"), "missing (1..256 printable characters, or management_os = true)")


def _check_lookahead(path: KeyPath, queue: QueueSpec, adapter: AdapterSpec) -> None:
    if not queue.lookahead_bytes:
        return
    if adapter.ndis_minor >= 30:
        raise MisfitError(
            path,
            f"{queue.lookahead_bytes} asks for a lookahead split, which NDIS {adapter.ndis_version}"
            " does not have (0 fits)",
        )
    if queue.lookahead_bytes > adapter.max_lookahead_bytes:
        raise MisfitError(
            path,
            f"{queue.lookahead_bytes} is above the adapter's max_lookahead_bytes"
            f" (0..{adapter.max_lookahead_bytes} fits)",
        )


def _check_filters(
    path: KeyPath, queue: QueueSpec, adapter: AdapterSpec, filters: dict[tuple[str, Vlan], KeyPath]
) -> None:
    for f, spec in enumerate(queue.filter):
        here = (*path, "filter", f)
        try:
            check_filter_vlan(spec.vlan, adapter.ndis_minor, adapter.vlan_filtering)
        except ValueError as error:
            raise MisfitError((*here, "vlan"), str(error)) from None
        first = filters.setdefault((spec.mac, spec.vlan), here)
        if first is not here:
            test = "no VLAN test" if spec.vlan is None else f"VLAN {spec.vlan}"
            raise MisfitError(
                here,
                f"{spec.mac} with {test} is set by queue[{first[3]}].filter[{first[5]}] already"
                " (an adapter takes each MAC and VLAN test once)",
            )
        if len(filters) > adapter.max_filters:
            raise MisfitError(
                here, f"one filter more than the adapter has (max_filters = {adapter.max_filters})"
            )


def _check_mix(path: KeyPath, mix: MixSpec, adapters: list[str]) -> None:
    listed = ", ".join(show(name) for name in adapters)
    if mix.adapter is None and len(adapters) > 1:
        raise MisfitError((*path, "adapter"), f"missing, and the host has several adapters ({listed})")
    if mix.adapter is not None and mix.adapter not in adapters:
        raise MisfitError(
            (*path, "adapter"),
            f"{show(mix.adapter)} is not an adapter of this scenario ({listed})",
        )
    if (mix.rate_pps is None) == (mix.rate_gbps is None):
        given = "neither" if mix.rate_pps is None else "both"
        raise MisfitError(path, f"{given} of rate_pps and rate_gbps given (exactly one fits)")
    if not mix.flow:
        raise MisfitError((*path, "flow"), "missing (a mix needs at least one flow)")
    for f, flow in enumerate(mix.flow):
        _check_destination((*path, "flow", f, "mac"), flow)


def _check_destination(path: KeyPath, flow: FlowSpec) -> None:
    if flow.mac is None:
        if flow.kind == "unicast":
            raise MisfitError(path, "missing (a unicast flow needs its destination MAC)")
        return
    address = parse_address(flow.mac)
    group = bool(address >> 40 & 1)
    match flow.kind:
        case "broadcast":
            fits, what = address == BROADCAST, "the broadcast address (or left out)"
        case "multicast":
            fits, what = (
                group and address != BROADCAST,
                "a multicast address (the first byte odd, not broadcast)",
            )
        case _:
            fits, what = not group and address != 0, "a unicast address (the first byte even, not all zero)"
    if not fits:
        raise MisfitError(path, f"{show(flow.mac)} is not {what}, as kind {show(flow.kind)} needs")


def as_written(number: float) -> Fraction:
    """Return a number from a scenario file as an exact fraction: 0.1 is 1/10, not the nearest float."""
    return Fraction(str(number))


def shared_clock_ghz(cpu: CpuSpec) -> Fraction:
    """Return the cycles per ns that a processor has while its hyper-thread sibling is busy."""
    return as_written(cpu.clock_ghz) * as_written(cpu.smt_share)


def remote_cycles_per_byte(cpu: CpuSpec) -> Fraction:
    """Return the cycles that it takes to copy a byte from another NUMA node."""
    return as_written(cpu.cycles_per_byte) * as_written(cpu.remote_copy_factor)


def inexact_key(cpu: CpuSpec) -> tuple[str, str] | None:
    """Return the first key that has too many digits for exact arithmetic, and the reason; None if all fit.

    The arithmetic must be exact for a DPC of ``quota`` frames of the largest size.
    """
    most_bytes = cpu.quota * MAX_FRAME_BYTES
    local, remote = as_written(cpu.cycles_per_byte), remote_cycles_per_byte(cpu)
    for key, per_byte in (("cycles_per_byte", local), ("remote_copy_factor", remote)):
        if most_bytes * max(per_byte.numerator, per_byte.denominator) >= _MAX_PRODUCT:
            return key, f"{float(per_byte)} cycles per byte has too many digits to be kept exactly"
    cycles = cpu.cycles_per_interrupt + cpu.cycles_per_dpc + cpu.quota * cpu.cycles_per_frame
    cycles += int(most_bytes * max(local, remote))
    clock, shared = as_written(cpu.clock_ghz), shared_clock_ghz(cpu)
    for key, ghz in (("clock_ghz", clock), ("smt_share", shared)):
        if max(cycles * ghz.denominator, ghz.numerator) >= _MAX_PRODUCT:
            return key, (
                f"a clock of {float(ghz)} GHz can't be kept exactly for a DPC of up to {cycles:,} cycles"
            )
    return None
