"""A second control plane for one adapter, written from NDIS.md's tables alone (and, for VMs, from its
section on migration), to hold the first against.

It shares no code with ``engine``. It does not prefer one fault over another unless NDIS.md does: it
lists every status a request may be refused with.
"""

import re
from dataclasses import dataclass, field
from typing import Any

TABLE = """
| event | Undefined | Allocated | Set | Running | Paused | Stop DMA | Freeing |
|---|---|---|---|---|---|---|---|
| allocate_queue | Allocated | | | | | | |
| query_queue, set_queue_parameters | | Allocated | Set | Running | Paused | | |
| set_filter | | Set | Set | Running | Running | | |
| clear_filter, last one | | | Allocated | Paused | | | |
| clear_filter, not the last | | | Set | Running | | | |
| enum_filters | | Allocated | Set | Running | Paused | | |
| query_filter | | | Set | Running | | | |
| complete_allocation | | Paused | Running | | | | |
| frame received | | | | Running | | | |
| free_queue | | Stop DMA | | | Stop DMA | | |
| DMA stopped, indication sent | | | | | | Freeing | |
| all indications returned, memory freed | | | | | | | Undefined |
"""
"""NDIS.md, "States and requests", copied."""


def read_table(text: str) -> dict[str, dict[str, str]]:
    """Next state by event and state, spelled as in the table; blank cells left out."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()]
    states = lines[0][1:]
    return {
        event: {state: cell for state, cell in zip(states, cells, strict=True) if cell}
        for event, *cells in lines[2:]
    }


NEXT = read_table(TABLE)
WRITTEN = {
    "Undefined": "undefined",
    "Allocated": "allocated",
    "Set": "set",
    "Running": "running",
    "Paused": "paused",
    "Stop DMA": "dma_stopped",
    "Freeing": "freeing",
}
OPERATIONAL = {"Running": "running", "Stop DMA": "dma_stopped", "Freeing": "dma_stopped"}

STEPS = {(WRITTEN[state], WRITTEN[cell]) for row in NEXT.values() for state, cell in row.items()}
"""Every pair of states, as written in events, that some event leads from and to."""

INVALID, RESOURCES, NOT_FOUND = "INVALID_PARAMETER", "RESOURCES", "FILE_NOT_FOUND"


@dataclass
class ModelQueue:
    state: str
    owner: str
    name: str
    vm: str | None
    cpu: int
    suggested: int
    lookahead: int
    total: int = 0
    target: int = 0
    outstanding: int = 0
    guest: bool = False
    filters: dict[int, tuple[str, Any, str]] = field(default_factory=dict)  # mac, vlan, owner


@dataclass
class Expected:
    """Statuses a request may be refused with; none: it must be accepted, with this status, result, and
    events about a VM."""

    faults: set[str] = field(default_factory=set)
    status: str = "SUCCESS"
    result: dict[str, Any] = field(default_factory=dict)
    vm_events: list[str] = field(default_factory=list)


@dataclass
class Model:
    """One adapter. ``buffers`` in all, queue 0's included."""

    cpus: int
    max_queues: int
    max_filters: int
    buffers: int
    default_buffers: int
    old: bool
    """NDIS 6.20"""
    vlan_filtering: bool
    min_lookahead: int
    max_lookahead: int
    queues: dict[int, ModelQueue] = field(default_factory=dict)
    vms: dict[str, int] = field(default_factory=dict)
    """Every VM known, with its index."""
    stopped: set[str] = field(default_factory=set)
    """VMs that are paused."""
    ports: list[tuple[str, str, Any]] = field(default_factory=list)
    """VM, MAC, VLAN, the one set last at the end."""

    def __post_init__(self) -> None:
        self.queues[0] = ModelQueue("Running", "vsp", "default", None, 0, self.default_buffers, 0)
        self.queues[0].total = self.queues[0].target = self.default_buffers

    # --- what a queue holds ---

    def left(self) -> int:
        return self.buffers - sum(queue.total for queue in self.queues.values())

    def take(self, queue_id: int, count: int) -> None:
        self.queues[queue_id].outstanding += count

    def give_back(self, queue_id: int, count: int) -> None:
        queue = self.queues[queue_id]
        queue.outstanding -= count
        queue.total = max(queue.target, queue.total - count)

    def resize(self, queue: ModelQueue, count: int) -> None:
        queue.target = count
        queue.total = count if count >= queue.total else max(count, queue.outstanding)

    def end(self, queue_id: int) -> None:
        assert NEXT["all indications returned, memory freed"][self.queues[queue_id].state] == "Undefined"
        del self.queues[queue_id]

    # --- what a request must be answered ---

    def faults_of(self, event: str, queue_id: Any, driver: str | None) -> set[str]:
        queue = self.queues.get(queue_id)
        if queue is None or queue.state not in NEXT[event]:
            return {INVALID}
        if driver is not None and queue_id != 0 and queue.owner != driver:
            return {INVALID}
        return set()

    def request(self, op: str, params: dict[str, Any]) -> Expected:
        """What must come of a request; if it is accepted, the model has changed as it must."""
        given = dict(params)
        driver = given.pop("driver", "vsp")
        expected: Expected = getattr(self, op)(driver, **given)
        return expected

    def allocate_queue(
        self, driver: str, name: str, vm: str | None, cpu: int, buffers: int, lookahead_bytes: int = 0
    ) -> Expected:
        faults = {"INVALID_LENGTH" for text in (name, vm or "") if len(text) > 256}
        if not 0 <= cpu < self.cpus or not 1 <= buffers <= 65536 or lookahead_bytes < 0:
            faults.add(INVALID)
        if not self.old and lookahead_bytes != 0:
            faults.add(INVALID)
        if self.old and lookahead_bytes > self.max_lookahead:
            faults.add("NOT_SUPPORTED")
        if len(self.queues) - 1 >= self.max_queues:
            faults.add(RESOURCES)
        if faults:
            return Expected(faults)
        used = max(lookahead_bytes, self.min_lookahead) if lookahead_bytes else 0
        queue_id = min(set(range(1, self.max_queues + 1)) - set(self.queues))
        state = NEXT["allocate_queue"]["Undefined"]
        self.queues[queue_id] = ModelQueue(state, driver, name, vm, cpu, buffers, used)
        if vm is not None and vm not in self.vms:
            self.vms[vm] = min(set(range(len(self.vms) + 1)) - set(self.vms.values()))
        return Expected(result={"queue_id": queue_id})

    def complete_allocation(self, driver: str, queue_ids: list[int]) -> Expected:
        statuses = ["SUCCESS"] * len(queue_ids)
        batch: list[int] = []  # places
        for place, queue_id in enumerate(queue_ids):
            repeated = queue_id in queue_ids[:place]
            if repeated or queue_id == 0 or self.faults_of("complete_allocation", queue_id, driver):
                statuses[place] = INVALID
            else:
                batch.append(place)
        left = self.left()
        while True:
            asked = {place: self.queues[queue_ids[place]].suggested for place in batch}
            total = sum(asked.values())
            shares = {p: s if total <= left else s * left // total for p, s in asked.items()}
            losers = [place for place in batch if shares[place] * 2 < asked[place]]
            if not losers:
                break
            statuses[losers[-1]] = RESOURCES
            batch.remove(losers[-1])
        for place in batch:
            queue = self.queues[queue_ids[place]]
            queue.state = NEXT["complete_allocation"][queue.state]
            queue.target = queue.total = shares[place]
            numbered = [isinstance(vlan, int) for _, vlan, _ in queue.filters.values()]
            queue.guest = bool(
                queue.lookahead and numbered and all(numbered) and self.vlan_filtering and queue.vm
            )
        entries = [(i, s, shares.get(p, 0)) for p, (i, s) in enumerate(zip(queue_ids, statuses, strict=True))]
        return Expected(result={"queues": entries})

    def set_queue_parameters(
        self,
        driver: str,
        queue_id: int,
        cpu: int | None = None,
        buffers: int | None = None,
        name: str | None = None,
    ) -> Expected:
        faults = self.faults_of("query_queue, set_queue_parameters", queue_id, driver)
        if cpu is None and buffers is None and name is None:
            faults.add(INVALID)
        if cpu is not None and not 0 <= cpu < self.cpus:
            faults.add(INVALID)
        if buffers is not None and not 1 <= buffers <= 65536:
            faults.add(INVALID)
        if name is not None and queue_id == 0:
            faults.add(INVALID)
        if name is not None and len(name) > 256:
            faults.add("INVALID_LENGTH")
        queue = self.queues.get(queue_id)
        if queue and buffers and queue.total and buffers - queue.total > self.left():
            faults.add(RESOURCES)
        if faults or queue is None:
            return Expected(faults)
        queue.cpu = queue.cpu if cpu is None else cpu
        queue.name = queue.name if name is None else name
        if buffers is not None:
            queue.suggested = buffers
            if queue.total:
                self.resize(queue, buffers)
        return Expected()

    def free_queue(self, driver: str, queue_id: int) -> Expected:
        faults = self.faults_of("free_queue", queue_id, driver)
        if queue_id == 0:
            faults.add(INVALID)
        if faults:
            return Expected(faults)
        queue = self.queues[queue_id]
        queue.state = NEXT["DMA stopped, indication sent"][NEXT["free_queue"][queue.state]]
        if queue.outstanding:
            return Expected(status="PENDING")
        self.end(queue_id)
        return Expected()

    def set_filter(self, driver: str, queue_id: int, mac: str, vlan: Any = None) -> Expected:
        faults = self.faults_of("set_filter", queue_id, driver)
        wanted = mac.lower().replace("-", ":")
        well_formed = re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", wanted) and wanted != "00:00:00:00:00:00"
        if not well_formed or int(wanted[:2], 16) & 1:
            faults.add(INVALID)
        if isinstance(vlan, int) and (not 1 <= vlan <= 4094 or not self.vlan_filtering):
            faults.add(INVALID)
        if vlan is None and self.old:
            faults.add(INVALID)
        queue = self.queues.get(queue_id)
        if queue and queue.guest and not isinstance(vlan, int):
            faults.add(INVALID)
        everyone = {i: f for q in self.queues.values() for i, f in q.filters.items()}
        if any(f[:2] == (wanted, vlan) for f in everyone.values()):
            faults.add(INVALID)
        if len(everyone) >= self.max_filters:
            faults.add(RESOURCES)
        if faults or queue is None:
            return Expected(faults)
        filter_id = min(set(range(1, self.max_filters + 1)) - set(everyone))
        queue.filters[filter_id] = (wanted, vlan, driver)
        if queue.vm is not None:
            port = (queue.vm, wanted, vlan)
            self.ports = [one for one in self.ports if one != port] + [port]
        queue.state = NEXT["set_filter"][queue.state]
        return Expected(result={"filter_id": filter_id})

    def clear_filter(self, driver: str, queue_id: int, filter_id: int) -> Expected:
        queue = self.queues.get(queue_id)
        if queue is None or queue.state in ("Stop DMA", "Freeing"):
            return Expected({INVALID})
        if queue_id != 0 and queue.owner != driver:
            return Expected({INVALID})
        if filter_id not in queue.filters:
            return Expected({NOT_FOUND})
        if queue.filters[filter_id][2] != driver:
            return Expected({INVALID})
        del queue.filters[filter_id]
        if queue_id != 0:
            event = "clear_filter, not the last" if queue.filters else "clear_filter, last one"
            queue.state = NEXT[event][queue.state]
        return Expected()

    def about(self, vm: str) -> Expected:
        """What every request about a VM is refused with, or answers."""
        if vm not in self.vms:
            return Expected({INVALID} | ({"INVALID_LENGTH"} if len(vm) > 256 else set()))
        own = sorted((queue_id, queue) for queue_id, queue in self.queues.items() if queue.vm == vm)
        return Expected(result={"queues": [{"queue_id": i, "outstanding": q.outstanding} for i, q in own]})

    def pause_vm(self, driver: str, vm: str) -> Expected:
        expected = self.about(vm)
        if not expected.faults and vm not in self.stopped:
            self.stopped.add(vm)
            expected.vm_events = ["vm_paused"]
        return expected

    def resume_vm(self, driver: str, vm: str) -> Expected:
        expected = self.about(vm)
        if vm in self.stopped:
            self.stopped.remove(vm)
            expected.vm_events = ["vm_resumed"]
        return expected

    def remove_vm(self, driver: str, vm: str) -> Expected:
        expected = self.about(vm)
        if expected.faults:
            return expected
        self.queues = {queue_id: queue for queue_id, queue in self.queues.items() if queue.vm != vm}
        self.ports = [port for port in self.ports if port[0] != vm]
        self.stopped.discard(vm)
        del self.vms[vm]
        expected.vm_events = ["vm_removed"]
        return expected

    def migrate_vm(self, driver: str, vm: str) -> Expected:
        pausing = self.pause_vm(driver, vm)
        if not pausing.faults:
            self.remove_vm(driver, vm)
            pausing.vm_events.append("vm_migrated")
        return pausing

    def query_queue(self, driver: str, queue_id: int) -> Expected:
        faults = self.faults_of("query_queue, set_queue_parameters", queue_id, None)
        return Expected(faults) if faults else Expected(result=self.listed(queue_id))

    def enum_filters(self, driver: str, queue_id: int) -> Expected:
        faults = self.faults_of("enum_filters", queue_id, None)
        if faults:
            return Expected(faults)
        filters = sorted(self.queues[queue_id].filters.items())
        return Expected(
            result={"filters": [{"filter_id": i, "mac": m, "vlan": v} for i, (m, v, _) in filters]}
        )

    def query_filter(self, driver: str, filter_id: int) -> Expected:
        for queue_id, queue in self.queues.items():
            if filter_id in queue.filters:
                mac, vlan, owner = queue.filters[filter_id]
                return Expected(
                    self.faults_of("query_filter", queue_id, None),
                    result={
                        "filter_id": filter_id,
                        "queue_id": queue_id,
                        "mac": mac,
                        "vlan": vlan,
                        "driver": owner,
                    },
                )
        return Expected({INVALID})

    def listed(self, queue_id: int) -> dict[str, Any]:
        """The keys of an ``enum_queues`` entry that the contract names, and the lookahead in use."""
        queue = self.queues[queue_id]
        return {
            "queue_id": queue_id,
            "name": queue.name,
            "vm": queue.vm,
            "vm_paused": queue.vm in self.stopped,
            "cpu": queue.cpu,
            "state": WRITTEN[queue.state],
            "operational_state": OPERATIONAL.get(queue.state, "paused"),
            "num_filters": len(queue.filters),
            "total_buffers": queue.total,
            "driver": queue.owner,
            "lookahead_bytes": queue.lookahead,
        }
