"""Each driver's counters, found in its ``ethtool -S``. The files are constructed: see their first lines."""

import pytest

from engine.measure.drivers import OTHER, driver_named, interrupt_pattern, locate_counters
from tests.measure.linux_kernel import FIXTURES, read_ethtool

FOUR = [1000, 1001, 1002, 1003]
OCTETS = [90000, 90001, 90002, 90003]
DROPS = [7, 8, 9, 10]
THREE_SUMS = [1000, 1003, 1006, 1009]
THREE_BYTE_SUMS = [90000, 90003, 90006, 90009]

EXPECTED = {
    # file: driver, frames, bytes, drops by ring, drops of the port
    "igb": ("igb", FOUR, OCTETS, DROPS, None),
    "ixgbe": ("ixgbe", FOUR, OCTETS, None, 15),
    "ice": ("ice", FOUR, OCTETS, None, 15),
    "i40e": ("i40e", FOUR, OCTETS, None, None),
    "i40e-older": ("i40e", FOUR, OCTETS, None, None),
    "iavf": ("iavf", FOUR, OCTETS, None, None),
    "mlx5": ("mlx5_core", FOUR, OCTETS, None, 15),
    "mlx4": ("mlx4_en", FOUR, OCTETS, DROPS, None),
    "bnxt": ("bnxt_en", THREE_SUMS, THREE_BYTE_SUMS, DROPS, None),
    "ena": ("ena", FOUR, OCTETS, None, None),
    "virtio_net": ("virtio_net", None, None, DROPS, None),
    "virtio_net-older": ("virtio_net", FOUR, OCTETS, DROPS, None),
    "vmxnet3": ("vmxnet3", THREE_SUMS, THREE_BYTE_SUMS, DROPS, None),
    "hv_netvsc": ("hv_netvsc", FOUR, OCTETS, None, None),
    "gve": ("gve", FOUR, OCTETS, DROPS, None),
    "be2net": ("be2net", FOUR, OCTETS, DROPS, None),
    "qede": ("qede", FOUR, None, None, None),
    "nfp": ("nfp", FOUR, None, None, None),
    "veth": ("veth", None, None, None, None),
    "unlisted": ("some_new_driver", FOUR, OCTETS, None, None),
}

INTERRUPTS = {
    "igb": ("eth0-TxRx-3", "eth0-rx-3"),
    "ixgbe": ("ens3f1-TxRx-3",),
    "ice": ("ice-ens3f1-TxRx-3",),
    "i40e": ("i40e-ens3f1-TxRx-3",),
    "iavf": ("iavf-eth1-TxRx-3",),
    "mlx5_core": ("mlx5_comp3@pci:0000:81:00.0",),
    "bnxt_en": ("eth0-TxRx-3", "eth0-rx-3"),
    "ena": ("eth0-Tx-Rx-3",),
    "virtio_net": ("virtio2-input.3",),
    "vmxnet3": ("eth3-rxtx-3",),
    "be2net": ("eth0-q3",),
    "qede": ("eth0-fp-3",),
    "nfp": ("eth0-rxtx-3",),
    "some_new_driver": ("eth0-TxRx-3",),
}
OTHER_INTERRUPTS = ("eth0", "eth0-tx-3", "virtio2-output.3", "mlx5_async3@pci:0000:81:00.0", "eth0-3-async")


def test_every_file_is_expected() -> None:
    assert sorted(EXPECTED) == sorted(file.stem for file in FIXTURES.glob("*.txt"))


@pytest.mark.parametrize("file", EXPECTED)
def test_counters_of_four_rings_in_use(file: str) -> None:
    name, frames, octets, dropped, port_dropped = EXPECTED[file]
    names, numbers = read_ethtool(file)
    counters = locate_counters(driver_named(name), names, 4)

    assert counters.rings == 4
    assert (frames is None) == (counters.frames is None)
    assert counters.frames is None or counters.frames(numbers) == frames
    assert (octets is None) == (counters.bytes is None)
    assert counters.bytes is None or counters.bytes(numbers) == octets
    assert (dropped is None) == (counters.dropped is None)
    assert counters.dropped is None or counters.dropped(numbers) == dropped
    assert (port_dropped is None) == (counters.port_dropped is None)
    assert counters.port_dropped is None or counters.port_dropped(numbers) == [port_dropped]


@pytest.mark.parametrize("file", EXPECTED)
def test_a_ring_that_the_driver_does_not_list_leaves_its_counters_unknown(file: str) -> None:
    name, *_ = EXPECTED[file]
    names, _ = read_ethtool(file)
    counters = locate_counters(driver_named(name), names, 65)
    assert (counters.frames, counters.bytes, counters.dropped) == (None, None, None)


def test_rings_are_counted_by_their_names_where_their_number_is_not_told() -> None:
    for file, rings in (("igb", 4), ("vmxnet3", 4), ("ixgbe", 64), ("veth", 0)):
        names, _ = read_ethtool(file)
        assert locate_counters(driver_named(EXPECTED[file][0]), names, None).rings == rings


@pytest.mark.parametrize("driver", INTERRUPTS)
def test_names_of_interrupts_tell_the_ring(driver: str) -> None:
    pattern = interrupt_pattern(driver_named(driver))
    assert pattern is not None
    for name in INTERRUPTS[driver]:
        match = pattern.search(name)
        assert match is not None, name
        assert int(match[match.lastindex or 0]) == 3
    assert not [name for name in OTHER_INTERRUPTS if pattern.search(name)]


def test_no_ring_is_guessed_where_names_of_interrupts_do_not_tell_it() -> None:
    for driver in ("mlx4_en", "gve", "hv_netvsc"):
        assert interrupt_pattern(driver_named(driver)) is None


def test_a_driver_without_a_row_is_a_guess() -> None:
    assert driver_named("some_new_driver") is OTHER
    assert OTHER.frames_source == "guessed"
    assert not OTHER.vf_counters
