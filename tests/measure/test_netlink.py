"""Netlink answers in bytes, cut, late, strange, or errors. ``linux_kernel`` makes the well formed ones."""

import errno
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.measure.netlink import NetlinkSocket
from tests.measure.linux_kernel import Function, Interface, Kernel, attribute, message


def answering(*datagrams: bytes) -> NetlinkSocket:
    """A socket whose first request (its sequence is 1) is answered with these."""
    return NetlinkSocket(lambda protocol, request: iter(datagrams))


def link_payload(*attributes: bytes, flags: int = 1) -> bytes:
    return struct.pack("=BxHiII", 0, 1, 5, flags, 0) + b"".join(attributes)


def test_a_link_without_attributes_is_unknown_not_zero() -> None:
    link = answering(message(16, 1, link_payload())).link("eth0")
    assert (link.index, link.up, link.frames, link.bytes, link.errors) == (5, None, None, None, None)
    assert link.functions == ()


@pytest.mark.parametrize(("carrier", "flags", "up"), [(1, 1, True), (0, 1, False), (1, 0, False)])
def test_a_link_is_up_if_it_is_enabled_and_has_a_carrier(carrier: int, flags: int, up: bool) -> None:
    payload = link_payload(attribute(33, bytes([carrier])), flags=flags)
    assert answering(message(16, 1, payload)).link("eth0").up is up


def test_an_error_of_the_kernel_is_raised() -> None:
    refused = message(2, 1, struct.pack("=i", -errno.EBUSY) + bytes(16))
    with pytest.raises(OSError, match="busy") as raised:
        answering(refused).link("eth0")
    assert raised.value.errno == errno.EBUSY


@pytest.mark.parametrize("payload", [b"", bytes(15)])
@pytest.mark.parametrize("kind", [2, 16])
def test_a_message_that_is_cut_is_an_error_of_the_system(kind: int, payload: bytes) -> None:
    with pytest.raises(OSError, match="message"):
        answering(message(kind, 1, payload)).link("eth0")


def test_a_dump_that_ends_with_an_error_is_an_error() -> None:
    interface = Interface(5, queue_counters={0: {8: 1}})
    kernel = Kernel({"eth0": interface})

    def gone(protocol: int, request: bytes) -> Iterator[bytes]:
        for datagram in kernel.exchange(protocol, request):
            done = datagram[4:6] == b"\x03\0" and request[4:6] != b"\x10\0"
            yield datagram[:16] + struct.pack("=i", -errno.ENODEV) if done else datagram

    with pytest.raises(OSError) as raised:  # noqa: PT011  # by its number, below
        NetlinkSocket(gone).queue_counters(5)
    assert raised.value.errno == errno.ENODEV


def test_the_rest_of_an_answer_that_came_too_late_is_passed_over() -> None:
    stale = message(16, 7, link_payload(attribute(4, struct.pack("=I", 9000))))
    mine = message(16, 1, link_payload(attribute(4, struct.pack("=I", 1500))))
    assert answering(stale + mine).link("eth0").mtu == 1500


def test_a_kernel_that_does_not_answer_is_an_error() -> None:
    def silence(protocol: int, request: bytes) -> Iterator[bytes]:
        raise TimeoutError("timed out")

    with pytest.raises(TimeoutError):
        NetlinkSocket(silence).link("eth0")


def test_several_messages_in_one_datagram_and_one_in_several() -> None:
    interface = Interface(5, queue_counters={ring: {8: ring, 9: 100 * ring} for ring in range(3)})
    kernel = Kernel({"eth0": interface})

    def together(protocol: int, request: bytes) -> Iterator[bytes]:
        yield b"".join(kernel.exchange(protocol, request))

    apart = NetlinkSocket(kernel.exchange).queue_counters(5)
    assert NetlinkSocket(together).queue_counters(5) == apart
    assert {ring: (each.frames, each.bytes) for ring, each in apart.items()} == {
        0: (0, 0),
        1: (1, 100),
        2: (2, 200),
    }


def test_counters_of_32_bits_are_read_as_well() -> None:
    queue = attribute(2, bytes(4)) + attribute(3, bytes(4)) + attribute(8, struct.pack("=I", 77))
    netlink = NetlinkSocket(
        lambda protocol, request: iter(
            [
                message(29, 1, bytes(4) + attribute(1, struct.pack("=H", 29))),
                message(29, 2, bytes(4) + queue) + message(3, 2, bytes(4)),
            ][-1 if request[8] == 2 else 0 :][:1]
        )
    )
    assert netlink.queue_counters(5)[0].frames == 77


def test_a_kernel_without_the_family_says_so() -> None:
    netlink = NetlinkSocket(Kernel({}, netdev=False).exchange)
    for read in (netlink.queue_counters, netlink.queue_interrupts):
        with pytest.raises(OSError) as raised:  # noqa: PT011  # by its number, below
            read(5)
        assert raised.value.errno == errno.ENOENT


@given(st.binary(max_size=200), st.integers(0, 220))
def test_bytes_of_any_kind_give_a_link_or_an_error_of_the_system(noise: bytes, cut: int) -> None:
    functions = [Function("52:54:00:00:01:00", 10, (1, 2, 3))]
    kernel = Kernel({"eth0": Interface(5, functions=functions)})

    def broken(protocol: int, request: bytes) -> Iterator[bytes]:
        content = b"".join(kernel.exchange(protocol, request))
        yield content[:cut] + noise + content[cut:]

    try:
        link = NetlinkSocket(broken).link("eth0")
    except OSError:
        return
    assert all(0 <= each.vf < 1 << 32 for each in link.functions)
