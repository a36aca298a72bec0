"""A Linux guest with a real igb driver: QEMU's 82576 with SR-IOV, and an e1000e that sends to it.

All of it is emulated in software. The guest has the host's file system under a layer of its own, and so runs
the same Python and checkout. It needs ``qemu-system-x86_64`` 8 or later, a static busybox, and a kernel with
its modules: ``VMQTUI_QEMU_KERNEL`` names the folder that holds ``boot/vmlinuz-*`` and ``lib/modules`` of a
Linux package, without which an installed kernel is used.
"""

import compileall
import io
import json
import lzma
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_CHECKOUT = Path(__file__).parents[2]
_MODULES = "virtio_pci", "virtio_net", "9p", "9pnet_virtio", "overlay", "igb", "igbvf", "e1000e"
_CPUS = 2
PATIENCE_S = 240
"""A guest that writes nothing to its console and answers nothing for so long is given up."""
_KERNEL = "VMQTUI_QEMU_KERNEL"
HOST = "10.0.2.2"
"""This machine's loopback, as the guest reaches it."""

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
for module in $(cat /modules); do insmod /lib/$module || echo "no module $module"; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 root /host
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /mnt
for each in proc sysfs:sys devtmpfs:dev tmpfs:run; do mount -t ${each%:*} ${each%:*} /mnt/${each#*:}; done
mkdir -m 1777 /mnt/run/tmp
echo "the guest is up"
. /start
echo "the guest ends"
poweroff -f
"""

_OPTIONS = f"""
-nodefaults -no-user-config -display none -no-reboot -serial stdio
-machine q35 -accel tcg,thread=multi -cpu max -smp {_CPUS} -m 1536
-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap
-netdev user,id=u0 -device virtio-net-pci,netdev=u0,romfile=
-netdev hubport,id=h0,hubid=0 -device pcie-root-port,id=rp0 -device igb,bus=rp0,netdev=h0,romfile=
-netdev hubport,id=h1,hubid=0 -device e1000e,netdev=h1,romfile=
-append 'console=ttyS0 quiet panic=-1 net.ifnames=0 ipv6.disable=1'
"""


class Ended(NamedTuple):
    """A program that ran in the guest to its end."""

    status: int
    out: str
    err: str


class Tools(NamedTuple):
    """What a guest is made of."""

    qemu: str
    busybox: Path
    kernel: Path
    modules: Path


def _tools() -> Tools:
    """Find them, or skip. Where CI has had the packages they must be found."""
    told = os.environ.get(_KERNEL)
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        pytest.skip("the guest runs this machine's programs: Linux on x86-64 only")
    root = Path(told or "/")
    qemu, busybox = shutil.which("qemu-system-x86_64"), shutil.which("busybox")
    for kernel in sorted(root.glob("boot/vmlinuz-*"), reverse=True):
        modules = root / "lib/modules" / kernel.name.removeprefix("vmlinuz-")
        if qemu and busybox and next(modules.rglob("igbvf.ko*"), None):
            return Tools(qemu, Path(busybox), kernel, modules)
    wanted = f"qemu-system-x86_64 ({qemu}), busybox ({busybox}) or a kernel with igbvf in {root}"
    pytest.skip(f"{wanted} is not here" if told else f"no {wanted}: {_KERNEL} names the folder of a kernel")


def _with_dependencies(modules: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read kernel modules and those they depend on, in the order in which they can be loaded."""
    files = {path.name.split(".ko")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    read: dict[str, bytes] = {}

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or name in read:
            return  # the kernel has it built in
        content = path.read_bytes()
        if path.suffix == ".xz":
            content = lzma.decompress(content)
        elif path.suffix == ".gz":
            content = zlib.decompress(content, 31)
        depends = content.partition(b"\0depends=")[2].partition(b"\0")[0].decode()
        for other in depends.split(","):
            add(other)
        read[name] = content

    for name in names:
        add(name)
    return read


def _cpio(files: dict[str, bytes]) -> bytes:
    """Pack files as the kernel unpacks its first root: folders first, all of them executable."""
    archive = io.BytesIO()
    folders = dict.fromkeys(str(parent) for name in files for parent in reversed(Path(name).parents[:-1]))
    entries = [(name, 0o040755, b"") for name in folders] + [(n, 0o100755, c) for n, c in files.items()]
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0
        archive.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        archive.write(bytes(-archive.tell() % 4))
        archive.write(content)
        archive.write(bytes(-archive.tell() % 4))
    return archive.getvalue()


def _first_root(tools: Tools, port: int) -> bytes:
    modules = _with_dependencies(tools.modules, _MODULES)
    environment = {
        "HOME": "/run/tmp",
        "TMPDIR": "/run/tmp",
        "XDG_RUNTIME_DIR": "/run/tmp",
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }
    program = sys.executable, str(Path(__file__).with_name("guest.py")), HOST, str(port)
    start = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return _cpio(
        {
            "init": _INIT.encode(),
            "bin/busybox": tools.busybox.read_bytes(),
            "modules": " ".join(modules).encode(),
            "start": "\n".join([*start, f"chroot /mnt {shlex.join(program)}", ""]).encode(),
            **{f"{folder}/.keep": b"" for folder in ("proc", "host", "layer", "mnt")},
            **{f"lib/{name}": content for name, content in modules.items()},
        }
    )


class Guest:
    """A booted guest that runs what it is asked to, over one connection."""

    def __init__(self, connection: socket.socket, console: Path) -> None:
        self._connection, self._console = connection, console
        connection.settimeout(PATIENCE_S)
        self._lines = connection.makefile("rb")

    def call(self, do: str, **values: Any) -> Any:
        """Call a function of ``guest.py``; raise what it raised as ``RuntimeError``."""
        self._connection.sendall(json.dumps({"do": do, "values": values}).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise RuntimeError(f"the guest is gone: {self._console.read_text(errors='replace')[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"in the guest: {answer['error']}")
        return answer["result"]

    def run(self, *command: str, user: int = 0) -> Ended:
        """Run a program there to its end."""
        return Ended(*self.call("run", command=command, user=user))

    def sh(self, command: str) -> str:
        """Run a line of shell that must succeed; return what it printed."""
        ended = self.run("sh", "-ec", command)
        assert ended.status == 0, (command, ended)
        return ended.out


@contextmanager
def guest(directory: Path) -> Iterator[Guest]:
    """Boot one, and end it. ``directory`` keeps its console."""
    tools = _tools()
    compileall.compile_dir(_CHECKOUT / "engine", quiet=1)  # in the guest, each program would do it again
    compileall.compile_dir(_CHECKOUT / "vmqtui", quiet=1)
    root, console = directory / "initramfs", directory / "console"
    with socket.create_server(("127.0.0.1", 0)) as door, console.open("wb") as output:
        root.write_bytes(_first_root(tools, door.getsockname()[1]))
        running = subprocess.Popen(
            [tools.qemu, *shlex.split(_OPTIONS), "-kernel", tools.kernel, "-initrd", root],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            with _accept(door, running, console) as connection:
                yield Guest(connection, console)
        finally:
            running.kill()
            running.wait()


def _accept(door: socket.socket, running: subprocess.Popen[bytes], console: Path) -> socket.socket:
    """Wait for the guest's call as long as its console shows that it boots."""
    door.settimeout(1)
    last, size = time.monotonic(), 0
    while True:
        try:
            return door.accept()[0]
        except TimeoutError:
            if console.stat().st_size > size:
                last, size = time.monotonic(), console.stat().st_size
        said = console.read_text(errors="replace")[-2000:]
        assert running.poll() is None, f"QEMU ended with {running.returncode}: {said}"
        assert time.monotonic() < last + PATIENCE_S, f"the guest says nothing more: {said}"
