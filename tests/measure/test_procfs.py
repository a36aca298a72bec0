"""Files of ``/proc`` and ``/sys``, as machines with 4 and with 128 processors write them (constructed)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.measure.procfs import (
    CpuTimes,
    ProcFiles,
    parse_cpu_list,
    parse_cpu_times,
    parse_interrupt_names,
    parse_interrupts,
    parse_softnet,
)
from tests.measure.linux_kernel import write, write_interface, write_machine

FOUR_CPUS = b"""\
            CPU0       CPU1       CPU2       CPU3
   0:         36          0          0          0  IR-IO-APIC    2-edge      timer
   8:          0          0          0          1  IR-IO-APIC    8-edge      rtc0
  40:       1200          0          3          0  IR-PCI-MSI 524288-edge      eth0-TxRx-0
  41:          0        900          0          0  IR-PCI-MSI 524289-edge      eth0-TxRx-1
  42:          5          6          7          8  IR-IO-APIC   16-fasteoi   eth1, i801_smbus
 NMI:         12         11         10          9   Non-maskable interrupts
 ERR:          0
"""
STAT = b"""\
cpu  41 4 20 4000 8 6 14 2 0 0
cpu0 10 1 5 1000 2 3 4 1 0 0
cpu2 31 3 15 3000 6 3 10 1 30 2
intr 1234 36 0 0
ctxt 99
"""


def test_interrupts_of_four_processors() -> None:
    counted = parse_interrupts(FOUR_CPUS, {40, 41, 99})
    assert counted.totals == {40: 1203, 41: 900}
    assert counted.by_cpu == {0: 1200, 1: 900, 2: 3, 3: 0}


def test_interrupts_of_128_processors_some_of_them_offline(tmp_path: Path) -> None:
    online = [cpu for cpu in range(128) if cpu not in (5, 77)]
    counts = {200: ("eth0-TxRx-0", [cpu * 3 for cpu in online]), 201: ("eth0-TxRx-1", [1] * len(online))}
    write_machine(tmp_path, online, counts)
    content = ProcFiles(tmp_path).read("/proc/interrupts")
    assert content is not None
    counted = parse_interrupts(content, {200, 201})
    assert counted.totals == {200: 3 * sum(online), 201: 126}
    assert counted.by_cpu == {cpu: cpu * 3 + 1 for cpu in online}
    assert parse_interrupt_names(content, {201})[201][-1] == "eth0-TxRx-1"


def test_names_of_a_shared_interrupt() -> None:
    assert parse_interrupt_names(FOUR_CPUS, {42}) == {42: ["IR-IO-APIC", "16-fasteoi", "eth1", "i801_smbus"]}


def test_a_row_written_while_a_processor_went_is_not_counted() -> None:
    torn = FOUR_CPUS.replace(b" 0          3          0  IR-PCI", b" 3          0  IR-PCI", 1)
    assert 40 not in parse_interrupts(torn, {40, 41}).totals
    assert parse_interrupts(torn, {40, 41}).totals[41] == 900


def test_times_of_processors_that_are_online() -> None:
    assert parse_cpu_times(STAT) == {
        0: CpuTimes(70_000_000, 10_260_000_000),
        2: CpuTimes(130_000_000, 30_690_000_000),  # guest time is part of user time
    }


def test_softnet_names_its_processors_since_5_10() -> None:
    line = "0000001a 00000000 00000000 " + "00000000 " * 9 + "{:08x} 00000000 00000000\n"
    content = (line.format(0) + line.format(2).replace("1a", "1b", 1)).encode()
    assert parse_softnet(content, [0, 2]) == {0: 26, 2: 27}


def test_softnet_of_older_kernels_is_in_the_order_of_processors_online() -> None:
    line = "000000{} 00000000 " + "00000000 " * 9 + "\n"
    content = (line.format("1a") + line.format("1b")).encode()
    assert parse_softnet(content, [0, 2]) == {0: 26, 2: 27}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8\n", (0, 1, 2, 3, 8)),
        ("5", (5,)),
        ("", ()),
        ("\n", ()),
        ("all", ()),
        ("3-1", ()),
        ("-1", ()),
    ],
)
def test_lists_of_processors(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


def test_a_list_of_processors_is_bounded() -> None:
    assert len(parse_cpu_list("0-99999999999")) == 8192


WORDS = st.sampled_from(
    [b"cpu0", b"CPU0", b"40:", b"7", b"-1", b"0000001a", b"\xff", b"eth0", b"cpu", b"\n", b":"]
)


@given(st.lists(WORDS, max_size=40).map(b" ".join) | st.binary(max_size=80))
def test_no_file_is_an_error(content: bytes) -> None:
    parse_cpu_times(content)
    parse_interrupts(content, {40, 7})
    parse_interrupt_names(content, {40, 7})
    parse_softnet(content, [0, 1])
    parse_cpu_list(content.decode("latin-1"))


def test_a_machine_without_files_tells_nothing(tmp_path: Path) -> None:
    files = ProcFiles(tmp_path)
    assert files.read("/proc/stat") is None
    assert files.text("/proc/sys/kernel/osrelease") == ""
    assert (files.interfaces(), files.rings("eth0"), files.interrupt_numbers("eth0")) == ([], None, [])
    assert (files.affinity(40), files.numa_node("eth0"), files.numa_nodes()) == (None, None, {})
    assert (files.cores([0, 1]), files.driver("eth0")) == ({}, "")


def test_a_virtio_adapter_has_the_interrupts_and_node_of_the_device_it_is_on(tmp_path: Path) -> None:
    write(tmp_path, "/sys/devices/pci/virtio2/status", "7\n")
    write(tmp_path, "/sys/devices/pci/numa_node", "1\n")
    for irq in (38, 37):
        write(tmp_path, f"/sys/devices/pci/msi_irqs/{irq}", "msix\n")
    write_interface(tmp_path, "eth0", 1, device=False)
    (tmp_path / "sys/class/net/eth0/device").symlink_to(tmp_path / "sys/devices/pci/virtio2")
    files = ProcFiles(tmp_path)
    assert files.interrupt_numbers("eth0") == [37, 38]
    assert files.numa_node("eth0") == 1


def test_the_file_among_the_interfaces_of_a_machine_with_bonds_is_none(tmp_path: Path) -> None:
    write_interface(tmp_path, "eth0", 1)
    write(tmp_path, "/sys/class/net/bonding_masters", "bond0\n")
    assert ProcFiles(tmp_path).interfaces() == ["eth0"]


@pytest.mark.parametrize(("threaded", "mask", "moves"), [("0", "00000000,00000000", False), ("1", "0", True)])
def test_work_moves_on_with_threads_or_packet_steering(
    tmp_path: Path, threaded: str, mask: str, moves: bool
) -> None:
    write_interface(tmp_path, "eth0", 2)
    write(tmp_path, "/sys/class/net/eth0/threaded", f"{threaded}\n")
    write(tmp_path, "/sys/class/net/eth0/queues/rx-1/rps_cpus", f"{mask}\n")
    files = ProcFiles(tmp_path)
    assert files.work_moves_on("eth0", 2) is moves
    write(tmp_path, "/sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,0000000f\n")
    assert files.work_moves_on("eth0", 2)
