"""A cable between two network namespaces: what is sent at its far end, an engine receives at the near one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

_SEND = """
import socket, struct, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.bind((sys.argv[1], 0))
    while head := sys.stdin.buffer.read(4):
        out.send(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
"""


class Veth:
    """``near`` is the interface here. Both ends are quiet: no address, no ARP, no IPv6."""

    def __init__(self, number: int) -> None:
        self.near, self._far, self._namespace = f"vq{number}n", f"vq{number}f", f"vq{number}"

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames, byte for byte, from the far end."""
        content = b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)
        self._there(sys.executable, "-c", _SEND, self._far, content=content)

    def send_outwards(self, frames: Iterable[bytes]) -> None:
        """Send frames from the near end: the interface transmits them, it does not receive them."""
        content = b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)
        subprocess.run([sys.executable, "-c", _SEND, self.near], input=content, check=True)

    def remove(self) -> None:
        """Take the interface away, as if it were pulled out."""
        subprocess.run(["ip", "link", "del", self.near], check=True)

    def _there(self, *command: str, content: bytes = b"") -> None:
        subprocess.run(["ip", "netns", "exec", self._namespace, *command], input=content, check=True)

    def _build(self) -> None:
        for command in (
            f"netns add {self._namespace}",
            f"link add {self.near} type veth peer name {self._far} netns {self._namespace}",
        ):
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
        quiet = "sysctl -qw net.ipv6.conf.{0}.disable_ipv6=1", "ip link set {0} arp off multicast off up"
        for command in quiet:
            subprocess.run(command.format(self.near).split(), check=True, capture_output=True)
            self._there(*command.format(self._far).split())

    def _tear_down(self) -> None:
        for command in (f"link del {self.near}", f"netns del {self._namespace}"):
            subprocess.run(["ip", *command.split()], check=False, capture_output=True)


@contextmanager
def veth() -> Iterator[Veth]:
    """Such a cable, where this user may lay one."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root")
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    cable = Veth(os.getpid())
    try:
        try:
            cable._build()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not here: {error.stderr!r}")
        yield cable
    finally:
        cable._tear_down()
