"""A minimal ctypes binding of libpcap for reading a live interface.

Other bindings pass each frame to Python; here libpcap calls a compiled kernel for each frame. The functions
used have not changed since libpcap 1.5 (2013). The system's library is loaded when an interface is opened.
"""

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path
from typing import Any, Final

IN_FRAMES: Final = 1
"""``pcap_direction_t``: only frames that the interface received."""

ETHERNET: Final = 1
_ERROR_BYTES: Final = 256
_NANOSECONDS: Final = 1

# Results of ``pcap_activate`` (pcap/pcap.h).
_NO_SUCH_DEVICE: Final = -5
_NOT_SUPPORTED: Final = -7
_NO_PERMISSION: Final = -8
_NOT_UP: Final = -9
_NO_PROMISCUOUS_PERMISSION: Final = -11


class InterfaceError(Exception):
    """An interface can't be read; the message is a sentence that names it."""


class _Statistics(ctypes.Structure):
    _fields_ = (
        ("received", ctypes.c_uint),
        ("dropped", ctypes.c_uint),
        ("interface_dropped", ctypes.c_uint),
        ("captured", ctypes.c_uint),  # Windows only
    )


def _load() -> Any:
    """Load the library and declare its functions. Raises InterfaceError."""
    if sys.platform == "win32" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise InterfaceError("interface: reading a live interface needs libpcap on 64-bit Linux or macOS")
    name = ctypes.util.find_library("pcap")
    if name is None:
        raise InterfaceError("interface: libpcap is not here; install it (libpcap0.8 on Debian and Ubuntu)")
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise InterfaceError(f"interface: {name} can't be loaded: {error}") from None
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    library.pcap_create.restype = handle
    library.pcap_create.argtypes = (text, text)
    for name in (
        "set_snaplen", "set_promisc", "set_timeout", "set_buffer_size", "set_tstamp_precision",
    ):  # fmt: skip
        getattr(library, f"pcap_{name}").argtypes = (handle, number)
    library.pcap_setdirection.argtypes = (handle, number)
    library.pcap_setnonblock.argtypes = (handle, number, text)
    library.pcap_activate.argtypes = library.pcap_datalink.argtypes = (handle,)
    library.pcap_get_tstamp_precision.argtypes = (handle,)
    library.pcap_dispatch.argtypes = (handle, number, ctypes.c_void_p, ctypes.c_void_p)
    library.pcap_stats.argtypes = (handle, ctypes.POINTER(_Statistics))
    library.pcap_geterr.restype = library.pcap_statustostr.restype = text
    library.pcap_geterr.argtypes = (handle,)
    library.pcap_statustostr.argtypes = (number,)
    library.pcap_close.argtypes = (handle,)
    library.pcap_close.restype = None
    return library


class OpenInterface:
    """An interface open for non-blocking reads. Raises InterfaceError.

    ``nanoseconds``: True if timestamps have nanoseconds, False if microseconds. Frames sent by this machine
    are excluded if the system supports that.
    """

    def __init__(
        self, name: str, *, snapshot_bytes: int, buffer_bytes: int, timeout_ms: int, promiscuous: bool
    ) -> None:
        self._name = name
        self._library = library = _load()
        message = ctypes.create_string_buffer(_ERROR_BYTES)
        self._handle: int | None = library.pcap_create(os.fsencode(name), message)
        if not self._handle:
            raise InterfaceError(f"interface: {name}: {_text(message.value)}")
        try:
            library.pcap_set_snaplen(self._handle, snapshot_bytes)
            library.pcap_set_promisc(self._handle, promiscuous)
            library.pcap_set_timeout(self._handle, timeout_ms)
            library.pcap_set_buffer_size(self._handle, buffer_bytes)
            library.pcap_set_tstamp_precision(self._handle, _NANOSECONDS)
            status = library.pcap_activate(self._handle)
            if status < 0:
                raise InterfaceError(self._why_not(status))
            if library.pcap_datalink(self._handle) != ETHERNET:
                raise InterfaceError(f"interface: {name}: is not an Ethernet interface; one that is fits")
            self.nanoseconds = library.pcap_get_tstamp_precision(self._handle) == _NANOSECONDS
            library.pcap_setdirection(self._handle, IN_FRAMES)
            if library.pcap_setnonblock(self._handle, 1, message) != 0:
                raise InterfaceError(f"interface: {name}: {_text(message.value)}")
        except BaseException:
            self.close()
            raise

    def dispatch(self, frames: int, callback: int, state: int) -> int:
        """Call the kernel at address ``callback`` with ``state`` for up to ``frames`` available frames.

        Returns their number. Raises InterfaceError if the interface can't be read any more.
        """
        count: int = self._library.pcap_dispatch(self._handle, frames, callback, state)
        if count < 0:
            raise InterfaceError(f"{self._name}: {self._last_error()}")
        return count

    def counters(self) -> tuple[int, int, int] | None:
        """Return counts of frames received, dropped because the buffer was full, and dropped by the
        interface, as 32-bit counters that wrap; None if the system does not count."""
        counted = _Statistics()
        if self._handle is None or self._library.pcap_stats(self._handle, ctypes.byref(counted)) != 0:
            return None
        return counted.received, counted.dropped, counted.interface_dropped

    def close(self) -> None:
        """Close the interface; a second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.pcap_close(handle)

    def _last_error(self) -> str:
        return _text(self._library.pcap_geterr(self._handle))

    def _why_not(self, status: int) -> str:
        where = f"interface: {self._name}"
        if status in (_NO_PERMISSION, _NO_PROMISCUOUS_PERMISSION):
            what = "captured from" if status == _NO_PERMISSION else "set to promiscuous mode"
            return f"{where}: can't be {what} without the right to; {_RIGHTS}"
        if status == _NO_SUCH_DEVICE:
            return f"{where}: there is no such interface; {_fitting()} fits"
        if status == _NOT_UP:
            return f"{where}: is down; bring it up first (ip link set {self._name} up)"
        said = self._last_error() or _text(self._library.pcap_statustostr(status))
        return f"{where}: {said}"


def check_right(name: str) -> None:
    """Raise InterfaceError if an interface can't be captured by this user."""
    OpenInterface(name, snapshot_bytes=64, buffer_bytes=1 << 16, timeout_ms=10, promiscuous=False).close()


_RIGHTS: Final = (
    "run as root, or let this Python do it: setcap cap_net_raw,cap_net_admin+ep"
    f" {Path(sys.executable).resolve()}"
    if sys.platform.startswith("linux")
    else "run as root, or as a member of the group that may read /dev/bpf*"
)


def _fitting() -> str:
    import socket

    try:
        names = [name for _, name in socket.if_nameindex()]
    except (AttributeError, OSError):
        names = []
    return f"one of {', '.join(names[:16])}" if names else "the name of an Ethernet interface"


def _text(said: bytes | None) -> str:
    return " ".join((said or b"").decode(errors="replace").split())
