"""Random hosts with their traffic, and what a second of it shows: evidence that is made, not simulated."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Any, Final

import msgspec

from engine.advice.evidence import Evidence, Trace, Trail
from engine.advice.finding import Request
from engine.ndis.counters import DEFAULT_QUEUE_REASONS, names
from engine.ndis.host import Host
from engine.scenario.load import parse_scenario
from engine.scenario.model import Scenario
from engine.service.trial import filled_in
from engine.telemetry.config import AdapterConfig, Config, QueueConfig
from engine.telemetry.snapshot import config_of
from engine.telemetry.stats import AdapterStats, Stats, TopPairs
from tests.ndis.lab import Buffers, Lab

Pair = tuple[str, int | str | None]
"""A MAC, and a VLAN as a filter has it."""

SECONDS: Final = 4
FRAMES_A_PROCESSOR: Final = 600_000
"""What a processor serves in a second."""
_FEW: Final = 64
_BURSTS: Final = 0.01
"""Part of its frames that a queue of few buffers drops, as they come in bursts."""
SERVED: Final = FRAMES_A_PROCESSOR * SECONDS
CYCLES: Final = 2_600_000_000 * SECONDS
RELEASES: Final = {"2012": "6.30", "2012 R2": "6.40", "2016": "6.60", "2019": "6.80", "2022": "6.85"}
NAMES: Final = ("Ethernet 2", "SLOT 3 Port 1", "Bob's \u2018port\u2019")
SHAPES: Final = ((1, 4), (1, 8), (2, 4), (2, 8), (2, 12), (1, 16), (4, 8), (2, 40), (4, 16))
"""NUMA nodes, and processors of each."""
MODES: Final = ("sum", "min", "primary")


@dataclass(frozen=True)
class Case:
    """A host as a scenario file describes it, the frames a second of each pair, and what happens to it:
    operations of the control plane, and ``hold``: a VM keeps a buffer. ``restless`` is a queue (adapter, id)
    that is moved to and fro; with ``swings`` the frames come in a quarter of the time."""

    document: dict[str, Any]
    traffic: Mapping[Pair, int] = field(default_factory=dict)
    mishaps: Sequence[tuple[str, dict[str, Any]]] = ()
    restless: tuple[str, int] | None = None
    swings: bool = False

    @property
    def gone(self) -> set[str]:
        """The VMs that left the host."""
        return {params["vm"] for op, params in self.mishaps if op == "migrate_vm"}

    @cached_property
    def scenario(self) -> Scenario:
        """The document, read."""
        return parse_scenario(self.document)


def _mac(number: int) -> str:
    return f"00:15:5d:00:{number // 256:02x}:{number % 256:02x}"


def random_case(number: int) -> Case:
    """The random host of that number: lone adapters and teams, VMs with and without queues, trunks."""
    pick = Random(number)
    nodes, node = pick.choice(SHAPES)
    cpus = nodes * node
    host: dict[str, Any] = {
        "name": "lab",
        "cpus": cpus,
        "numa_nodes": nodes,
        "hyperthreading": pick.random() < 0.5,
    }
    release = pick.choice([*RELEASES])
    if pick.random() < 0.9:
        host["windows"] = release
    names = NAMES[: pick.randint(1, 3)]
    mode = pick.choice(MODES) if len(names) > 1 and pick.random() < 0.5 else ""
    adapters: list[dict[str, Any]] = [_adapter(pick, name, release, nodes, node) for name in names]
    if mode:  # members of a team are alike
        adapters[1]["link_gbps"] = adapters[0]["link_gbps"]
    document: dict[str, Any] = {"host": host, "adapter": adapters}
    if mode:
        document["team"] = [{"name": "Team 1", "members": [*names[:2]], "mode": mode}]
    traffic: dict[Pair, int] = {}
    processors = pick.choice([range(cpus), range(0, cpus, 2), range(0, min(cpus, 16), 2), [0], [2]])
    for vm in range(pick.randint(1, 10)):
        _vm(pick, vm, adapters, mode, processors, traffic)
    if pick.random() < 0.2:
        _host_vnic(pick, pick.choice(adapters), traffic)
    for adapter in adapters:
        if not adapter["queue"] and pick.random() < 0.5:
            adapter["vmq"] = False
    mishaps = [*_mishaps(pick, adapters)] if pick.random() < 0.4 else []
    if mode in ("", "sum") and pick.random() < 0.2:
        _shadow(pick, adapters, traffic)
    for adapter in adapters:
        if adapter["queue"] and pick.random() < 0.15:  # too few for all of them
            wanted = sum(one.get("buffers", 512) for one in adapter["queue"])
            adapter["buffers"] = 1024 + max(1, round(wanted * pick.uniform(0.5, 0.95)))
    moved = [(one["name"], number) for one in adapters for number in range(1, len(one["queue"]) + 1)]
    restless = pick.choice(moved) if moved and pick.random() < 0.1 else None
    return Case(document, traffic, mishaps, restless, swings=pick.random() < 0.15)


def _shadow(pick: Random, adapters: Sequence[dict[str, Any]], traffic: dict[Pair, int]) -> None:
    """A VM's filter passes any VLAN, and a later queue of another VM has the same MAC, with a VLAN."""
    for adapter in adapters:
        places = [
            (place, queue["filter"][0])
            for place, queue in enumerate(adapter["queue"])
            if "vm" in queue and len(queue["filter"]) == 1 and isinstance(queue["filter"][0]["vlan"], int)
        ]
        if places and len(adapter["queue"]) < adapter["max_queues"]:
            place, test = pick.choice(places)
            adapter["queue"][place] |= {"filter": [{"mac": test["mac"]}]}
            adapter["queue"].append({"name": "clone", "vm": "clone", "filter": [test]})
            traffic[test["mac"], "untagged"] = 2_000
            return


