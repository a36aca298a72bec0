"""Measured hosts to look at: a Linux-like one of 8 rings and 3 VFs, a Windows-like one of 8 VMs.

Constructed from the documented properties of such hosts: none of these numbers was read from a real one.
"""

from math import sin

from engine.measure.host import MeasuredHost
from engine.telemetry.config import PortConfig
from engine.telemetry.events import Event
from engine.telemetry.stats import Cell, Stats
from tests.measured import (
    SECOND_NS,
    START_NS,
    adapter_stats,
    filter_config,
    host_config,
    linux_adapter,
    queue_config,
    table,
    windows_adapter,
)

_RING_RATES = (21_000, 48_000, 12_500, 9_800, 61_000, 3_300, 750, 0)
_VM_RATES = (None, 410_000, 178_000, 96_500, None, None, 12_400, None, None)
_SERVED_BY = (0, 2, 4, 6, 8, 8, 10, 8, None)
_VMS = ("web-01", "web-02", "sql-01", "sql-02", "fw-01", "mail-01", "file-01", "backup-01")


def _frames(rate: int | None, second: int, number: int) -> Cell:
    return None if rate is None else round(rate * (second + 0.3 * sin(second * 0.7 + number) + 0.5))


def rings(seconds: int = 12) -> MeasuredHost:
    """``eth0``: an ixgbe of 8 rings whose drops are known for the port only, and 3 VFs, of which two have
    counters. Its interrupts are guessed. ``eth1`` has no link."""
    vfs = range(8, 11)
    eth0 = linux_adapter(
        name="eth0",
        nic_driver="ixgbe 6.12.9, firmware 0x800003df",
        link_gbps=10.0,
        link_up=True,
        max_queues=None,
        max_frame_bytes=1518,
        numa_node=0,
        queues=[
            *(queue_config(ring, f"rx-{ring}", ring % 4, driver="ixgbe", buffers=512) for ring in range(8)),
            *(queue_config(id, f"vf {id - 8}", None, driver="ixgbe", vm=f"eth0 vf {id - 8}") for id in vfs),
        ],
        filters=[
            filter_config(id, f"02:00:00:00:00:{id:02x}", "untagged" if id == 9 else 10, driver="ixgbe")
            for id in vfs
        ],
        ports=[
            *(
                PortConfig(
                    vm=f"eth0 vf {id - 8}",
                    mac=f"02:00:00:00:00:{id:02x}",
                    vlan="untagged" if id == 9 else 10,
                )
                for id in vfs
            ),
            PortConfig(vm="eth0", management_os=True, mac="02:00:00:00:00:01", vlan=None),
        ],
    )
    eth1 = linux_adapter(
        name="eth1",
        nic_driver="igb 6.12.9, firmware 3.25",
        link_gbps=None,
        link_up=False,
        max_queues=8,
        max_frame_bytes=1518,
        numa_node=None,
        queues=[queue_config(0, "rx-0", 1, driver="igb", buffers=256)],
        filters=[],
        ports=[],
    )
    config = host_config("kvm01", 8, [eth0, eth1], traffic="read every 1 s")
    events = [
        Event(
            seq=1,
            sim_time_ns=3 * SECOND_NS,
            time_ns=START_NS + 3 * SECOND_NS,
            event="affinity_moved",
            adapter="eth0",
            queue_id=4,
            cause="its interrupt is served by 0:0, before that by 0:2",
        )
    ]
    return MeasuredHost("the constructed host kvm01", config, [_rings(n) for n in range(seconds)], events)


