"""A scripted link with fixed numbers and a fixed clock: what the dashboard is tested and pictured with."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import sin
from typing import Any, Literal

import msgspec

from engine.bus.connection import State
from engine.bus.host_view import HostView
from engine.bus.messages import Response, Status
from engine.ndis.counters import CPU, DEFAULT_QUEUE_REASONS, QUEUE, names
from engine.telemetry.config import (
    AdapterConfig,
    Config,
    CpuConfig,
    FilterConfig,
    PortConfig,
    QueueConfig,
)
from engine.telemetry.events import Event
from engine.telemetry.stats import AdapterStats, Columns, Stats, TopPairs
from vmqtui.tasks.submission import ASKED_FOR_SECONDS

SECOND = 1_000_000_000
START_NS = 1_767_225_600 * SECOND
VMS = (
    ("default", None, 0, 96_000),
    ("web-01", "web-01", 2, 410_000),
    ("web-02", "web-02", 2, 178_000),
    ("sql-01", "sql-01", 2, 96_500),
    ("sql-02", "sql-02", 1, 64_200),
    ("fw-01", "fw-01", 1, 51_800),
    ("mail-01", "mail-01", 3, 12_400),
    ("file-01", "file-01", 3, 83_000),
    ("backup-01", "backup-01", 4, 33_000),
    ("cache-01", "cache-01", 4, 21_700),
    ("build-01", "build-01", 5, 9_300),
    ("vdi-01", "vdi-01", 5, 1_250),
    ("idle-01", "idle-01", 6, 0),
)
"""Queue name, VM, processor, frames per second."""


def mac(number: int) -> str:
    return f"00:15:5d:00:{number >> 8:02x}:{number & 255:02x}"


def make_config(
    vms: Sequence[tuple[str, str | None, int, int]] = VMS,
    *,
    host: str = "hv01",
    adapters: Sequence[str] = ("nic0",),
    cpus: int = 8,
    revision: int = 7,
    ndis_version: str = "6.30",
    max_lookahead_bytes: int = 0,
) -> Config:
    """A host whose adapters all have the same queues, each with a filter; fw-01 has two."""

    def adapter(name: str) -> AdapterConfig:
        queues = [
            QueueConfig(
                queue_id=queue_id,
                generation=queue_id + 1,
                name=queue_name,
                vm=vm,
                cpu=cpu % cpus,
                buffers=1024 if queue_id == 0 else 512,
                lookahead_bytes=0,
                return_delay_us=0,
                state="running",
                operational_state="running",
                driver="vsp",
            )
            for queue_id, (queue_name, vm, cpu, _) in enumerate(vms)
        ]
        tests: list[tuple[int, str, int]] = []
        for queue in queues[1:]:
            tests.append((queue.queue_id, mac(queue.queue_id), 10 if queue.queue_id % 2 else 20))
            if queue.name == "fw-01":
                tests.append((queue.queue_id, mac(queue.queue_id), 10 if queue.queue_id % 2 == 0 else 20))
        filters = [
            FilterConfig(filter_id=number, queue_id=queue_id, mac=address, vlan=vlan, driver="vsp")
            for number, (queue_id, address, vlan) in enumerate(tests, 1)
        ]
        ports = [PortConfig(vm=vms[one.queue_id][1] or "", mac=one.mac, vlan=one.vlan) for one in filters]
        ports.append(PortConfig(vm="app-01", mac=mac(0x1001), vlan=10))
        ports.append(PortConfig(vm="test-01", mac=mac(0x1002), vlan="untagged"))
        return AdapterConfig(
            name=name,
            vmq=True,
            ndis_version=ndis_version,
            link_gbps=10.0,
            max_queues=max(64, len(vms)),
            max_filters=max(128, len(filters)),
            max_frame_bytes=1518,
            vlan_filtering=True,
            buffers=max(16384, 512 * len(vms) + 1024),
            numa_node=0,
            min_lookahead_bytes=0,
            max_lookahead_bytes=max_lookahead_bytes,
            queues=queues,
            filters=filters,
            ports=ports,
        )

    return Config(
        revision=revision,
        host=host,
        cpus=[
            CpuConfig(id=cpu, name=f"{cpu // 64}:{cpu % 64}", core=cpu, numa_node=0) for cpu in range(cpus)
        ],
        hyperthreading=False,
        numa_nodes=1,
        cpu_model={
            "clock_ghz": 2.6,
            "cycles_per_interrupt": 2500,
            "cycles_per_dpc": 1500,
            "cycles_per_frame": 6000,
            "cycles_per_byte": 1.0,
            "remote_copy_factor": 1.5,
        },
        traffic="synthetic, 1 mix",
        adapters=[adapter(name) for name in adapters],
    )


def top_pairs(reasons: Sequence[int]) -> TopPairs:
    """Pairs that the default queue took, of the frames it took by reason."""
    broadcast, multicast, no_queue, mismatch, unknown = reasons
    rows: list[tuple[str, int | Literal["untagged"], str, int, int]] = [
        ("ff:ff:ff:ff:ff:ff", "untagged", "broadcast", broadcast, 0),
        ("01:00:5e:00:00:fb", "untagged", "multicast", multicast, 0),
        (mac(0x1001), 10, "no_queue", no_queue - 2000, 0),
        (mac(0x1002), "untagged", "no_queue", 2000, 0),
        (mac(4), 10, "vlan_mismatch", mismatch * 2 // 3, 0),
        (mac(1), 30, "vlan_mismatch", mismatch - mismatch * 2 // 3, 0),
        (mac(0xAB07), "untagged", "unknown_unicast", unknown // 40 + 900, 800),
    ]
    rows.sort(key=lambda row: -row[3])
    addresses, vlans, names_, frames, errors = (list(column) for column in zip(*rows, strict=True))
    return TopPairs(mac=addresses, vlan=vlans, reason=names_, frames=frames, error=errors)


def make_stats(
    seq: int,
    vms: Sequence[tuple[str, str | None, int, int]] = VMS,
    *,
    adapters: Sequence[str] = ("nic0",),
    cpus: int = 8,
    revision: int = 7,
    step_ns: int = SECOND // 4,
    down: Sequence[int] = (),
) -> Stats:
    """The ``seq``-th reading of steady traffic: counters follow from the rates in ``vms``."""
    seconds = seq * step_ns / SECOND

    def frames(rate: float, queue_id: int) -> int:
        return round(rate * (seconds + 0.4 * sin(seconds * 0.7 + queue_id)) + rate * 0.5)

    def adapter() -> AdapterStats:
        count = len(vms)
        steered = [frames(rate, queue_id) for queue_id, (_, _, _, rate) in enumerate(vms)]
        dropped = [value // 40 if vms[i][0] == "file-01" else 0 for i, value in enumerate(steered)]
        total = [1024 if i == 0 else 512 for i in range(count)]
        rates = [rate for _, _, _, rate in vms]
        outstanding = [
            min(total[i], round(rates[i] / 1100)) if vms[i][0] != "file-01" else 500 for i in range(count)
        ]
        pending = [min(total[i] - outstanding[i], round(rates[i] / 4000)) for i in range(count)]
        received = [s - d for s, d in zip(steered, dropped, strict=True)]
        indicated = [r - p for r, p in zip(received, pending, strict=True)]
        queues: dict[str, list[int]] = {name: [0] * count for name in names(QUEUE)}
        queues |= {
            "id": list(range(count)),
            "generation": list(range(1, count + 1)),
            "steered_frames": steered,
            "steered_bytes": [value * 620 for value in steered],
            "received_frames": received,
            "dropped_no_buffer": dropped,
            "indicated_frames": indicated,
            "returned_frames": [i - o for i, o in zip(indicated, outstanding, strict=True)],
            "interrupts": [value // 24 for value in steered],
            "dpcs": [value // 20 for value in steered],
            "pending": pending,
            "outstanding": outstanding,
            "total_buffers": total,
            "free_buffers": [t - p - o for t, p, o in zip(total, pending, outstanding, strict=True)],
            "low_free_buffers": [
                max(0, (t - p - o) * 3 // 4) for t, p, o in zip(total, pending, outstanding, strict=True)
            ],
        }
        default = steered[0]
        parts = (0.11, 0.07, 0.55, 0.19)
        wave = [rates[0] * 0.06 * sin(seconds * 0.4 + part * 9) for part in parts]
        reasons = [round(default * part + extra + 9000) for part, extra in zip(parts, wave, strict=True)]
        reasons.append(default - sum(reasons))
        matched: list[int] = []
        for queue_id, value in enumerate(steered[1:], 1):
            two = vms[queue_id][0] == "fw-01"
            matched += [value // 3, value - value // 3] if two else [value]
        offered = sum(steered) + 40
        return AdapterStats(
            port={"offered_frames": offered, "offered_bytes": offered * 620, "runt": 31, "oversize": 9},
            queues={name: [*values] for name, values in queues.items()},
            filters={"id": list(range(1, len(matched) + 1)), "matched_frames": [*matched]},
            freed=dict.fromkeys(names(QUEUE), 0),
            default_queue=dict(zip(names(DEFAULT_QUEUE_REASONS), reasons, strict=True)),
            default_queue_top=top_pairs(reasons),
        )

    load = [0.0] * cpus
    indicated = [0] * cpus
    queue_count = [0] * cpus
    for queue_id, (_, _, cpu, rate) in enumerate(vms):
        load[cpu % cpus] += rate / 720_000
        indicated[cpu % cpus] += frames(rate, queue_id)
        queue_count[cpu % cpus] += 1
    columns: Columns = {name: [0] * cpus for name in names(CPU)}
    return Stats(
        seq=seq,
        sim_time_ns=seq * step_ns,
        time_ns=START_NS + seq * step_ns,
        revision=revision,
        cpus=columns
        | {
            "id": list(range(cpus)),
            "busy_cycles": [
                round(min(0.95, one) * 2.6e9 * (seconds + 0.05 * sin(seconds * 0.9 + i)))
                for i, one in enumerate(load)
            ],
            "budget_cycles": [round(2.6e9 * seconds)] * cpus,
            "interrupts": [value // 24 for value in indicated],
            "dpcs": [value // 20 for value in indicated],
            "indicated_frames": [*indicated],
            "queues": [*queue_count],
            "down": [int(cpu in down) for cpu in range(cpus)],
        },
        adapters={name: adapter() for name in adapters},
    )


EVENTS = (
    Event(
        seq=1,
        sim_time_ns=0,
        time_ns=START_NS,
        event="queue_state",
        adapter="nic0",
        queue_id=12,
        state="running",
        cause="allocation completed with 512 buffers",
    ),
    Event(
        seq=2,
        sim_time_ns=9 * SECOND,
        time_ns=START_NS + 9 * SECOND,
        event="drops_begin",
        adapter="nic0",
        queue_id=7,
        cause="every buffer of file-01 is outstanding",
    ),
    Event(
        seq=3,
        sim_time_ns=11 * SECOND,
        time_ns=START_NS + 11 * SECOND,
        event="bad_request",
        cause="a request of client probe could not be decoded",
    ),
)


class ScriptedHost(HostView):
    """One host as the script has it."""

    def __init__(
        self,
        status: Status | None = None,
        config: Config | None = None,
        stats: Stats | None = None,
        received_monotonic: float | None = None,
        stats_missed: int = 0,
        events: Iterable[Event] = (),
    ) -> None:
        super().__init__("scripted")
        self.status, self.config, self.stats = status, config, stats
        self.received_monotonic, self.stats_missed = received_monotonic, stats_missed
        self.events = deque(events)


def foreseen(message: str, ndis_status: str = "NDIS_STATUS_SUCCESS", **result: Any) -> Response:
    """The answer to a "what if", as the engine words it."""
    ok = ndis_status in ("NDIS_STATUS_SUCCESS", "NDIS_STATUS_PENDING")
    return Response(
        id="1",
        status="ok" if ok else "error",
        ndis_status=ndis_status,
        message=f"what if: {message}" if ok else message,
        result=result,
    )


@dataclass
class ScriptedLink:
    """A link that shows what a test puts in, and answers requests from a queue of answers.

    ``asked`` lists the requests (host, op, params), ``ids`` their ids. An answer that is an exception is
    raised; without one waiting, a request waits for ``answer``. Questions "what if" are listed in
    ``wondered``, without their ``what_if``, and answered at once by ``foresee``.
    """

    connection: State = "connecting"
    read_only: bool = False
    progress: str = ""
    now: float = 1000.0
    views: dict[str, ScriptedHost] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    caught_up: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    wondered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    foresee: Callable[[str, dict[str, Any]], Response] = lambda op, params: foreseen(f"{op} is done")
    answers: "asyncio.Queue[Response | Exception]" = field(default_factory=asyncio.Queue)
    notify: Callable[[], None] = lambda: None

    @property
    def hosts(self) -> Sequence[str]:
        return sorted(self.views)

    def view(self, host: str) -> ScriptedHost | None:
        return self.views.get(host)

    def clock(self) -> float:
        return self.now

    def on_change(self, notify: Callable[[], None]) -> None:
        self.notify = notify

    async def request(
        self, host: str, op: str, params: dict[str, Any], request_id: str | None = None
    ) -> Response:
        if params.get("what_if"):
            given = {key: value for key, value in params.items() if key != "what_if"}
            self.wondered.append((op, given))
            return self.foresee(op, given)
        self.asked.append((host, op, params))
        self.ids.append(request_id)
        answer = await self.answers.get()
        if isinstance(answer, TimeoutError):
            self.now += answer.args[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def catch_up(self, host: str) -> None:
        self.caught_up.append(host)

    def leave_unanswered(self, seconds: float = ASKED_FOR_SECONDS) -> None:
        """No answer to the next request, for so long on the clock: by default until it is given up."""
        self.answers.put_nowait(TimeoutError(seconds))

    def answer(
        self, ndis_status: str = "NDIS_STATUS_SUCCESS", message: str = "", revision: int = 0, **result: Any
    ) -> None:
        """The answer to the next request: an error unless SUCCESS or PENDING."""
        ok = ndis_status in ("NDIS_STATUS_SUCCESS", "NDIS_STATUS_PENDING")
        self.answers.put_nowait(
            Response(
                id="1",
                status="ok" if ok else "error",
                ndis_status=ndis_status,
                message=message,
                result=result,
                revision=revision,
            )
        )

    def publish(self, host: str, **changes: Any) -> None:
        """Change what is known of a host, and say so."""
        view = self.views.setdefault(host, ScriptedHost())
        for name, value in changes.items():
            setattr(view, name, value)
        if "stats" in changes:
            view.received_monotonic = self.now
        self.notify()


def live_link(**shape: Any) -> ScriptedLink:
    """A link to a live host hv01, before its first reading; ``play`` feeds the readings."""
    link = ScriptedLink(connection="connected")
    link.views["hv01"] = ScriptedHost(
        status=Status(state="online", version="0.1.0", started_at=1_767_225_600.0, interval_ns=SECOND // 4),
        config=make_config(**shape),
        events=EVENTS,
    )
    return link


def play(link: ScriptedLink, first: int, last: int, host: str = "hv01", **shape: Any) -> None:
    """Publish the readings first..last, each in its turn."""
    for seq in range(first, last + 1):
        link.publish(host, stats=make_stats(seq, **shape))


def with_queue(config: Config, queue_id: int, **changes: Any) -> Config:
    """The configuration with one queue of its first adapter changed, one revision on."""
    adapter = config.adapters[0]
    queues = [
        msgspec.structs.replace(queue, **changes) if queue.queue_id == queue_id else queue
        for queue in adapter.queues
    ]
    adapters = [msgspec.structs.replace(adapter, queues=queues), *config.adapters[1:]]
    return msgspec.structs.replace(config, adapters=adapters, revision=config.revision + 1)