def _mishaps(pick: Random, adapters: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A VM of a queue is paused, leaves, or keeps a queue from being freed; an allocation is forgotten."""
    places = [(one, queue) for one in adapters for queue in range(len(one["queue"]))]
    if not places:
        return
    adapter, index = pick.choice(places)
    queue, of_it = adapter["queue"][index], {"adapter": adapter["name"], "queue_id": index + 1}
    kind = pick.choice(["pause", "leave", "stuck", "forget"])
    if kind == "forget":
        allocated = {"name": "new", "vm": "new", "cpu": 0, "buffers": 64}
        yield "allocate_queue", {"adapter": adapter["name"], **allocated}
    elif "vm" not in queue:
        return
    elif kind == "leave":
        for one in adapters:
            yield "migrate_vm", {"adapter": one["name"], "vm": queue["vm"]}
    else:
        yield "pause_vm", {"adapter": adapter["name"], "vm": queue["vm"]}
    if kind == "stuck":
        yield "hold", of_it
        first = sum(len(one["filter"]) for one in adapter["queue"][:index]) + 1
        for number in range(len(queue["filter"])):
            yield "clear_filter", of_it | {"filter_id": first + number}
        yield "free_queue", of_it


def _host_vnic(pick: Random, adapter: dict[str, Any], traffic: dict[Pair, int]) -> None:
    """Add a vNIC of the host itself, as for live migration."""
    own = {"management_os": True}
    test = {"mac": _mac(250), "vlan": 99}
    if pick.random() < 0.5 and len(adapter["queue"]) < adapter["max_queues"]:
        adapter["queue"].append({"name": "LiveMigration", **own, "cpu": 0, "filter": [test]})
    else:
        adapter["port"].append({**own, **test})
    traffic[_mac(250), 99] = pick.choice([0, 60_000, 500_000])


def _adapter(pick: Random, name: str, release: str, nodes: int, node: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "link_gbps": pick.choice([1, 10, 10, 25]),
        "ndis_version": RELEASES[release],
        "max_queues": pick.choice([2, 8, 31]),
        "default_queue_cpu": pick.choice([0, 0, 2]),
        "numa_node": pick.randint(0, nodes - 1),
        "queue": [],
        "port": [],
    }
    if pick.random() < 0.6:
        base = pick.choice([0, 0, pick.randint(0, node // 2 - 1) * 2])
        row["base_processor"] = f"0:{base}"
        if pick.random() < 0.5:
            row["max_processors"] = pick.randint(1, max(1, (node - base) // 2))
        if pick.random() < 0.2:
            row["max_processor"] = f"0:{pick.choice([base + 2, 63])}"
        if pick.random() < 0.1:
            row["preferred_numa_node"] = 0
    return row


def _vm(
    pick: Random,
    number: int,
    adapters: Sequence[dict[str, Any]],
    mode: str,
    processors: Sequence[int],
    traffic: dict[Pair, int],
) -> None:
    """Add a VM: its queue or port on an adapter, or on both members of a team, and its frames."""
    vm, mac = pick.choice(["vm-{}", "web {}", "Bob's {}"]).format(number), _mac(number + 1)
    vlans: list[int | str] = pick.choice([[10], [10], [20], ["untagged"], [10, 20, 30]])
    at = pick.randint(0, len(adapters) - 1)
    on = [adapters[at]] if mode in ("", "sum") or at > 1 else [*adapters[:2]]
    tests = [{"mac": mac, "vlan": vlan} for vlan in vlans]
    queued = pick.choice([True, True, True, False])
    place = {"cpu": pick.choice(processors)}
    if all("base_processor" in adapter for adapter in on) and pick.random() < 0.8:
        place = {}  # in the set
    buffers = pick.choice([512, 512, 512, 8])
    for adapter in on:
        if queued and len(adapter["queue"]) < adapter["max_queues"]:
            rows = tests[: pick.choice([len(tests), len(tests), len(tests), 1, 0])]
            queue = {"name": vm, "vm": vm, "buffers": buffers, "filter": rows}
            adapter["queue"].append(queue | place)
            adapter["port"] += [{"vm": vm, **one} for one in tests if one not in rows]
        else:
            adapter["port"] += [{"vm": vm, **one} for one in tests]
    rate = pick.choice([0, 0, 2_000, 60_000, 300_000, 900_000])
    traffic |= {(mac, vlan): rate // len(vlans) for vlan in vlans}
    if pick.random() < 0.05:
        traffic[mac, 40] = 5_000  # a VLAN that is none of its own


def lab_of(case: Case) -> Lab:
    """The host of the model, started, without a data plane; its mishaps have happened."""
    host = Host(case.scenario)
    lab = Lab(host, Buffers())
    lab.plane.carry_out(host.start())
    names = [one.spec.name for one in host.adapters]
    for op, params in case.mishaps:
        if op == "hold":
            place = (names.index(params["adapter"]), params["queue_id"])
            lab.plane.held[place].outstanding += lab.plane.held[place].total > 0
        else:
            lab.send(op, **params)
    return lab


def places(config: Config) -> dict[str, list[int]]:
    """Where the queues of each adapter are, the default queue and those that are being freed aside."""
    return {
        one.name: [
            queue.cpu
            for queue in one.queues
            if queue.queue_id and queue.cpu is not None and queue.state not in ("dma_stopped", "freeing")
        ]
        for one in config.adapters
    }


Buffered = Mapping[tuple[str, int], int]
"""The buffers that queues have, by adapter and queue id."""


def evidence_of(
    config: Config,
    traffic: Mapping[Pair, int],
    before: Config,
    buffers: Buffered,
    trace: Trace,
) -> Evidence:
    """Some seconds of a host with this traffic: a processor serves FRAMES_A_PROCESSOR, the rest is dropped.
    ``before``: its configuration at the start."""
    counted = {one.name: _Counted() for one in config.adapters}
    for pair, pps in traffic.items():
        for adapter, share in _arrive(config, pair) or _arrive(before, pair):
            counted[adapter.name].steer(adapter, pair, round(pps * share) * SECONDS)
    demand: dict[int, int] = defaultdict(int)
    for adapter in config.adapters:
        for queue in adapter.queues:
            assert queue.cpu is not None
            demand[queue.cpu] += counted[adapter.name].queues[queue.queue_id]
    ids = [one.id for one in config.cpus]
    stats = Stats(
        seq=2,
        sim_time_ns=SECONDS * 1_000_000_000,
        time_ns=0,
        revision=config.revision,
        cpus={
            "id": [*ids],
            "busy_cycles": [round(CYCLES * min(1.0, demand[cpu] / SERVED)) for cpu in ids],
            "budget_cycles": [CYCLES for _ in ids],
        },
        adapters={one.name: counted[one.name].stats(one, demand, buffers) for one in config.adapters},
    )
    return Evidence(config, stats, None, trace)


def _history(before: Config, config: Config, restless: tuple[str, int] | None) -> Trace:
    """What a trail has of a host: what left it, and the moves of a restless queue, which end where it is."""
    trail = Trail()
    trail.add(before, 0)
    for step in range(1, 6):
        trail.add(_moved(config, restless, step % 2), step * 100_000_000)
    return trail.add(config, 600_000_000)


def _moved(config: Config, restless: tuple[str, int] | None, away: int) -> Config:
    adapters = [
        msgspec.structs.replace(
            one,
            queues=[
                msgspec.structs.replace(queue, cpu=1 - queue.cpu % 2)
                if away and (one.name, queue.queue_id) == restless and queue.cpu is not None
                else queue
                for queue in one.queues
            ],
        )
        for one in config.adapters
    ]
    return msgspec.structs.replace(config, adapters=adapters)


def _arrive(config: Config, pair: Pair) -> list[tuple[AdapterConfig, float]]:
    """The adapters on which a pair's frames come in, with their shares."""
    knowing = [one for one in config.adapters if any(port.mac == pair[0] for port in one.ports)]
    teamed = [one for one in knowing if one.team is not None]
    if teamed and teamed[0].team_mode == "primary":
        first = next(one for one in config.adapters if one.team == teamed[0].team)
        return [(first, 1.0)]
    if teamed and teamed[0].team_mode == "min":
        return [(one, 1 / len(teamed)) for one in teamed]
    serving = [one for one in knowing if any(row.mac == pair[0] for row in one.filters)]
    return [(one, 1.0) for one in (serving or knowing)[:1]]


def _lost(queue: QueueConfig, demand: int) -> float:
    """The share of a queue's frames that is dropped: its processor is full, or its VM keeps all buffers."""
    return max(0.5 if queue.vm_paused else 0.0, 1 - SERVED / max(1, demand))


class _Counted:
    """What a second of traffic counts on an adapter."""

    def __init__(self) -> None:
        self.queues: dict[int, int] = defaultdict(int)
        self.filters: dict[int, int] = defaultdict(int)
        self.reasons: dict[str, int] = defaultdict(int)
        self.top: dict[tuple[str, int | str, str], int] = {}

    def steer(self, adapter: AdapterConfig, pair: Pair, pps: int) -> None:
        mac, vlan = pair
        running = {one.queue_id for one in adapter.queues if one.queue_id and one.state == "running"}
        for row in sorted(adapter.filters, key=lambda one: (one.queue_id, one.filter_id)):
            if row.queue_id in running and row.mac == mac and row.vlan in (vlan, None):
                self.queues[row.queue_id] += pps
                self.filters[row.filter_id] += pps
                return
        known = [port for port in adapter.ports if port.mac == mac]
        fits = any(port.vlan in (vlan, None) for port in known)
        reason = "no_queue" if fits else "vlan_mismatch" if known else "unknown_unicast"
        self.queues[0] += pps
        self.reasons[reason] += pps
        if pps:
            self.top[mac, vlan if vlan is not None else "untagged", reason] = pps

    def stats(self, adapter: AdapterConfig, demand: Mapping[int, int], buffers: Buffered) -> AdapterStats:
        queues = adapter.queues
        frames = [self.queues[one.queue_id] for one in queues]
        lost = [_lost(one, demand[one.cpu]) for one in queues if one.cpu is not None]
        totals = [buffers.get((adapter.name, one.queue_id), 0) for one in queues]
        dropped = [
            round(count * max(share, _BURSTS if total < _FEW else 0.0))
            for count, share, total in zip(frames, lost, totals, strict=True)
        ]
        top = sorted(self.top.items(), key=lambda one: -one[1])
        return AdapterStats(
            port={"offered_frames": sum(frames), "offered_bytes": 600 * sum(frames)},
            queues={
                "id": [one.queue_id for one in queues],
                "generation": [one.generation for one in queues],
                "steered_frames": [*frames],
                "steered_bytes": [600 * count for count in frames],
                "received_frames": [count - drop for count, drop in zip(frames, dropped, strict=True)],
                "dropped_no_buffer": [*dropped],
                "total_buffers": [*totals],
                "low_free_buffers": [
                    0 if drop else total for total, drop in zip(totals, dropped, strict=True)
                ],
                "outstanding": [one.buffers if one.vm_paused else 0 for one in queues],
                "pending": [0 for _ in queues],
            },
            filters={
                "id": [one.filter_id for one in adapter.filters],
                "matched_frames": [self.filters[one.filter_id] for one in adapter.filters],
            },
            freed={},
            default_queue={**dict.fromkeys(names(DEFAULT_QUEUE_REASONS), 0), **self.reasons},
            default_queue_top=TopPairs(
                mac=[one[0] for one, _ in top],
                # The VLANs of pairs are numbers or "untagged".
                vlan=[one[1] for one, _ in top],  # type: ignore[misc]
                reason=[one[2] for one, _ in top],
                frames=[pps for _, pps in top],
                error=[0 for _ in top],
            ),
        )


def scene(case: Case) -> Evidence:
    """What is seen of a case."""
    lab = lab_of(case)
    config = config_of(lab.host)
    before = config_of(lab_of(replace(case, mishaps=())).host) if case.mishaps else config
    names_ = [one.name for one in config.adapters]
    buffers = {(names_[place], queue_id): one.total for (place, queue_id), one in lab.plane.held.items()}
    trace = _history(before, config, case.restless)
    seen = evidence_of(config, case.traffic, before, buffers, trace)
    if not case.swings:
        return seen
    quarter = {pair: pps // 4 for pair, pps in case.traffic.items()}
    worst = {cpu.cpu: seen for cpu in seen.cpus if cpu.drops}
    return replace(evidence_of(config, quarter, before, buffers, trace), worst=worst)


def after(case: Case, requests: Sequence[Request]) -> Config | str:
    """The configuration after the requests of a fix, or the sentence that refuses one."""
    lab = lab_of(case)
    answers: list[Mapping[str, Any]] = []
    for one in requests:
        outcome = lab.send(one.op, **filled_in(one, answers))
        if outcome.status != "ok":
            return f"{one.op} {dict(one.params)}: {outcome.message}"
        answers.append(outcome.result)
    return config_of(lab.host)
