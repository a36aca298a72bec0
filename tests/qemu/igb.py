"""An igb adapter in a guest, the e1000e that sends to it, and the frames."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.qemu.bed import PATIENCE_S, Guest
from vmqtui.testing import wait_until

FRAME_BYTES = 100
"""Of a frame without its tag and FCS: what the drivers count, which never see either."""
MAX_BURST = 250
"""Frames sent at once: as many as the receivers' rings hold."""


@dataclass(frozen=True)
class Place:
    """Where frames are addressed to. ``vlan`` None: untagged."""

    mac: str
    vlan: int | None = None


def frame(place: Place, flow: int = 0) -> bytes:
    """Make a UDP frame; ``flow`` is told by its source address and port, as RSS does."""
    tag = b"" if place.vlan is None else b"\x81\x00" + place.vlan.to_bytes(2, "big")
    size = FRAME_BYTES - 14
    header = b"\x45\x00" + size.to_bytes(2, "big") + bytes(4) + b"\x40\x11\x00\x00"
    header += bytes([10, 1, flow >> 8, flow & 255, 10, 0, 0, 2])
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    total = 0xFFFF - (total + (total >> 16)) % 0x10000
    header = header[:10] + total.to_bytes(2, "big") + header[12:]
    ports = (1024 + flow).to_bytes(2, "big") + b"\x07\xd0"
    packet = header + ports + (size - 20).to_bytes(2, "big") + bytes(size - 26)
    return bytes.fromhex(place.mac.replace(":", "")) + b"\2\0\0\0\0\1" + tag + b"\x08\x00" + packet


class Igb:
    """``name`` is the physical function's interface, ``functions`` those of its virtual functions."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        devices = guest.call("devices")
        (self.name,), (self._sender,) = devices["igb"], devices["e1000e"]
        self._address = guest.sh(f"basename $(readlink /sys/class/net/{self.name}/device)").strip()
        self.mac: str = guest.call("read", path=f"/sys/class/net/{self.name}/address").strip()
        self.functions: list[str] = []
        self._up(self.name, self._sender)

    def make_functions(self, places: Iterable[Place]) -> None:
        """Make virtual functions, give each its MAC and VLAN, and load their driver."""
        places = list(places)
        device = f"/sys/class/net/{self.name}/device"
        self._guest.sh(f"echo 0 >{device}/sriov_drivers_autoprobe; echo {len(places)} >{device}/sriov_numvfs")
        for vf, place in enumerate(places):
            self._guest.sh(f"ip link set {self.name} vf {vf} mac {place.mac} vlan {place.vlan or 0}")
        self._guest.sh(f"echo 1 >{device}/sriov_drivers_autoprobe")
        for vf in range(len(places)):
            self._guest.sh(f"basename $(readlink {device}/virtfn{vf}) >/sys/bus/pci/drivers_probe")
        self.functions = self._guest.sh(f"cd {device}; ls -1 virtfn*/net | grep eth").split()
        self._up(*self.functions)

    def remove_functions(self) -> None:
        self._guest.sh(f"echo 0 >/sys/class/net/{self.name}/device/sriov_numvfs")
        self.functions = []

    def unload(self) -> None:
        """Take the adapter from its driver: its interface goes."""
        self._guest.sh(f"echo {self._address} >/sys/bus/pci/drivers/igb/unbind")

    def load(self) -> None:
        """Give the adapter to its driver again: its interface comes, of the same name."""
        self._guest.sh(f"echo {self._address} >/sys/bus/pci/drivers/igb/bind")
        self._up(self.name)

    def set_channels(self, combined: int) -> None:
        self._guest.call("set_channels", device=self.name, combined=combined)
        self._wait_for_carrier(self.name, *self.functions)

    def send(self, place: Place, count: int, flows: int = 50) -> None:
        """Send frames to a place, of several flows in turn."""
        frames = [frame(place, flow).hex() for flow in range(flows)]
        before = self._sent()
        for start in range(0, count, MAX_BURST):
            times = min(MAX_BURST, count - start) // flows
            self._guest.call("send", device=self._sender, frames=frames, times=times)
        what = f"{count} frames sent"
        wait_until(lambda: self._sent() == before + count, PATIENCE_S, what=what, seen=self._sent)

    def _sent(self) -> int:
        return int(self._guest.call("read", path=f"/sys/class/net/{self._sender}/statistics/tx_packets"))

    def _up(self, *names: str) -> None:
        """Put interfaces up, with nothing of their own to send."""
        self._guest.sh(f"for each in {' '.join(names)}; do ip link set $each arp off multicast off up; done")
        self._wait_for_carrier(*names)

    def _wait_for_carrier(self, *names: str) -> None:
        def up() -> bool:
            files = (f"/sys/class/net/{name}/operstate" for name in names)
            return all(self._guest.call("read", path=file).strip() == "up" for file in files)

        wait_until(up, PATIENCE_S, what=f"link of {names}")
