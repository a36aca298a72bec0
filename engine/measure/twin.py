"""The twin of a measured host: a scenario with its processors, adapters, queues and traffic.

Each value has a comment that says whether it was measured, derived or assumed.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from engine.advice.evidence import Evidence
from engine.counted import counted
from engine.measure.calibration import Calibration, calibrate
from engine.measure.host import MeasuredHost
from engine.measure.twin_adapter import AdapterTwin, HostFacts
from engine.measure.twin_text import MEANINGS, Known, Sheet, Value
from engine.measure.twin_traffic import Flow, write_traffic
from engine.scenario.keys import MAX_CPUS, MAX_MEMBERS
from engine.scenario.load import loads
from engine.scenario.model import BalancerSpec, HostSpec, Scenario, Windows
from engine.scenario.processor_set import default_group_sizes, parse_place
from engine.scenario.values import check_adapter_name, check_number, one_line, show
from engine.telemetry.config import Config, CpuConfig

MAX_TWIN_BYTES: Final = 1 << 30
"""Limit of memory for all receive buffers of a twin."""


@dataclass(frozen=True)
class Twin:
    """A scenario made of a measured host.

    ``text`` is the file, ``scenario`` what it says. ``adapters`` and ``queue_ids`` have the twin's name of
    each adapter and, by adapter, its id of each queue it has; ``cpus`` its number of each processor.
    ``unknown`` are sentences: what was not measured, so that the twin may differ in it; ``counts`` has the
    number of values that are measured, derived and assumed.
    """

    text: str
    scenario: Scenario
    adapters: Mapping[str, str]
    queue_ids: Mapping[str, Mapping[int, int]]
    cpus: Mapping[int, int]
    calibrated: bool
    remarks: Sequence[str]
    unknown: Sequence[str]
    counts: Mapping[Known, int]


def make_twin(measured: MeasuredHost) -> Twin:
    """Make the twin of a measured host with at least two readings. What is not known gets the default; what
    does not fit a scenario is left out or moved into its bounds; both are said."""
    return _Maker(measured).make()


class _Maker:
    """Makes one twin."""

    def __init__(self, measured: MeasuredHost) -> None:
        self._measured = measured
        self._config: Config = measured.config
        self._evidence = Evidence(measured.config, measured.readings[-1], measured.readings[0])
        self._sheet = Sheet()
        self._remarks: list[str] = []
        self._cpus = _numbered(self._config.cpus)

    def make(self) -> Twin:
        host = self._host()
        of_model = bool(self._config.cpu_model) or not self._is_measured
        facts = HostFacts(host, self._cpus, self._evidence.cpu, of_model)
        names = _Names()
        twins = [
            AdapterTwin(view, names.unique(view.adapter), number, facts)
            for number, view in enumerate(self._evidence.adapters)
        ]
        _fit_memory(twins, self._remarks)
        calibration = calibrate(self._measured, hyperthreading=host.hyperthreading)
        for one in twins:
            one.write(self._sheet)
            self._remarks += one.remarks
        flows = self._teams(twins, names)
        self._cpu(calibration)
        self._balancer()
        self._remarks += write_traffic(self._sheet, flows)
        text = "\n".join(f"# {one_line(one)}" for one in self._title()) + "\n\n" + self._sheet.text
        return Twin(
            text,
            loads(text, "the twin"),
            {one.view.adapter: one.name for one in twins},
            {one.view.adapter: one.queue_ids for one in twins},
            self._cpus,
            calibration.done,
            tuple(dict.fromkeys(map(one_line, self._remarks))),
            tuple(map(one_line, self._unknown(twins, calibration))),
            dict(self._sheet.counts),
        )

    @property
    def _is_measured(self) -> bool:
        """Whether a column's source is told, as by a measured host only."""
        return any(one.sources is not None for one in self._measured.readings[-1].adapters.values())

    def _title(self) -> list[str]:
        seconds = self._evidence.span_s
        readings = counted(len(self._measured.readings), "reading")
        return [
            f"The twin of host {show(self._config.host)}, made from {self._measured.origin}",
            f"({readings} over {seconds:.3g} s). Each value is",
            *(f"  {kind}: {meaning}" for kind, meaning in MEANINGS.items()),
        ]

    # --- the host ---------------------------------------------------------------------------------

    def _host(self) -> HostSpec:
        config, sheet = self._config, self._sheet
        sheet.table("[host]")
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", config.host)[:64] or "host"
        other = "" if name == config.host else f"{show(config.host)} is no name of a host here"
        sheet.put("name", Value(name, "measured", other))
        windows = next((one for one in get_args(Windows) if one == config.windows), None)
        if windows is not None:
            sheet.put("windows", Value(windows, "measured"))
        elif config.windows is not None:
            self._remarks.append(f"windows {show(config.windows)} is no release with VMQ here: left out")
        cpus = max(self._cpus.values(), default=0) + 1
        threads = self._hyperthreading(cpus)
        nodes = self._numa_nodes(cpus)
        sheet.put("cpus", Value(cpus, "measured" if self._cpus else "assumed"))
        sheet.put("hyperthreading", threads)
        sheet.put("numa_nodes", nodes)
        sizes = self._group_sizes(cpus, bool(threads.value), int(str(nodes.value)))
        if sizes is not None:
            sheet.put("group_sizes", Value(sizes, "measured"))
        return HostSpec(
            name=name,
            cpus=cpus,
            hyperthreading=bool(threads.value),
            numa_nodes=int(str(nodes.value)),
            windows=windows,
            group_sizes=sizes,
        )

    def _hyperthreading(self, cpus: int) -> Value:
        threads: bool | None = self._config.hyperthreading
        if threads is None:
            return Value(False, "assumed")
        cores = {self._cpus[one.id]: one.core for one in self._config.cpus if one.id in self._cpus}
        pairs = [(cores.get(cpu), cores.get(cpu + 1)) for cpu in range(0, cpus - 1, 2)]
        shared = Counter(core for core in cores.values() if core is not None)
        if not threads or (len(shared) == len(cores) and cores):
            return Value(False, "measured")
        if cpus % 2 == 0 and all(first == second is not None for first, second in pairs):
            return Value(True, "measured")
        why = "its hyper-threads are not processors 2k and 2k+1, as a scenario has them"
        self._remarks.append(f"hyper-threading is left out: {why}")
        return Value(False, "assumed", why)

    def _numa_nodes(self, cpus: int) -> Value:
        nodes: int | None = self._config.numa_nodes
        if nodes is None:
            return Value(1, "assumed")
        even = nodes > 0 and cpus % nodes == 0 and cpus <= MAX_CPUS
        on_node = {self._cpus[one.id]: one.numa_node for one in self._config.cpus if one.id in self._cpus}
        if even and all(one in (None, cpu * nodes // cpus) for cpu, one in on_node.items()):
            return Value(nodes, "measured")
        why = f"its {counted(nodes, 'node')} do not split the processors evenly and in order"
        self._remarks.append(f"NUMA nodes are left out: {why}")
        return Value(1, "assumed", why)

    def _group_sizes(self, cpus: int, threads: bool, nodes: int) -> list[int] | None:
        """Return the sizes of the processor groups; None if they are the default ones or not known."""
        places = [parse_place(one.name) for one in self._config.cpus if one.id in self._cpus]
        if len(places) < cpus or None in places:
            return None
        sizes = Counter(place.group for place in places if place is not None)
        listed = [sizes[group] for group in range(len(sizes))]
        fits = all(0 < size <= 64 and not (threads and size % 2) for size in listed)
        differs = tuple(listed) != default_group_sizes(cpus, nodes)
        return listed if fits and differs and sum(listed) == cpus else None

    # --- teams, costs, traffic --------------------------------------------------------------------

    def _teams(self, twins: Sequence[AdapterTwin], names: "_Names") -> dict[str, list[Flow]]:
        """Write the teams; return the flows to each team and each adapter in none."""
        flows: dict[str, list[Flow]] = {}
        members: dict[tuple[str, str], list[AdapterTwin]] = {}
        for one in twins:
            settings = one.view.known
            if settings.team is None:
                flows[one.name] = one.flows
            elif settings.team_mode not in ("sum", "min", "primary"):
                flows[one.name] = one.flows
                self._remarks.append(
                    f"{one.name}: team {show(settings.team)} is left out: its mode is not known"
                )
            else:
                members.setdefault((settings.team, settings.team_mode), []).append(one)
        for (team, mode), of_team in members.items():
            of_team, others = of_team[:MAX_MEMBERS], of_team[MAX_MEMBERS:]
            flows |= {one.name: one.flows for one in others}
            name = names.unique(team)
            self._sheet.table("[[team]]")
            self._sheet.put("name", Value(name, "measured"))
            self._sheet.put("members", Value([one.name for one in of_team], "measured"))
            self._sheet.put("mode", Value(mode, "measured"))
            flows[name] = [flow for one in of_team for flow in one.flows]
        return {name: of_target for name, of_target in flows.items() if of_target}

    def _cpu(self, calibration: Calibration) -> None:
        self._sheet.table("[cpu]")
        self._sheet.comments(calibration.sentences)
        for key, value in calibration.values.items():
            self._sheet.put(key, value)

    def _balancer(self) -> None:
        given = self._config.balancer
        spec = BalancerSpec()
        if given.get("mode") != "dynamic":
            return
        self._sheet.table("[balancer]")
        self._sheet.put("mode", Value("dynamic", "measured"))
        for key in ("interval_ms", "cooldown_ms", "max_moves"):
            try:
                value = int(check_number(given.get(key), 1 if key != "cooldown_ms" else 0, 3_600_000))
            except ValueError:
                continue
            self._sheet.put(key, Value(min(value, 4096) if key == "max_moves" else value, "measured"))
        try:
            high, low = (check_number(given.get(key), 0.01, 1) for key in ("scale_out", "scale_in"))
        except ValueError:
            high, low = spec.scale_out, spec.scale_in
        if low < high:
            self._sheet.put("scale_out", Value(high, "measured"))
            self._sheet.put("scale_in", Value(low, "measured"))

    def _unknown(self, twins: Sequence[AdapterTwin], calibration: Calibration) -> list[str]:
        """Return sentences: what was not measured, so that the twin may differ from the host in it."""
        sentences = []
        unknown = [f"{one.name}: {queue.called}" for one in twins for queue in one.unknown_queues]
        if unknown:
            listed = ", ".join(unknown[:8]) + (", …" if len(unknown) > 8 else "")
            sentences.append(f"frames of {counted(len(unknown), 'queue')} are not known: {listed}")
        sentences += [
            f"which queue took {one.not_sent:,.6g} frames/s of {one.name}: no known one; the twin lacks them"
            for one in twins
            if one.not_sent
        ]
        if not calibration.done:
            sentences.append(f"what frames cost a processor ({calibration.why_not})")
        blind = [one.name for one in twins if any(each.drops is None for each in one.view.queues)]
        if blind:
            sentences.append(f"drops by queue of {', '.join(blind)}, and so bursts")
        spread = sorted({one.view.known.team or "" for one in twins if one.view.known.team_mode == "min"})
        if spread:
            sentences.append(f"which member of {', '.join(spread)} each flow comes in on")
        placed = [one.name for one in twins if one.without_cpu]
        if placed:
            sentences.append(f"the processors of queues of {', '.join(placed)} are not known")
        return sentences


def _numbered(cpus: Sequence[CpuConfig]) -> dict[int, int]:
    """Return the twin's number of each processor: its own, unless that is too high for a scenario."""
    ids = sorted(one.id for one in cpus)
    if ids and ids[-1] < MAX_CPUS:
        return {one: one for one in ids}
    return {one: number for number, one in enumerate(ids[:MAX_CPUS])}


class _Names:
    """Makes names of adapters and teams that fit a scenario, each of them once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def unique(self, name: str) -> str:
        base = "".join(c if c.isprintable() else "-" for c in name).strip()[:240].strip() or "nic"
        chosen, number = base, 1
        while chosen in self._given:
            number += 1
            chosen = f"{base} ({number})"
        self._given.add(check_adapter_name(chosen))
        return chosen


def _fit_memory(twins: Sequence[AdapterTwin], remarks: list[str]) -> None:
    """Lower the buffers' size, then their number, until all fit ``MAX_TWIN_BYTES``."""
    if sum(one.memory_bytes for one in twins) <= MAX_TWIN_BYTES:
        return
    for one in twins:
        one.shrink_frames()
    total = sum(one.memory_bytes for one in twins)
    if total > MAX_TWIN_BYTES:
        for one in twins:
            one.shrink_buffers(MAX_TWIN_BYTES / total)
    remarks.append(f"receive buffers are lowered so that they take at most {MAX_TWIN_BYTES >> 20} MiB in all")
