"""The state of an adapter (queues, filters, ports, VMs, buffers) and the rules common to all requests.

``queue_requests`` and ``vm_requests`` change this state. Checks raise ``NdisError``.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from engine.counted import counted
from engine.ndis.effects import Effect, HoldBuffers, Indication, Observe, OpenQueue
from engine.ndis.outcome import NdisError, NdisStatus, exhausted, invalid
from engine.ndis.queue import DEFAULT_QUEUE, TRANSITIONS, Event, Filter, Port, Queue, State
from engine.ndis.resources import BufferBudget, IdPool, QueueQuota, TotalOf
from engine.ndis.steering import KEY_KNOWN_MAC, NONE, SteeringRows
from engine.scenario.model import MANAGEMENT_OS, SET_KEYS, AdapterSpec
from engine.scenario.processor_set import HostProcessors
from engine.scenario.values import show

DEFAULT_DRIVER: Final = "vsp"
"""The overlying driver that owns the scenario's queues, and the default ``driver`` of requests."""

PORTS_REMEMBERED: Final = 16_384
"""Limit of ports that an adapter retains after their filters are cleared."""
VMS_REMEMBERED: Final = 1024
"""VMs allowed on an adapter in addition to one per scenario port and one per queue; each takes memory."""
_NAMED: Final = 8


