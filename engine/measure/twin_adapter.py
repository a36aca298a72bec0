"""One adapter of a twin: its settings, queues, filters and ports, with how each is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.measure.calibration import holds_all
from engine.measure.twin_text import Sheet, Value, number, whole
from engine.measure.twin_traffic import AdapterTraffic, Flow, Target
from engine.scenario.keys import MAX_CPUS, MAX_FILTERS, MAX_QUEUES
from engine.scenario.model import MANAGEMENT_OS, SET_KEYS, AdapterSpec, HostSpec
from engine.scenario.processor_set import parse_place
from engine.scenario.relations import MisfitError, check_set
from engine.scenario.values import (
    MAX_BUFFERS,
    MAX_FRAME_BYTES,
    MAX_NAME_CHARACTERS,
    Vlan,
    check_ndis_version,
    check_vlan,
    normal_mac,
    show,
)
from engine.telemetry.config import AdapterConfig, QueueConfig
from engine.view.adapter import AdapterView
from engine.view.rows import CpuView, QueueView

_DEFAULT: Final = AdapterSpec()
_QUEUE_BUFFERS: Final = 512
_SPARE_BUFFERS: Final = 8192
_ORDINARY_FRAME_BYTES: Final = 1518
_LEAST_BUFFERS: Final = 16
_STOPPED: Final = ("undefined", "allocated", "set", "paused", "dma_stopped", "freeing")
_SPEEDS_GBPS: Final = (10, 25, 40, 50, 100, 200, 400, 800)
_MOST_DELAY_US: Final = 60_000_000


@dataclass(frozen=True)
class HostFacts:
    """What an adapter needs of its host: the twin's host, the twin's number of each processor, the measured
    processors, and whether the recording is of a model, so that a queue without a filter takes no frame."""

    host: HostSpec
    cpus: Mapping[int, int]
    cpu_views: Mapping[int, CpuView]
    of_model: bool


@dataclass
class _Queue:
    view: QueueView
    name: str
    owner: dict[str, Value]
    cpu: Value | None
    buffers: Value
    lookahead: int
    return_delay: Value
    filters: list[tuple[str, Value | None]] = field(default_factory=list)
    """MAC and VLAN test; None: any tagging."""
    invented: bool = False


class AdapterTwin:
    """An adapter of a twin, made of a measured adapter that is the host's ``number``-th.

    ``flows`` is its traffic; ``remarks`` are sentences: what was left out or moved into bounds.
    """

    def __init__(self, view: AdapterView, name: str, number: int, facts: HostFacts) -> None:
        self.view = view
        self.name = name
        self.remarks: list[str] = []
        self.without_cpu = False
        self._facts = facts
        self._number = number
        self._known: AdapterConfig = view.known
        self._ndis = self._ndis_version()
        self._old = int(str(self._ndis.value).split(".")[1]) < 30
        self._tests: set[tuple[str, Vlan]] = set()
        self._queues = [self._queue(one) for one in view.of_vms if self._runs(one)]
        self._default = view.default
        self._default_buffers = self._buffers_of(self._default, _DEFAULT.default_queue_buffers)
        self.queue_ids = {0: 0} | {one.view.queue_id: n for n, one in enumerate(self._queues, 1)}
        if name != view.adapter:
            self.remarks.append(f"adapter {show(view.adapter)} is called {show(name)} in the scenario")
        self._ports = self._other_ports()
        targets = [
            Target(one.view, [(mac, _plain(vlan)) for mac, vlan in one.filters]) for one in self._queues
        ]
        free = [mac for _, mac, _ in self._ports]
        speed: float | None = self._known.link_gbps
        traffic = AdapterTraffic(view, targets, free, facts.cpu_views, speed or _DEFAULT.link_gbps)
        self.flows: list[Flow] = traffic.flows
        self.unknown_queues = traffic.unknown
        self.not_sent = traffic.not_sent
        self.remarks += traffic.remarks
        self._frame = self._frame_bytes()
        self._shrunk = False

    # --- queues -----------------------------------------------------------------------------------

    def _runs(self, queue: QueueView) -> bool:
        if queue.state in _STOPPED:
            self.remarks.append(f"{self.name}: {queue.called} is left out: its state is {queue.state}")
            return False
        return True

    def _queue(self, view: QueueView) -> _Queue:
        known: QueueConfig = view.known
        cpu = self._cpu_of(known.cpu)
        self.without_cpu |= cpu is None
        made = _Queue(
            view,
            _name(known.name) or f"queue {known.queue_id}",
            _owner(known.vm, known.management_os),
            cpu,
            self._buffers_of(view, _QUEUE_BUFFERS),
            self._lookahead(known.lookahead_bytes),
            self._return_delay(view),
        )
        for one in view.filters:
            self._add_filter(made, one.mac, one.vlan)
        if not made.filters and not self._facts.of_model:
            self._invent(made)
        return made

    def _cpu_of(self, cpu: int | None) -> Value | None:
        """Return a queue's processor; None if it is not known."""
        if cpu is None:
            return None
        number = self._facts.cpus.get(cpu)
        if number is None:
            self.remarks.append(f"{self.name}: processor {cpu} is not among those of the host")
            return None
        return Value(number, "measured", "" if number == cpu else f"processor {cpu} of the host")

    def _buffers_of(self, queue: QueueView | None, default: int) -> Value:
        """Return the buffers a queue owns, or suggests where those are not known."""
        if queue is None:
            return Value(default, "assumed")
        owned = queue.count("total_buffers")
        if owned:
            return whole(owned, default, 1, MAX_BUFFERS)
        return whole(queue.known.buffers or None, default, 1, MAX_BUFFERS)

    def _return_delay(self, view: QueueView) -> Value:
        """Return how long its VM keeps a buffer: a minute, if it returned none."""
        if view.known.vm_paused:
            return Value(_MOST_DELAY_US, "derived", "its VM is paused, and returns no buffer")
        if holds_all(view):
            return Value(_MOST_DELAY_US, "assumed", "it dropped all frames, so its VM returned no buffer")
        return whole(view.known.return_delay_us, 0, 0, _MOST_DELAY_US)

    def _lookahead(self, asked: int | None) -> int:
        most: int | None = self._known.max_lookahead_bytes
        return min(asked or 0, most or 0, MAX_FRAME_BYTES) if self._old else 0

    def _add_filter(self, queue: _Queue, mac: str, vlan: Vlan) -> None:
        try:
            mac, vlan = normal_mac(mac), check_vlan(vlan)
        except ValueError as error:
            self.remarks.append(f"{self.name}: a filter of {queue.view.called} is left out: {error}")
            return
        test: Value | None = None if vlan is None else Value(vlan, "measured")
        if vlan is None and self._old:
            vlan = "untagged"
            test = Value(vlan, "assumed", "an adapter before NDIS 6.30 has no filter without one")
        if (mac, vlan) in self._tests or len(self._tests) >= MAX_FILTERS:
            self.remarks.append(
                f"{self.name}: a filter of {queue.view.called}: left out, {mac} and its VLAN are set already"
            )
            return
        self._tests.add((mac, vlan))
        queue.filters.append((mac, test))

    def _invent(self, queue: _Queue) -> None:
        """Give a queue without filters a MAC of its own, so that it gets its measured frames."""
        queue.invented = True
        taken = {mac for mac, _ in self._tests}
        last = queue.view.queue_id
        while (mac := _invented(self._number, last)) in taken:
            last += MAX_QUEUES + 1
        self._add_filter(queue, mac, None)

    # --- settings ---------------------------------------------------------------------------------

    def _ndis_version(self) -> Value:
        version: str | None = self._known.ndis_version
        if version is None:
            return Value(_DEFAULT.ndis_version, "assumed")
        try:
            return Value(check_ndis_version(version), "measured")
        except ValueError:
            self.remarks.append(f"{self.name}: NDIS {show(version)} has no VMQ here: {_DEFAULT.ndis_version}")
            return Value(_DEFAULT.ndis_version, "assumed", f"NDIS {version} does not fit")

    def _frame_bytes(self) -> Value:
        """Return the longest frame: the adapter's, or a longer one that came."""
        frames = whole(self._known.max_frame_bytes, _DEFAULT.max_frame_bytes, 60, MAX_FRAME_BYTES)
        longest = round(max((one.wire_bytes for one in self.flows if one.size is not None), default=0))
        if longest > int(str(frames.value)):
            return Value(longest, "derived", "the mean size of a queue's frames")
        return frames

    def _link(self) -> Value:
        """Return the speed of the link; where it is not known, one that carries what came."""
        needed = sum(one.pps * (one.wire_bytes + 20) * 8e-9 for one in self.flows)
        raw: float | None = self._known.link_gbps
        if raw:
            return number(raw, _DEFAULT.link_gbps, 0.001, 10_000)
        speed = next((one for one in _SPEEDS_GBPS if one >= needed), _SPEEDS_GBPS[-1])
        return Value(float(speed), "assumed", "" if speed == 10 else f"{needed:.3g} Gbit/s came")

    def _set(self) -> dict[str, Value]:
        """Return the keys of the processor set that fit the host."""
        known = self._known
        keys: dict[str, str | int] = {}
        for key in SET_KEYS:
            value: str | int | None = getattr(known, key)
            bad_place = isinstance(value, str) and parse_place(value) is None
            if bad_place or (
                key == "max_processors" and value is not None and not 1 <= int(value) <= MAX_CPUS
            ):
                self.remarks.append(f"{self.name}: {key} is left out: {show(value)} does not fit")
            elif value is not None:
                keys[key] = value
        while keys:
            spec = AdapterSpec(**keys)  # type: ignore[arg-type]  # as the keys' names go
            try:
                check_set((), spec, self._facts.host.processors)
                break
            except MisfitError as error:
                key = str(error.path[-1])
                del keys[key]
                self.remarks.append(f"{self.name}: {key} is left out: {error}")
        return {key: Value(value, "measured") for key, value in keys.items()}

    def _other_ports(self) -> list[tuple[dict[str, Value], str, Vlan]]:
        """Return the switch ports that no queue's filter makes: owner, MAC, VLAN."""
        made = {
            (_owner_name(one.owner), mac, _plain(vlan)) for one in self._queues for mac, vlan in one.filters
        }
        ports: list[tuple[dict[str, Value], str, Vlan]] = []
        for port in self._known.ports:
            owner = _owner(port.vm, port.management_os)
            try:
                mac, vlan = normal_mac(port.mac), check_vlan(port.vlan)
            except ValueError as error:
                self.remarks.append(f"{self.name}: a port of {port.vm} is left out: {error}")
                continue
            if owner and (_owner_name(owner), mac, vlan) not in made and len(ports) < MAX_FILTERS:
                made.add((_owner_name(owner), mac, vlan))
                ports.append((owner, mac, vlan))
        return ports

    # --- memory -----------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        """The memory of all its receive buffers."""
        buffers = sum(_int(one.buffers) for one in self._queues) + _int(self._default_buffers)
        return (buffers + (0 if self._shrunk else _SPARE_BUFFERS)) * _int(self._frame)

    def shrink_frames(self) -> None:
        """Lower the longest frame to an ordinary one's, or the longest of its traffic."""
        longest = round(max((one.wire_bytes for one in self.flows), default=0))
        least = max(longest, _ORDINARY_FRAME_BYTES)
        if least < _int(self._frame):
            why = f"{_int(self._frame)} on the host; lowered so that all buffers fit in memory"
            self._frame = Value(least, "assumed", why)
        self._shrunk = True

    def shrink_buffers(self, share: float) -> None:
        """Lower the buffers of all queues to a share of their number, and leave none to spare."""
        for one in self._queues:
            one.buffers = _lowered(one.buffers, share)
        self._default_buffers = _lowered(self._default_buffers, share)

    # --- text -------------------------------------------------------------------------------------

    def write(self, sheet: Sheet) -> None:
        """Write the adapter with its ports, queues and filters."""
        known = self._known
        sheet.table("[[adapter]]", self._title())
        sheet.put("name", Value(self.name, "measured"))
        vmq: bool | None = known.vmq
        if vmq is False and self._queues:
            self.remarks.append(f"{self.name}: VMQ is off, and it has queues: it is on in the twin")
        on = True if vmq is None or self._queues else vmq
        sheet.put("vmq", Value(on, "measured" if vmq == on else "assumed"))
        for key, value in self._set().items():
            sheet.put(key, value)
        for key, value in self._settings().items():
            sheet.put(key, value)
        for owner, mac, vlan in self._ports:
            sheet.table("[[adapter.port]]", indent=2)
            self._write_owner(sheet, owner)
            sheet.put("mac", Value(mac, "measured"), 2)
            if vlan is not None:
                sheet.put("vlan", Value(vlan, "measured"), 2)
        for one in self._queues:
            self._write_queue(sheet, one)

    def _title(self) -> str:
        driver: str | None = getattr(self._known, "nic_driver", None)
        return driver or ""

    def _settings(self) -> dict[str, Value]:
        known, host = self._known, self._facts.host
        filters = sum(len(one.filters) for one in self._queues)
        tagged = any(isinstance(_plain(vlan), int) for one in self._queues for _, vlan in one.filters)
        filtering: bool | None = known.vlan_filtering
        queues = whole(known.max_queues, _DEFAULT.max_queues, 0, MAX_QUEUES)
        most_filters = whole(known.max_filters, _DEFAULT.max_filters, 0, MAX_FILTERS)
        values = {
            "ndis_version": self._ndis,
            "link_gbps": self._link(),
            "max_queues": _at_least(queues, len(self._queues)),
            "max_filters": _at_least(most_filters, filters),
            "max_frame_bytes": self._frame,
            "vlan_filtering": Value(
                tagged or filtering is not False, "measured" if filtering is not None else "assumed"
            ),
        }
        if (of_all := self._all_buffers()) is not None:
            values["buffers"] = of_all
        values["default_queue_buffers"] = self._default_buffers
        default_cpu = None if self._default is None else self._cpu_of(self._default.known.cpu)
        values["default_queue_cpu"] = default_cpu or Value(0, "assumed")
        if self._old:
            least, most = (
                min(one or 0, MAX_FRAME_BYTES)
                for one in (known.min_lookahead_bytes, known.max_lookahead_bytes)
            )
            values["min_lookahead_bytes"] = Value(min(least, most), "measured")
            values["max_lookahead_bytes"] = Value(most, "measured")
        node: int | None = known.numa_node
        on_host = node is not None and node < host.numa_nodes
        values["numa_node"] = Value(node if on_host and node else 0, "measured" if on_host else "assumed")
        return values

    def _all_buffers(self) -> Value | None:
        """Return the adapter's buffers; None to leave them out: what the queues have, and some to spare."""
        asked = sum(_int(one.buffers) for one in self._queues) + _int(self._default_buffers)
        if self._shrunk:
            return Value(asked, "derived", "what the queues have")
        raw: int | None = self._known.buffers
        if raw is None or not self._facts.of_model:
            return None
        return whole(max(raw, asked), asked, 1, (MAX_QUEUES + 1) * MAX_BUFFERS)

    def _write_queue(self, sheet: Sheet, queue: _Queue) -> None:
        sheet.table("[[adapter.queue]]", f"{self.view.adapter}, queue {queue.view.queue_id}", indent=2)
        why = "its processor is not known: the next of the set, or 0, is taken" if queue.cpu is None else ""
        sheet.put("name", Value(queue.name, "measured", why), 2)
        self._write_owner(sheet, queue.owner)
        if queue.cpu is not None:
            sheet.put("cpu", queue.cpu, 2)
        sheet.put("buffers", queue.buffers, 2)
        if queue.lookahead:
            sheet.put("lookahead_bytes", Value(queue.lookahead, "measured"), 2)
        sheet.put("return_delay_us", queue.return_delay, 2)
        for mac, vlan in queue.filters:
            sheet.table("[[adapter.queue.filter]]", indent=4)
            why = "no filter of it is known; invented, so that it gets its frames" if queue.invented else ""
            sheet.put("mac", Value(mac, "assumed" if queue.invented else "measured", why), 4)
            if vlan is not None:
                sheet.put("vlan", vlan, 4)

    def _write_owner(self, sheet: Sheet, owner: Mapping[str, Value]) -> None:
        for key, value in owner.items():
            sheet.put(key, value, 2)


