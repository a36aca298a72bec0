"""Runs in the guest: does what the test asks for, one JSON line a request, over the connection it opens."""

import array
import contextlib
import fcntl
import json
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NETWORK = "/sys/class/net"
_SIOCETHTOOL = 0x8946
_STARTED: dict[int, "subprocess.Popen[bytes]"] = {}
_GET_CHANNELS, _SET_CHANNELS = 0x3C, 0x3D


def _open_to_all(*wanted: str) -> None:
    """Let ordinary users reach these folders, in the guest's own layer over the host's file system."""
    for path in wanted:
        for folder in (Path(path), *Path(path).parents):
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o055)


def _do(*command: str) -> None:
    subprocess.run(command, check=True)


def run(command: Sequence[str], user: int) -> tuple[int, str, str]:
    ended = subprocess.run(
        command, capture_output=True, encoding="utf-8", user=user, group=user, extra_groups=[], cwd="/run/tmp"
    )
    return ended.returncode, ended.stdout, ended.stderr


def start(command: Sequence[str], user: int, output: str) -> int:
    """Start a program, and return its id; its output goes to a file."""
    with Path(output).open("wb") as file:
        program = subprocess.Popen(
            command, stdout=file, stderr=file, user=user, group=user, extra_groups=[], cwd="/run/tmp"
        )
    _STARTED[program.pid] = program
    return program.pid


def status(pid: int) -> int | None:
    """Return how a program that was started has ended; None: it runs."""
    return _STARTED[pid].poll()


def read(path: str) -> str:
    return Path(path).read_text()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def devices() -> dict[str, list[str]]:
    """Interfaces by driver, in the order of their indices."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(_NETWORK).iterdir(), key=lambda path: int((path / "ifindex").read_text())):
        with contextlib.suppress(FileNotFoundError):
            found.setdefault((path / "device/driver").resolve(strict=True).name, []).append(path.name)
    return found


def send(device: str, frames: Sequence[str], times: int) -> None:
    """Send frames, written as hexadecimal digits, from an interface, all of them so many times."""
    contents = [bytes.fromhex(frame) for frame in frames]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((device, 0))
        for _ in range(times):
            for content in contents:
                out.send(content)


def set_channels(device: str, combined: int) -> None:
    """Change how many channels an interface has, as ``ethtool -L DEVICE combined N``."""
    channels = _ethtool(device, struct.pack("<9I", _GET_CHANNELS, *[0] * 8))
    _ethtool(device, struct.pack("<I", _SET_CHANNELS) + channels[4:-4] + struct.pack("<I", combined))


def _ethtool(device: str, question: bytes) -> bytes:
    answer = array.array("B", question)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), answer.buffer_info()[0]))
    return answer.tobytes()


def _serve(host: str, port: int) -> None:
    with socket.create_connection((host, port)) as connection:
        for line in connection.makefile("rb"):
            request: dict[str, Any] = json.loads(line)
            try:
                answer = {"result": globals()[request["do"]](**request["values"])}
            except Exception:
                answer = {"error": traceback.format_exc()}
            connection.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    _do("ip", "link", "set", "lo", "up")
    write("/proc/sys/net/core/default_qdisc", "pfifo_fast")  # the usual one drops frames of a slow sender
    (outside,) = devices()["virtio_net"]
    _do("ip", "addr", "add", "10.0.2.15/24", "dev", outside)
    _do("ip", "link", "set", outside, "up")
    _open_to_all(sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
    _serve(sys.argv[1], int(sys.argv[2]))
