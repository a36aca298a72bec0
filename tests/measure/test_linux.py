"""The probe of a Linux machine, on constructed kernels and files."""

import errno
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.measure.ethtool import MAX_COUNTERS, MAX_RULES
from engine.measure.facts import Ring, Rule
from engine.measure.host import UnknownAdapterError
from engine.measure.linux_host import LinuxSource
from engine.measure.linux_queues import Counts, rows_of
from tests.measure.linux_kernel import (
    Function,
    Interface,
    Kernel,
    ether_rule,
    read_ethtool,
    write,
    write_interface,
    write_machine,
)

IRQS = {40 + ring: (f"eth0-TxRx-{ring}", [0] * ring + [500 + ring] + [1] * (3 - ring)) for ring in range(4)}


def igb(**changes: object) -> Interface:
    names, numbers = read_ethtool("igb")
    interface = Interface(index=2, names=names, numbers=numbers)
    for name, value in changes.items():
        setattr(interface, name, value)
    return interface


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with four processors and an igb adapter ``eth0``."""
    write_machine(tmp_path, irqs=IRQS)
    write_interface(tmp_path, "eth0", 4, irqs=list(IRQS))
    return tmp_path


def test_rings_of_an_adapter(root: Path) -> None:
    machine = Kernel({"eth0": igb()}).probe(root).read()

    assert machine.troubles == ()
    assert (machine.kernel, machine.name) == ("6.12.9", "lab")
    (adapter,) = machine.adapters
    assert adapter.rings == tuple(
        Ring(ring, 1000 + ring, 90000 + ring, 7 + ring, 40 + ring, "guessed", 500 + ring + 3 - ring, (ring,))
        for ring in range(4)
    )
    assert (adapter.driver, adapter.driver_version, adapter.firmware) == ("igb", "6.12.9", "3.25")
    assert (adapter.bus_address, adapter.mac, adapter.index) == ("0000:03:00.0", "52:54:00:00:00:01", 2)
    assert (adapter.numa_node, adapter.link_mbps, adapter.link_up) == (1, 10000, True)
    assert (adapter.ring_size, adapter.max_rings, adapter.max_frame_bytes) == (256, 8, 1518)
    assert (adapter.port_frames, adapter.port_bytes, adapter.port_errors) == (4006, 360_006, 2)
    assert adapter.port_dropped == 7 + 8 + 9 + 10
    assert adapter.sources == {
        "frames": "exact",
        "bytes": "exact",
        "dropped": "exact",
        "port_dropped": "derived",
        "irq": "guessed",
        "interrupts": "guessed",
        "cpus": "guessed",
    }


def test_processors(root: Path) -> None:
    processors = Kernel({"eth0": igb()}).probe(root).read().processors

    assert [each.cpu for each in processors] == [0, 1, 2, 3]
    assert [each.core for each in processors] == [0, 0, 2, 2]
    assert [each.numa_node for each in processors] == [0, 0, 1, 1]
    assert [each.busy_ns for each in processors] == [(cpu + 20) * 10_000_000 for cpu in range(4)]
    assert [each.total_ns for each in processors] == [(980 + cpu) * 10_000_000 for cpu in range(4)]
    assert [each.interrupts for each in processors] == [500, 502, 504, 506]
    assert [each.soft_frames for each in processors] == [16, 17, 18, 19]


def test_softnet_goes_on_where_its_32_bits_wrap(root: Path) -> None:
    probe = Kernel({"eth0": igb()}).probe(root)
    for count in ("fffffff0", "00000010", "00000020"):
        write(root, "/proc/net/softnet_stat", f"{count} {'00000000 ' * 11}00000000 00000000 00000000\n")
        machine = probe.read()
    assert machine.processors[0].soft_frames == (1 << 32) + 0x20
    assert machine.processors[1].soft_frames is None


def test_the_kernel_s_interrupt_of_a_queue_is_exact(root: Path) -> None:
    kernel = Kernel({"eth0": igb(napi_irqs={0: 41, 1: 40})})
    (adapter,) = kernel.probe(root).read().adapters
    assert [ring.irq for ring in adapter.rings] == [41, 40, None, None]
    assert [ring.irq_source for ring in adapter.rings] == ["exact", "exact", None, None]
    assert [ring.cpus for ring in adapter.rings] == [(1,), (0,), None, None]
    assert adapter.sources["cpus"] == "exact"


def test_the_kernel_s_counters_of_a_queue_come_before_the_driver_s(root: Path) -> None:
    counters = {ring: {8: 70 + ring, 9: 7000 + ring, 14: ring} for ring in range(4)}
    (adapter,) = Kernel({"eth0": igb(queue_counters=counters)}).probe(root).read().adapters
    assert [ring.frames for ring in adapter.rings] == [70, 71, 72, 73]
    assert [ring.bytes for ring in adapter.rings] == [7000, 7001, 7002, 7003]
    assert [ring.dropped for ring in adapter.rings] == [0, 1, 2, 3]


def test_virtio_of_today_has_its_frames_from_the_kernel_only(root: Path) -> None:
    names, numbers = read_ethtool("virtio_net")
    counters = {ring: {8: 70 + ring, 9: 7000 + ring} for ring in range(4)}
    interface = Interface(2, "virtio_net", names, numbers, queue_counters=counters)
    (adapter,) = Kernel({"eth0": interface}).probe(root).read().adapters
    assert [(ring.frames, ring.dropped) for ring in adapter.rings] == [(70, 7), (71, 8), (72, 9), (73, 10)]
    assert (adapter.sources["frames"], adapter.sources["dropped"]) == ("exact", "guessed")


def test_rings_that_are_not_in_use_are_left_out(root: Path) -> None:
    names, numbers = read_ethtool("ixgbe")
    (adapter,) = Kernel({"eth0": Interface(2, "ixgbe", names, numbers)}).probe(root).read().adapters
    assert len(adapter.rings) == 4
    assert adapter.port_dropped == 15
    assert {ring.dropped for ring in adapter.rings} == {None}
    assert "dropped" not in adapter.sources


def test_queues_of_mlx5_for_af_xdp_are_no_rings(tmp_path: Path) -> None:
    write_machine(tmp_path)
    write_interface(tmp_path, "eth0", 8)
    interface = Interface(2, "mlx5_core", *read_ethtool("mlx5"), channels=(4, 8))
    probe = Kernel({"eth0": interface}).probe(tmp_path)
    assert [ring.frames for ring in probe.read().adapters[0].rings] == [1000, 1001, 1002, 1003]
    interface.channels = (2, 8)
    assert len(probe.read().adapters[0].rings) == 2
    interface.channels = None
    assert len(probe.read().adapters[0].rings) == 8


def test_names_are_read_again_only_when_their_number_or_the_driver_changes(root: Path) -> None:
    interface = igb()
    kernel = Kernel({"eth0": interface})
    probe = kernel.probe(root)
    for _ in range(3):
        probe.read()
    assert kernel.asked.count(("eth0", 0x1B)) == 1

    interface.names = ["a_new_counter", *interface.names]
    interface.numbers = [99, *interface.numbers]
    (adapter,) = probe.read().adapters
    assert kernel.asked.count(("eth0", 0x1B)) == 2
    assert [ring.frames for ring in adapter.rings] == [1000, 1001, 1002, 1003]


def test_a_change_of_channels_is_seen_at_once(root: Path) -> None:
    probe = Kernel({"eth0": igb()}).probe(root)
    probe.read()
    for ring in (2, 3):
        for file in ("rps_cpus", ""):
            path = root / f"sys/class/net/eth0/queues/rx-{ring}" / file
            path.unlink() if file else path.rmdir()
    (adapter,) = probe.read().adapters
    assert [ring.ring for ring in adapter.rings] == [0, 1]


def test_the_only_ring_has_all_that_the_interface_received(root: Path) -> None:
    write_interface(root, "eth1", 1)
    interface = Interface(3, "e1000e", ring_size=None, channels=None)
    (adapter,) = Kernel({"eth1": interface}).probe(root, ["eth1"]).read().adapters
    assert adapter.rings == (Ring(0, 4006, 360_006),)
    assert adapter.sources == {"frames": "derived", "bytes": "derived"}
    assert (adapter.ring_size, adapter.max_rings) == (None, None)


def test_zeros_of_an_adapter_that_may_not_have_reported_its_drops_are_unknown(root: Path) -> None:
    names, numbers = read_ethtool("gve")
    interface = Interface(2, "gve", names, numbers)
    probe = Kernel({"eth0": interface}).probe(root)
    assert [ring.dropped for ring in probe.read().adapters[0].rings] == [7, 8, 9, 10]
    drops = [place for place, name in enumerate(names) if name.startswith("rx_no_buffers_posted")]
    for place in drops:
        interface.numbers[place] = 0
    (adapter,) = probe.read().adapters
    assert [ring.dropped for ring in adapter.rings] == [None] * 4
    assert (adapter.port_dropped, "dropped" in adapter.sources) == (None, False)
    interface.numbers[drops[2]] = 1
    assert [ring.dropped for ring in probe.read().adapters[0].rings] == [0, 0, 1, 0]


def test_several_rings_without_counters_are_unknown_not_zero(root: Path) -> None:
    interface = Interface(2, "veth", *read_ethtool("veth"))
    (adapter,) = Kernel({"eth0": interface}).probe(root).read().adapters
    assert {(ring.frames, ring.bytes, ring.dropped) for ring in adapter.rings} == {(None, None, None)}


def test_ntuple_rules_that_send_a_mac_to_a_ring(root: Path) -> None:
    mac = "00:15:5d:00:00:0a"
    rules = {
        5: ether_rule(mac, 3, 5, vlan=10),
        6: ether_rule(mac, 2, 6),
        7: ether_rule(mac, 0xFFFFFFFFFFFFFFFF, 7),  # drops
        8: ether_rule(mac, 1 << 32, 8),  # to a virtual function
        9: ether_rule(mac, 1, 9, mask=b"\xff\xff\xff\0\0\0"),
        10: ether_rule(mac, 1, 10, flow=0x01),  # TCP over IPv4
        11: ether_rule(mac, 1, 11, flow=0x20000012),  # to an RSS context
        12: b"",  # deleted while they are read
    }
    (adapter,) = Kernel({"eth0": igb(rules=rules)}).probe(root).read().adapters
    assert adapter.rules == (Rule(5, mac, 10, 3), Rule(6, mac, None, 2))


def test_an_interface_that_was_made_again_is_read_anew(root: Path) -> None:
    interface = igb(napi_irqs={0: 40})
    probe = Kernel({"eth0": interface}).probe(root)
    assert probe.read().adapters[0].rings[0].irq == 40
    interface.index, interface.napi_irqs = 9, {0: 43}
    (adapter,) = probe.read().adapters
    assert (adapter.index, adapter.rings[0].irq, adapter.rings[0].cpus) == (9, 43, (3,))


def test_the_processor_of_an_interrupt_may_be_unknown_where_the_interrupt_is_not(root: Path) -> None:
    for irq in IRQS:
        write(root, f"/proc/irq/{irq}/effective_affinity_list", "\n")
    (adapter,) = Kernel({"eth0": igb()}).probe(root).read().adapters
    assert [ring.cpus for ring in adapter.rings] == [None] * 4
    assert (adapter.sources["interrupts"], adapter.sources.get("cpus")) == ("guessed", None)


# Virtual functions


def with_functions(driver: str, **changes: object) -> Interface:
    functions = [Function("52:54:00:00:01:00", 10, (2251, 180_000, 4)), Function("00:00:00:00:00:00")]
    return igb(driver=driver, functions=functions, **changes)


def test_zeros_of_a_driver_that_counts_no_virtual_functions_are_unknown(root: Path) -> None:
    interface = with_functions("igb")
    interface.functions[0].stats = (0, 0, 0)
    (adapter,) = Kernel({"eth0": interface}).probe(root).read().adapters
    first, second = adapter.functions
    assert (first.vf, first.mac, first.vlan, first.frames) == (0, "52:54:00:00:01:00", 10, None)
    assert (first.bytes, first.dropped, first.counters_source) == (None, None, None)
    assert (second.vf, second.mac, second.vlan) == (1, None, 0)


@pytest.mark.parametrize(
    ("driver", "dropped"), [("ice", 4), ("i40e", 4), ("ixgbe", None), ("mlx5_core", None)]
)
def test_drivers_that_count_virtual_functions_are_believed(
    root: Path, driver: str, dropped: int | None
) -> None:
    (adapter,) = Kernel({"eth0": with_functions(driver)}).probe(root).read().adapters
    function = adapter.functions[0]
    assert (function.frames, function.bytes, function.dropped) == (2251, 180_000, dropped)
    assert function.counters_source == "exact"


def test_a_virtual_function_s_own_interface_has_exact_counters(root: Path) -> None:
    write(root, "/sys/class/net/eth0/device/virtfn0/net/eth5/ifindex", "7\n")
    write_machine(root, irqs=IRQS | {50: ("eth5-rx-0", [1, 2, 30, 4])})
    write_interface(root, "eth5", 1, irqs=[50], driver="igbvf")
    write(root, "/sys/class/net/eth5/device/physfn/net/eth0/ifindex", "2\n")
    own = Interface(7, "igbvf", mac="52:54:00:00:01:00", received=(2251, 180_000, 0), channels=None)
    machine = Kernel({"eth0": with_functions("igb"), "eth5": own}).probe(root).read()

    assert [adapter.name for adapter in machine.adapters] == ["eth0"]  # eth5 is part of it
    first, second = machine.adapters[0].functions
    assert (first.device, first.frames, first.bytes) == ("eth5", 2251, 180_000)
    assert (first.counters_source, first.dropped, first.cpus) == ("exact", None, (2,))
    assert (first.interrupts, first.ring_size) == (37, 256)
    assert first.sources == {"interrupts": "guessed", "cpus": "guessed"}
    assert (second.device, second.frames, second.interrupts, second.ring_size) == (None, None, None, None)


def test_drops_of_a_virtual_function_s_own_interface_are_read_as_of_any(root: Path) -> None:
    write(root, "/sys/class/net/eth0/device/virtfn0/net/eth5/ifindex", "7\n")
    write_interface(root, "eth5", 2, driver="bnxt_en")
    write(root, "/sys/class/net/eth5/device/physfn/net/eth0/ifindex", "2\n")
    own = Interface(7, "bnxt_en", received=(2251, 180_000, 0), channels=(2, 2), ring_size=1024)
    own.queue_counters = {0: {8: 1000, 9: 100_000, 14: 3}, 1: {8: 1251, 9: 80_000, 14: 4}}
    kernel = Kernel({"eth0": with_functions("igb"), "eth5": own})
    probe = kernel.probe(root)
    first, _ = probe.read().adapters[0].functions
    assert (first.frames, first.dropped, first.ring_size) == (2251, 7, 1024)
    assert first.sources["dropped"] == "derived"
    (row,) = [row for row in rows_of(probe.read().adapters[0]) if row.device == "eth5"]
    assert (row.counts, row.ring_size) == (Counts(2251, 180_000, 7, None), 1024)
    del kernel.interfaces["eth5"]  # given to a VM
    machine = probe.read()
    first, _ = machine.adapters[0].functions
    assert (first.device, first.frames, first.dropped, machine.troubles) == (None, None, None, ())


@pytest.mark.parametrize("limits", [{"most_functions_with_stats": 1}, {"cut_functions_after": 1}])
def test_functions_that_do_not_fit_with_their_counters_come_without(
    root: Path, limits: dict[str, int]
) -> None:
    kernel = Kernel({"eth0": with_functions("ice")}, **limits)  # type: ignore[arg-type]
    machine = kernel.probe(root).read()
    (adapter,) = machine.adapters
    assert [(each.vlan, each.frames) for each in adapter.functions] == [(10, None), (0, None)]
    assert adapter.port_frames == 4006
    assert machine.troubles == ("eth0: the kernel can't send the counters of so many virtual functions",)


def test_functions_that_the_kernel_leaves_out_are_a_trouble(root: Path) -> None:
    kernel = Kernel({"eth0": with_functions("ice")}, cut_functions_after=1, always_cut=True)
    machine = kernel.probe(root).read()
    assert [each.vf for each in machine.adapters[0].functions] == [0]
    assert machine.troubles == ("eth0: the kernel sends 1 of its 2 virtual functions",)


# Which adapters


def test_by_default_the_adapters_with_several_queues_or_functions(root: Path) -> None:
    write_interface(root, "eth1", 1)
    write_interface(root, "veth0", 4, device=False)
    write_interface(root, "pf0vf1", 4)
    write(root, "/sys/class/net/pf0vf1/phys_port_name", "pf0vf1\n")
    write_interface(root, "eth2", 1)
    write(root, "/sys/class/net/eth2/device/sriov_numvfs", "3\n")
    kernel = Kernel({name: igb(index=place) for place, name in enumerate(("eth0", "eth1", "eth2"))})
    assert [adapter.name for adapter in kernel.probe(root).read().adapters] == ["eth0", "eth2"]


def test_without_such_an_adapter_all_with_a_device(tmp_path: Path) -> None:
    write_machine(tmp_path)
    write_interface(tmp_path, "eth1", 1)
    write_interface(tmp_path, "veth0", 4, device=False)
    assert [each.name for each in Kernel({"eth1": igb()}).probe(tmp_path).read().adapters] == ["eth1"]


def test_an_adapter_that_is_named_is_read_whatever_it_is(root: Path) -> None:
    write_interface(root, "veth0", 2, device=False)
    kernel = Kernel({"veth0": Interface(9, "veth", *read_ethtool("veth"))})
    (adapter,) = kernel.probe(root, ["veth0", "veth0"]).read().adapters
    assert (adapter.name, len(adapter.rings)) == ("veth0", 2)


def test_an_unknown_name_is_refused_with_those_that_are_there(root: Path) -> None:
    write_interface(root, "lo", 1, device=False)
    with pytest.raises(UnknownAdapterError, match=r"^no adapter 'eth9' here; there are: eth0, lo$"):
        Kernel({}).probe(root, ["eth0", "eth9"])


def test_adapters_come_and_go(root: Path) -> None:
    kernel = Kernel({"eth0": igb()})
    probe = kernel.probe(root)
    assert len(probe.read().adapters) == 1
    write_interface(root, "eth1", 2)
    kernel.interfaces["eth1"] = igb(index=3)
    assert [adapter.name for adapter in probe.read().adapters] == ["eth0", "eth1"]
    del kernel.interfaces["eth0"]  # unplugged between the listing and the reading
    machine = probe.read()
    assert [adapter.name for adapter in machine.adapters] == ["eth1"]
    assert machine.troubles == ()


@pytest.mark.parametrize("names", [["eth0"], []])
def test_an_adapter_that_went_is_told_once(root: Path, names: list[str]) -> None:
    kernel = Kernel({"eth0": igb()})
    source = LinuxSource(kernel.probe(root, names), "hv01")
    source.read()
    interface = kernel.interfaces.pop("eth0")
    shutil.rmtree(root / "sys/class/net/eth0")
    readings = [source.read() for _ in range(3)]
    assert [[event.event for event in one.events] for one in readings] == [["adapter_gone"], [], []]
    kernel.interfaces["eth0"] = interface
    write_interface(root, "eth0", 2)
    assert [event.event for event in source.read().events] == ["adapter_came"]


def test_a_named_adapter_that_went_before_the_first_reading_is_a_trouble_until_it_is_back(root: Path) -> None:
    kernel = Kernel({"eth0": igb()})
    probe = kernel.probe(root, ["eth0"])
    interface = kernel.interfaces.pop("eth0")
    machine = probe.read()
    assert (machine.adapters, machine.troubles) == ((), ("eth0 is not there any more",))
    kernel.interfaces["eth0"] = interface
    assert len(probe.read().adapters) == 1


# What can't be read


def test_a_driver_that_knows_no_request_gives_what_the_files_tell(root: Path) -> None:
    commands = (0x03, 0x10, 0x1B, 0x1D, 0x2E, 0x3C)
    interface = igb(failures=dict.fromkeys(commands, errno.EOPNOTSUPP))
    machine = Kernel({"eth0": interface}, netdev=False).probe(root).read()
    assert machine.troubles == ()
    (adapter,) = machine.adapters
    assert (adapter.driver, len(adapter.rings), adapter.rings[3].cpus) == ("igb", 4, (3,))


def test_a_driver_that_fails_is_a_trouble_and_the_rest_is_read(root: Path) -> None:
    machine = Kernel({"eth0": igb(failures={0x1D: errno.EIO})}).probe(root).read()
    assert machine.troubles == ("eth0: its counters can't be read: Input/output error",)
    assert [ring.frames for ring in machine.adapters[0].rings] == [None] * 4
    assert machine.adapters[0].rings[0].interrupts == 503


def test_an_adapter_unplugged_while_it_is_read_is_left_out(root: Path) -> None:
    machine = Kernel({"eth0": igb(failures={0x1D: errno.ENODEV})}).probe(root).read()
    assert machine.adapters == ()
    assert machine.troubles == ()


def test_without_proc_irq_as_in_a_container_the_processors_of_rings_are_unknown(root: Path) -> None:
    for irq in IRQS:
        (root / f"proc/irq/{irq}/effective_affinity_list").unlink()
    (root / "proc/interrupts").unlink()
    (root / "proc/stat").unlink()
    machine = Kernel({"eth0": igb()}).probe(root).read()
    assert {(ring.irq, ring.cpus) for ring in machine.adapters[0].rings} == {(None, None)}
    assert machine.processors == ()
    assert not {"irq", "interrupts", "cpus"} & set(machine.adapters[0].sources)
    assert machine.troubles == ("the load of processors is unknown: /proc/stat can't be read",)


def test_a_speed_that_is_not_known_is_not_zero(root: Path) -> None:
    for speed in ("-1\n", "0\n", ""):
        write(root, "/sys/class/net/eth0/speed", speed)
        assert Kernel({"eth0": igb()}).probe(root).read().adapters[0].link_mbps is None


def test_an_interface_whose_name_is_not_text(root: Path) -> None:
    name = b"\xffnet\xfe".decode("utf-8", "surrogateescape")
    write_interface(root, name, 2)
    (adapter,) = Kernel({name: igb()}).probe(root, [name]).read().adapters
    assert adapter.name == r"\xffnet\xfe"


def test_a_driver_that_is_slow_to_answer_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.7, 500.0, 500.5])  # its link and kept facts; then, after others, its counters
    monkeypatch.setattr("engine.measure.adapter.time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert Kernel({"eth0": igb()}).probe(root).read().troubles == ("eth0: its driver took 1.2 s to answer",)


def test_processors_of_rings_are_a_guess_where_work_moves_on(root: Path) -> None:
    write(root, "/sys/class/net/eth0/queues/rx-2/rps_cpus", "f\n")
    kernel = Kernel({"eth0": igb(napi_irqs={ring: 40 + ring for ring in range(4)})})
    (adapter,) = kernel.probe(root).read().adapters
    assert (adapter.sources["irq"], adapter.sources["cpus"]) == ("exact", "guessed")


def test_more_rules_than_are_read_are_a_trouble(root: Path) -> None:
    rules = {place: ether_rule("00:15:5d:00:00:0a", 1, place) for place in range(MAX_RULES + 1)}
    machine = Kernel({"eth0": igb(rules=rules)}).probe(root).read()
    assert len(machine.adapters[0].rules) == MAX_RULES
    assert machine.troubles == ("eth0: 1,024 of its 1,025 ntuple rules are read",)


def test_a_driver_with_more_counters_than_are_read(root: Path) -> None:
    names = [f"counter_{place}" for place in range(MAX_COUNTERS + 1)]
    machine = Kernel({"eth0": igb(names=names, numbers=[0] * len(names))}).probe(root).read()
    assert machine.troubles == ("eth0: its 65,537 counters are too many; up to 65,536 are read",)
    assert machine.adapters[0].rings[0].frames is None


def test_one_reading_of_64_queues_takes_less_than_5_ms_of_a_processor(tmp_path: Path) -> None:
    irqs = {
        100 + each: (f"eth0-TxRx-{each}" if each < 64 else f"disk-{each}", range(16)) for each in range(200)
    }
    write_machine(tmp_path, range(16), irqs)
    write_interface(tmp_path, "eth0", 64, irqs=[irq for irq in irqs if irq < 164])
    names = [
        f"{way}_queue_{ring}_{counter}"
        for ring in range(64)
        for way in ("tx", "rx")
        for counter in ("packets", "bytes", "drops", "errors", "restart")
    ]
    interface = igb(names=names, numbers=list(range(len(names))), channels=(64, 64))
    probe = Kernel({"eth0": interface}).probe(tmp_path)
    assert probe.read().adapters[0].rings[63].interrupts == sum(range(16))

    took = []
    for _ in range(20):
        before = time.process_time()
        probe.read()
        took.append(time.process_time() - before)
    assert min(took) < 0.005