def _owner(vm: str | None, management_os: bool) -> dict[str, Value]:
    if management_os:
        return {"management_os": Value(True, "measured")}
    name = _name(vm or "")
    return {"vm": Value(name, "measured")} if name else {}


def _owner_name(owner: Mapping[str, Value]) -> str:
    return MANAGEMENT_OS if "management_os" in owner else str(owner["vm"].value) if owner else ""


def _name(text: str) -> str:
    """Return a name that fits a scenario: printable, and not too long; "" if there is none."""
    return "".join(c if c.isprintable() else "-" for c in text)[:MAX_NAME_CHARACTERS]


def _plain(vlan: Value | None) -> Vlan:
    if vlan is None:
        return None
    return vlan.value if isinstance(vlan.value, int) else "untagged"


def _int(value: Value) -> int:
    assert isinstance(value.value, int)
    return value.value


def _at_least(value: Value, least: int) -> Value:
    """Return a limit, raised to the number of things that are there."""
    if _int(value) >= least:
        return value
    return Value(least, "derived", "as many as there are")


def _lowered(value: Value, share: float) -> Value:
    fewer = max(min(_LEAST_BUFFERS, _int(value)), int(_int(value) * share))
    if fewer == _int(value):
        return value
    return Value(fewer, "assumed", f"{_int(value)} on the host; lowered so that all fit in memory")


def _invented(adapter: int, queue: int) -> str:
    """Return a locally administered MAC for a queue of an adapter."""
    return f"02:56:{adapter % 256:02x}:{queue >> 16 & 255:02x}:{queue >> 8 & 255:02x}:{queue & 255:02x}"