class Adapter:
    """One adapter of a host; ``index`` is its position in the scenario.

    ``queues`` and ``filters`` are keyed by id, ``filter_of`` by steering key. ``ports`` are ordered by the
    time they were last set. ``vms`` maps the name of each known VM to its index, below ``max_vms``, in the
    steering table and in memory. ``paused_vms`` return no buffers. ``freeing`` contains the ids of queues
    that are freed once their buffers are returned. ``spec`` has the current settings; ``started`` has those
    at start, which determine the size of memory. ``quota`` counts the queues of all adapters of the host.
    """

    def __init__(self, index: int, spec: AdapterSpec, processors: HostProcessors, quota: QueueQuota) -> None:
        self.index = index
        self.spec = spec
        self.started = spec
        self.processors = processors
        self.queues: dict[int, Queue] = {}
        self.filters: dict[int, Filter] = {}
        self.filter_of: dict[int, Filter] = {}
        self.ports: dict[Port, None] = {}
        self.vms: dict[str, int] = {}
        self.paused_vms: set[str] = set()
        self.freeing: set[int] = set()
        self.budget = BufferBudget(spec.total_buffers)
        self._quota = quota
        self._queue_ids = IdPool()
        self._filter_ids = IdPool()
        self._vm_indices = IdPool(first=0)
        self._generation = 0

    # --- properties -------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The adapter as messages name it: ``adapter "nic0"``."""
        return f"adapter {show(self.spec.name)}"

    @property
    def can_split(self) -> bool:
        """Whether the adapter can split frames: only before NDIS 6.30, where filters must test the VLAN."""
        return self.spec.ndis_minor < 30

    @property
    def min_lookahead_bytes(self) -> int:
        """The smallest lookahead that the adapter supports; 0 from NDIS 6.30 on."""
        return self.spec.min_lookahead_bytes if self.can_split else 0

    @property
    def max_lookahead_bytes(self) -> int:
        """The largest lookahead that the adapter supports; 0 from NDIS 6.30 on."""
        return self.spec.max_lookahead_bytes if self.can_split else 0

    @property
    def max_ports(self) -> int:
        """Limit of switch ports; a filter that would add another is refused."""
        return len(self.started.port) + self.started.max_filters + PORTS_REMEMBERED

    @property
    def max_vms(self) -> int:
        """Limit of VMs; a queue that would add another is refused."""
        return len(self.started.port) + self.started.max_queues + VMS_REMEMBERED

    @property
    def max_steering_rows(self) -> int:
        """Limit of rows of ``steering_rows``: one row per key and one per MAC."""
        return 2 * (self.max_ports + self.started.max_filters)

    def total_of(self, observe: Observe) -> TotalOf:
        """Return a function that reads a queue's gauge ``total_buffers``."""
        return lambda queue_id: observe.gauges(self.index, queue_id).total_buffers

    # --- checks -----------------------------------------------------------------------------------

    def find(self, queue_id: int) -> Queue:
        """Return the queue with this id, or raise ``NdisError``."""
        queue = self.queues.get(queue_id)
        if queue is None:
            raise invalid(
                f"queue_id: {show(queue_id)} is not a queue of {self.title} ({id_ranges(self.queues)})"
            )
        return queue

    def find_for(self, queue_id: int, event: Event, driver: str | None = None) -> Queue:
        """Find a queue; check that ``event`` is valid in its state and that ``driver``, if given, owns it."""
        queue = self.find(queue_id)
        if queue.state not in TRANSITIONS[event]:
            fitting = ", ".join(TRANSITIONS[event])
            raise invalid(
                f"queue_id: queue {queue_id} is {queue.state} ({event} fits a queue that is {fitting})"
            )
        if driver is not None:
            self.check_owner(queue, driver)
        return queue

    def check_owner(self, queue: Queue, driver: str) -> None:
        """Check that the driver allocated this queue; any driver may change queue 0."""
        if queue.driver != driver and not queue.is_default:
            raise invalid(
                f"driver: queue {queue.queue_id} belongs to {show(queue.driver)}, not to {show(driver)}"
            )

    def check_vm(self, vm: str) -> None:
        """Check that a VM is known: a port or queue has named it, and no later request removed it."""
        if vm == MANAGEMENT_OS:
            raise invalid(f"vm: {show(vm)} is the host itself (a VM fits)")
        if vm not in self.vms:
            names = [show(known) for known in islice(self.vms, _NAMED)] + ["…"] * (len(self.vms) > _NAMED)
            fitting = ", ".join(names) or "there is none"
            raise invalid(f"vm: {show(vm)} is not a VM of {self.title} ({fitting})")

    # --- queues -----------------------------------------------------------------------------------

    def add_queue(
        self,
        *,
        name: str | None,
        vm: str | None,
        cpu: int,
        buffers: int,
        driver: str,
        lookahead_bytes: int = 0,
        return_delay_us: int = 0,
    ) -> Queue:
        """Allocate a queue with the lowest unused id; ``name`` defaults to the VM's name, else "queue N"."""
        if not self.spec.vmq:
            words = f"vmq: false on {self.title}, which so has no queue but the default one (true fits)"
            raise NdisError(NdisStatus.NOT_SUPPORTED, words)
        if len(self.queues) > self.spec.max_queues:
            raise exhausted(f"no queue is left: all {self.spec.max_queues} of {self.title} are in use")
        self._quota.check()
        if vm is not None:
            self._know(vm)
        queue_id = self._queue_ids.take()
        return self._enter(
            Queue(
                queue_id=queue_id,
                generation=self._next_generation(),
                name=name or vm or f"queue {queue_id}",
                vm=vm,
                cpu=cpu,
                home_cpu=cpu,
                suggested_buffers=buffers,
                driver=driver,
                lookahead_bytes=lookahead_bytes,
                return_delay_us=return_delay_us,
            )
        )

    def add_default_queue(self) -> Queue:
        """Create queue 0, which is running and owns its buffers at once. Raises ``ValueError``."""
        self._quota.check()
        buffers = self.spec.default_queue_buffers
        if buffers > self.spec.total_buffers:
            raise ValueError(
                f"buffers: {self.spec.total_buffers} is less than default_queue_buffers, {buffers}"
            )
        self.budget.give(DEFAULT_QUEUE, buffers)
        return self._enter(
            Queue(
                queue_id=DEFAULT_QUEUE,
                generation=self._next_generation(),
                name="default",
                vm=None,
                cpu=self.spec.default_queue_cpu,
                home_cpu=self.spec.default_queue_cpu,
                suggested_buffers=buffers,
                driver=DEFAULT_DRIVER,
                state=State.RUNNING,
            )
        )

    def remove_queue(self, queue: Queue) -> None:
        """Remove a queue; release its buffers and its id."""
        del self.queues[queue.queue_id]
        self.freeing.discard(queue.queue_id)
        self.budget.release(queue.queue_id)
        self._queue_ids.give_back(queue.queue_id)
        self._quota.give_back()

    def open(self, queue: Queue) -> list[Effect]:
        """Return the effects that create a new queue in the data plane."""
        opened = OpenQueue(
            self.index,
            queue.queue_id,
            queue.generation,
            queue.cpu,
            queue.return_delay_us * 1000,
            None if queue.vm is None else self.vms[queue.vm],
            self.spec.max_frame_bytes,
        )
        if self.is_vm_paused(queue):
            return [opened, HoldBuffers(self.index, queue.queue_id, held=True)]
        return [opened]

    def move(self, queue: Queue, event: Event, cause: str) -> list[Indication]:
        """Apply a valid event to a queue; return the state change to publish, if any."""
        before = queue.state
        queue.state = TRANSITIONS[event][before]
        return [] if queue.state is before else [self.indicate(queue, cause)]

    def indicate(self, queue: Queue, cause: str, event: str = "queue_state") -> Indication:
        """Return an event that publishes a queue's state."""
        return Indication(event, self.index, queue.queue_id, str(queue.state), cause)

    # --- filters and ports ------------------------------------------------------------------------

    def add_filter(self, queue: Queue, key: int, driver: str) -> Filter:
        """Set a filter with the lowest unused id on a queue; if the queue has a VM, also add its port."""
        if len(self.filters) >= self.spec.max_filters:
            raise exhausted(f"no filter is left: all {self.spec.max_filters} of {self.title} are in use")
        if queue.vm is not None:
            self.add_port(queue.vm, key)
        new = Filter(self._filter_ids.take(), queue.queue_id, key, driver)
        self.filters[new.filter_id] = new
        self.filter_of[key] = new
        queue.filters[new.filter_id] = new
        return new

    def remove_filter(self, queue: Queue, old: Filter) -> None:
        """Remove a filter and release its id."""
        del self.filters[old.filter_id], self.filter_of[old.key], queue.filters[old.filter_id]
        self._filter_ids.give_back(old.filter_id)

    def add_port(self, vm: str, key: int) -> None:
        """Add a switch port: this VM gets the frames of the key, instead of the VM of an earlier port."""
        port = Port(vm, key)
        if port not in self.ports and len(self.ports) >= self.max_ports:
            raise exhausted(f"no switch port is left: all {self.max_ports} of {self.title} are in use")
        self._know(vm)
        self.ports.pop(port, None)
        self.ports[port] = None

    def steering_rows(self) -> SteeringRows:
        """Compile the steering rows (contract 1, rules 3 and 4, and the reasons of contract 2).

        Two filters never have the same key; if several ports do, the port set last is used.
        """
        import numpy as np  # a dashboard compiles no rows, and starts without it

        filters = self.filters.values()
        count = len(filters)
        key = np.fromiter((one.key for one in filters), np.uint64, count)
        queue = np.fromiter((one.queue_id for one in filters), np.int32, count)
        filter_id = np.fromiter((one.filter_id for one in filters), np.int32, count)
        ports = {port.key: self.vms[port.vm] for port in self.ports}
        port_key = np.fromiter(ports.keys(), np.uint64, len(ports))
        port_vm = np.fromiter(ports.values(), np.int32, len(ports))

        test_bits = np.uint64(16)
        known = np.concatenate((key[queue != 0], port_key)) >> test_bits << test_bits
        known |= np.uint64(KEY_KNOWN_MAC)
        rows, place = np.unique(np.concatenate((key, port_key, known)), return_inverse=True)
        of_filter, of_port = place[:count], place[count : count + len(ports)]
        taking = [one.queue_id for one in self.queues.values() if one.takes_frames]
        takes = np.isin(queue, np.array(taking, np.int32))
        columns = np.full((4, len(rows)), NONE, np.int32)
        row_queue, row_filter, row_default_filter, row_port_vm = columns
        row_queue[of_filter[takes]] = queue[takes]
        row_filter[of_filter[takes]] = filter_id[takes]
        row_default_filter[of_filter[queue == 0]] = filter_id[queue == 0]
        row_port_vm[of_port] = port_vm
        return SteeringRows(rows, row_queue, row_filter, row_default_filter, row_port_vm)

    # --- VMs --------------------------------------------------------------------------------------

    def queues_of(self, vm: str) -> list[Queue]:
        """Return all queues of a VM, in any state, sorted by id."""
        return [queue for _, queue in sorted(self.queues.items()) if queue.vm == vm]

    def is_vm_paused(self, queue: Queue) -> bool:
        """Whether a queue's VM is paused."""
        return queue.vm in self.paused_vms

    def forget_vm(self, vm: str) -> int:
        """Remove a VM without queues, and its ports; release its index and return it."""
        self.ports = {port: None for port in self.ports if port.vm != vm}
        self.paused_vms.discard(vm)
        index = self.vms.pop(vm)
        self._vm_indices.give_back(index)
        return index

    # --- as a whole -------------------------------------------------------------------------------

    def copy(self, quota: QueueQuota | None = None) -> "Adapter":
        """An independent copy; ``quota`` is that of a copied host, else a copy of this one's."""
        other = Adapter(self.index, self.started, self.processors, quota or self._quota.copy())
        other.spec = self.spec
        other.queues = {queue_id: queue.copy() for queue_id, queue in self.queues.items()}
        other.filters = dict(self.filters)
        other.filter_of = dict(self.filter_of)
        other.ports = dict(self.ports)
        other.vms = dict(self.vms)
        other.paused_vms = set(self.paused_vms)
        other.freeing = set(self.freeing)
        other.budget = self.budget.copy()
        other._queue_ids = self._queue_ids.copy()
        other._filter_ids = self._filter_ids.copy()
        other._vm_indices = self._vm_indices.copy()
        other._generation = self._generation
        return other

    def describe(self) -> dict[str, Any]:
        """Return the adapter's configuration as plain data, with the keys of the config message."""
        spec = self.spec
        return {
            "name": spec.name,
            "vmq": spec.vmq,
            **{key: getattr(spec, key) for key in SET_KEYS},
            "ndis_version": spec.ndis_version,
            "link_gbps": spec.link_gbps,
            "max_queues": spec.max_queues,
            "max_filters": spec.max_filters,
            "max_frame_bytes": spec.max_frame_bytes,
            "vlan_filtering": spec.vlan_filtering,
            "buffers": self.budget.total,
            "numa_node": spec.numa_node,
            "min_lookahead_bytes": self.min_lookahead_bytes,
            "max_lookahead_bytes": self.max_lookahead_bytes,
            "queues": [queue.describe(self.is_vm_paused(queue)) for _, queue in sorted(self.queues.items())],
            "filters": [one.describe() for _, one in sorted(self.filters.items())],
            "ports": [port.describe() for port in self.ports],
        }

    def _enter(self, queue: Queue) -> Queue:
        self.queues[queue.queue_id] = queue
        self._quota.take()
        return queue

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def _know(self, vm: str) -> None:
        if vm in self.vms:
            return
        if len(self.vms) >= self.max_vms:
            raise exhausted(
                f"vm: {self.title} knows {counted(self.max_vms, 'VM')} already, so {show(vm)} does not fit"
                " (remove_vm one that is gone)"
            )
        self.vms[vm] = self._vm_indices.take()


def id_ranges(ids: Iterable[int]) -> str:
    """Format identifiers as ranges: "0..3, 7"."""
    ranges: list[list[int]] = []
    for one in sorted(ids):
        if ranges and one == ranges[-1][1] + 1:
            ranges[-1][1] = one
        else:
            ranges.append([one, one])
    words = [str(low) if low == high else f"{low}..{high}" for low, high in ranges]
    if not words:
        return "there is none"
    return ", ".join(words[:8] + ["…"] * (len(words) > 8))