def _rings(second: int) -> Stats:
    frames = [_frames(rate, second, ring) for ring, rate in enumerate(_RING_RATES)]
    of_vfs: list[Cell] = [_frames(5_200, second, 9), None, _frames(880, second, 11)]
    known = [*frames, *of_vfs]
    eth0 = adapter_stats(
        generations=range(1, 12),
        sources={
            "received_frames": "exact",
            "interrupts": "guessed",
            "cpu": "guessed",
            "total_buffers": "exact",
            "matched_frames": "derived",
        },
        filters=range(8, 11),
        matched=of_vfs,
        received_frames=known,
        interrupts=[*(None if one is None else one // 12 for one in frames), None, None, None],
        total_buffers=[512] * 8 + [None] * 3,
    )
    eth1 = adapter_stats(
        generations=[1],
        sources={"received_frames": "exact", "dropped_no_buffer": "exact", "steered_frames": "derived"},
        port={"offered_frames": 0, "offered_bytes": 0},
        received_frames=[0],
        steered_frames=[0],
        dropped_no_buffer=[0],
        total_buffers=[256],
    )
    loads = (0.41, 0.62, 0.07, 0.02, 0.0, 0.0, 0.01, 0.0)
    return Stats(
        seq=second + 1,
        sim_time_ns=second * SECOND_NS,
        time_ns=START_NS + second * SECOND_NS,
        revision=1,
        cpus=table(
            ("busy_cycles", "budget_cycles", "interrupts", "dpcs", "indicated_frames", "queues", "down"),
            8,
            id=[*range(8)],
            busy_cycles=[
                round(load * SECOND_NS * (second + 0.1 * sin(second + cpu))) for cpu, load in enumerate(loads)
            ],
            budget_cycles=[SECOND_NS * second] * 8,
            interrupts=[4_000 * second, 5_000 * second, 900 * second, 700 * second, 0, 0, 0, 0],
            queues=[2, 3, 2, 2, 0, 0, 0, 0],
        ),
        adapters={"eth0": eth0, "eth1": eth1},
        sources={"busy_cycles": "exact", "budget_cycles": "exact", "interrupts": "guessed"},
    )


def vm_queues(seconds: int = 12) -> MeasuredHost:
    """Windows Server 2019, one adapter with the queues of 8 VMs: the frames of four, each alone on its
    processor, are derived; those of the others are unknown, as is the processor of one."""
    queues = [
        queue_config(0, "hv07", 0, driver="vsp", management_os=True),
        *(
            queue_config(id, vm, cpu, driver="vsp", vm=vm)
            for id, (vm, cpu) in enumerate(zip(_VMS, _SERVED_BY[1:], strict=True), 1)
        ),
    ]
    filters = [
        filter_config(id, f"00:15:5d:00:00:{id:02x}", 10 if id % 2 else "untagged", driver="vsp")
        for id in range(1, 9)
    ]
    adapter = windows_adapter(
        base_processor="0:2",
        max_processor="0:14",
        max_processors=6,
        ndis_version="6.82",
        nic_driver="Contoso 25G 3.1.44.0",
        link_gbps=25.0,
        max_queues=61,
        queues=queues,
        filters=filters,
        ports=[
            *(PortConfig(vm=_VMS[one.queue_id - 1], mac=one.mac, vlan=one.vlan) for one in filters),
            PortConfig(vm="test-09", mac="00:15:5d:00:00:99", vlan=30),
        ],
    )
    config = host_config("hv07", 16, [adapter], windows="2019", traffic="counters of 60 s")
    return MeasuredHost("the constructed host hv07", config, [_vm_queues(n) for n in range(seconds)])


def _vm_queues(second: int) -> Stats:
    frames = [_frames(rate, second, id) for id, rate in enumerate(_VM_RATES)]
    adapter = adapter_stats(
        generations=range(1, 10),
        sources={"received_frames": "derived", "offered_frames": "exact", "offered_bytes": "exact"},
        port={"offered_frames": 860_000 * second, "offered_bytes": 560_000_000 * second},
        filters=range(1, 9),
        received_frames=frames,
    )
    loads = {0: 0.22, 2: 0.71, 4: 0.44, 6: 0.31, 8: 0.93, 10: 0.05}
    counted: list[Cell] = [round(20_000 * loads[cpu] * second) if cpu in loads else None for cpu in range(16)]
    return Stats(
        seq=second + 1,
        sim_time_ns=second * SECOND_NS,
        time_ns=START_NS + second * SECOND_NS,
        revision=1,
        cpus=table(
            ("busy_cycles", "budget_cycles", "interrupts", "dpcs", "indicated_frames", "queues", "down"),
            16,
            id=[*range(16)],
            busy_cycles=[round(loads.get(cpu, 0) * SECOND_NS * second) for cpu in range(16)],
            budget_cycles=[SECOND_NS * second] * 16,
            interrupts=counted,
            dpcs=counted,
        ),
        adapters={"Ethernet 2": adapter},
        sources={
            "busy_cycles": "exact",
            "budget_cycles": "exact",
            "interrupts": "exact",
            "dpcs": "exact",
        },
    )
