"""Measured hosts for tests, as messages: one like a Linux machine's, one like a Windows host's.

Constructed from the documented properties of such hosts: none of these numbers was read from a real one.
What such a host does not know is None, in configuration and counters alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

from engine.measure.host import MeasuredHost
from engine.ndis import counters
from engine.telemetry.config import (
    AdapterConfig,
    Config,
    CpuConfig,
    FilterConfig,
    PortConfig,
    QueueConfig,
    Vlan,
)
from engine.telemetry.stats import AdapterStats, Cell, Columns, Source, Stats

SECOND_NS = 1_000_000_000
START_NS = 1_790_000_000 * SECOND_NS
"""Unix time of the first reading."""

_QUEUE = counters.names(counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY)
_CPU = counters.names(counters.CPU + counters.CPU_GAUGES)
_PORT = counters.names(counters.PORT)
_REASONS = counters.names(counters.DEFAULT_QUEUE_REASONS)


def table(names: Sequence[str], rows: int, **known: list[Cell]) -> Columns:
    """The columns of ``names``; those without cells are unknown in every row."""
    assert set(known) - {"id", "generation"} <= set(names), set(known) - set(names)
    return {**{name: [None] * rows for name in names}, **known}


def adapter_stats(
    *,
    generations: Sequence[int],
    sources: dict[str, Source],
    port: dict[str, Cell] | None = None,
    filters: Sequence[int] = (),
    matched: list[Cell] | None = None,
    **queues: list[Cell],
) -> AdapterStats:
    """Counters of an adapter with queues 0, 1, …, of which none was freed; what is not given is unknown."""
    ids: list[Cell] = list(range(len(generations)))
    return AdapterStats(
        port={**dict.fromkeys(_PORT), **(port or {})},
        queues=table(_QUEUE, len(ids), id=ids, generation=[*generations], **queues),
        filters={"id": [*filters], "matched_frames": matched or [None] * len(filters)},
        freed=dict.fromkeys(counters.names(counters.QUEUE), 0),
        default_queue=dict.fromkeys(_REASONS),
        sources=sources,
    )


def queue_config(
    queue_id: int,
    name: str,
    cpu: int | None,
    *,
    driver: str,
    vm: str | None = None,
    buffers: int | None = None,
    management_os: bool = False,
) -> QueueConfig:
    """A running queue of which no source tells lookahead and return delay."""
    return QueueConfig(
        queue_id=queue_id,
        generation=queue_id + 1,
        name=name,
        vm=vm,
        management_os=management_os,
        cpu=cpu,
        buffers=buffers,
        lookahead_bytes=None,
        return_delay_us=None,
        state="running",
        operational_state="running",
        driver=driver,
    )


def filter_config(filter_id: int, mac: str, vlan: Vlan, *, driver: str) -> FilterConfig:
    """The filter of the queue of the same id."""
    return FilterConfig(filter_id=filter_id, queue_id=filter_id, mac=mac, vlan=vlan, driver=driver)


def linux_adapter(**known: Any) -> AdapterConfig:
    """An adapter of which Linux does not tell what only Windows has."""
    nothing = ("ndis_version", "max_filters", "vlan_filtering", "buffers")
    return AdapterConfig(
        **{**dict.fromkeys((*nothing, "min_lookahead_bytes", "max_lookahead_bytes")), **known}
    )


def windows_adapter(**known: Any) -> AdapterConfig:
    """An adapter with VMQ on, of which no cmdlet tells filters, buffers and the largest frame."""
    nothing: dict[str, Any] = dict.fromkeys(("max_filters", "max_frame_bytes", "buffers"))
    return AdapterConfig(
        name="Ethernet 2",
        vmq=True,
        link_up=True,
        vlan_filtering=True,
        numa_node=0,
        min_lookahead_bytes=0,
        max_lookahead_bytes=0,
        **nothing,
        **known,
    )


def host_config(
    host: str,
    cpus: int,
    adapters: Sequence[AdapterConfig],
    *,
    windows: str | None = None,
    traffic: str = "measured",
) -> Config:
    """A host of one node: of a release of Windows Server with hyper-threading, else a Linux machine."""
    threads = 1 if windows is None else 2
    return Config(
        revision=1,
        host=host,
        cpus=[CpuConfig(id=cpu, name=f"0:{cpu}", core=cpu // threads, numa_node=0) for cpu in range(cpus)],
        hyperthreading=None if windows is None else True,
        numa_nodes=1,
        windows=windows,
        system="Linux 6.12.9" if windows is None else f"Windows Server {windows}",
        cpu_model={},
        traffic=traffic,
        adapters=list(adapters),
    )


def _readings(count: int, config: Config, reading: Callable[[int], Stats]) -> MeasuredHost:
    origin = f"the constructed host {config.host}"
    return MeasuredHost(origin, config, [reading(second) for second in range(count)])


# --- like Linux -------------------------------------------------------------------------------------


def linux(seconds: int = 4) -> MeasuredHost:
    """Four processors. ``eth0``: an igb of 2 rings with drops, and 2 VFs without counters. ``eth1``: an ixgbe
    of 3 rings without drops by ring, the last of which nothing says which processor serves. ``eth2``: no
    link, and so no speed.

    Each second eth0's rings get 1,000 and 500 frames of 1,000 bytes, and the first drops 100 more; those
    of eth1 get 2,000, 200 and 20.
    """
    return _readings(seconds, linux_config(), _linux_reading)


def linux_config() -> Config:
    """The configuration of ``linux``."""
    igb = linux_adapter(
        name="eth0",
        nic_driver="igb 6.12.9, firmware 3.25",
        link_gbps=1.0,
        link_up=True,
        max_queues=4,
        max_frame_bytes=1518,
        numa_node=0,
        queues=[
            queue_config(0, "rx-0", 0, driver="igb", buffers=256),
            queue_config(1, "rx-1", 1, driver="igb", buffers=256),
            queue_config(2, "vf 0", None, driver="igb", vm="eth0 vf 0"),
            queue_config(3, "vf 1", None, driver="igb", vm="eth0 vf 1"),
        ],
        filters=[
            filter_config(2, "02:00:00:00:00:02", 10, driver="igb"),
            filter_config(3, "02:00:00:00:00:03", "untagged", driver="igb"),
        ],
        ports=[],
    )
    ixgbe = linux_adapter(
        name="eth1",
        nic_driver="ixgbe 6.12.9",
        link_gbps=10.0,
        link_up=True,
        max_queues=64,
        max_frame_bytes=9018,
        numa_node=None,
        queues=[
            queue_config(number, f"rx-{number}", cpu, driver="ixgbe", buffers=512)
            for number, cpu in enumerate((2, 3, None))
        ],
        filters=[],
        ports=[],
    )
    down = linux_adapter(
        name="eth2",
        nic_driver="ixgbe 6.12.9",
        link_gbps=None,
        link_up=False,
        max_queues=64,
        max_frame_bytes=1518,
        numa_node=None,
        queues=[queue_config(0, "rx-0", 0, driver="ixgbe", buffers=512)],
        filters=[],
        ports=[],
    )
    return host_config("lab-linux", 4, [igb, ixgbe, down])


def _linux_reading(second: int) -> Stats:
    eth0 = adapter_stats(
        generations=[1, 2, 3, 4],
        sources={
            **{"received_frames": "exact", "dropped_no_buffer": "exact", "interrupts": "guessed"},
            "cpu": "guessed",
        },
        port={"offered_frames": 1600 * second, "offered_bytes": 1_600_000 * second},
        filters=[2, 3],
        received_frames=[1000 * second, 500 * second, None, None],
        dropped_no_buffer=[100 * second, 0, None, None],
        steered_frames=[1100 * second, 500 * second, None, None],
        interrupts=[800 * second, 400 * second, None, None],
        total_buffers=[256, 256, None, None],
    )
    eth1 = adapter_stats(
        generations=[1, 2, 3],
        sources={"received_frames": "exact"},
        port={"offered_frames": 2220 * second},
        received_frames=[2000 * second, 200 * second, 20 * second],
        total_buffers=[512, 512, 512],
    )
    eth2 = adapter_stats(
        generations=[1], sources={"received_frames": "exact"}, received_frames=[0], total_buffers=[512]
    )
    return Stats(
        seq=second + 1,
        sim_time_ns=second * SECOND_NS,
        time_ns=START_NS + second * SECOND_NS,
        revision=1,
        cpus=table(
            _CPU,
            4,
            id=[0, 1, 2, 3],
            busy_cycles=[100_000_000 * cpu * second for cpu in range(4)],
            budget_cycles=[SECOND_NS * second] * 4,
            interrupts=[800 * second, 400 * second, 0, 0],
            queues=[2, 1, 1, 1],
        ),
        adapters={"eth0": eth0, "eth1": eth1, "eth2": eth2},
        sources={"busy_cycles": "exact", "budget_cycles": "exact", "interrupts": "exact"},
    )


# --- like Windows -----------------------------------------------------------------------------------


def windows(seconds: int = 4) -> MeasuredHost:
    """Windows Server 2012 R2 with one adapter of 3 queues: that of web-01 is alone on its processor, so that
    its frames are derived; db-01's and the default queue share one, and are unknown.

    Each second 3,000 frames arrive, 1,200 of them for web-01.
    """
    return _readings(seconds, windows_config(), _windows_reading)


def windows_config() -> Config:
    """The configuration of ``windows``."""
    macs = {1: "00:15:5d:00:00:01", 2: "00:15:5d:00:00:02"}
    adapter = windows_adapter(
        base_processor="0:0",
        max_processor="0:6",
        max_processors=4,
        ndis_version="6.40",
        nic_driver="Contoso 10G 1.2.3.4",
        link_gbps=10.0,
        max_queues=30,
        queues=[
            queue_config(0, "lab-windows", 0, driver="vsp"),
            queue_config(1, "web-01", 2, driver="vsp", vm="web-01"),
            queue_config(2, "db-01", 0, driver="vsp", vm="db-01"),
        ],
        filters=[
            filter_config(1, macs[1], 10, driver="vsp"),
            filter_config(2, macs[2], "untagged", driver="vsp"),
        ],
        ports=[
            PortConfig(vm="web-01", mac=macs[1], vlan=10),
            PortConfig(vm="db-01", mac=macs[2], vlan="untagged"),
        ],
    )
    return host_config("lab-windows", 8, [adapter], windows="2012 R2")


def _windows_reading(second: int) -> Stats:
    adapter = adapter_stats(
        generations=[1, 2, 3],
        sources={"received_frames": "derived"},
        port={"offered_frames": 3000 * second},
        filters=[1, 2],
        received_frames=[None, 1200 * second, None],
    )
    return Stats(
        seq=second + 1,
        sim_time_ns=second * SECOND_NS,
        time_ns=START_NS + second * SECOND_NS,
        revision=1,
        cpus=table(
            _CPU,
            8,
            id=[*range(8)],
            busy_cycles=[(300_000_000 if cpu in (0, 2) else 0) * second for cpu in range(8)],
            budget_cycles=[SECOND_NS * second] * 8,
            interrupts=[900 * second, None, 600 * second, *[None] * 5],
            dpcs=[900 * second, None, 600 * second, *[None] * 5],
            queues=[2, 0, 1, *[0] * 5],
        ),
        adapters={"Ethernet 2": adapter},
        sources={"busy_cycles": "exact", "budget_cycles": "exact", "interrupts": "exact", "dpcs": "exact"},
    )
