"""The block of shared memory that an engine and its workers work in."""

import errno
import os
import secrets
import shutil
import sys
from multiprocessing import shared_memory
from pathlib import Path

import psutil

from engine.dataplane.layout import Sizes, Views, lay_out, total_bytes

SHOWN_IN = Path("/dev/shm")
"""Where POSIX shared memory is a file system with a size of its own, which shows its segments as files."""


class NotEnoughMemoryError(Exception):
    """A scenario needs more shared memory than is free. The text names the bytes."""


def free_bytes() -> int:
    """Shared memory that can still be allocated."""
    available: int = psutil.virtual_memory().available
    if sys.platform == "linux" and SHOWN_IN.is_dir():
        return min(available, shutil.disk_usage(SHOWN_IN).free)
    return available


def _hold(name: str) -> int | None:
    """Lock a segment for as long as the descriptor that this gives is open: somebody uses it."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        descriptor = os.open(SHOWN_IN / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def is_held(path: Path) -> bool:
    """Whether somebody uses a segment. Raises ``OSError``."""
    if sys.platform != "linux":
        return False
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Block:
    """One named block, laid out; ``views`` are its arrays.

    The engine makes it and removes it; workers attach by name. Views must not be used after ``close``.
    """

    def __init__(self, sizes: Sizes, name: str | None = None) -> None:
        self.sizes = sizes
        if name is None:
            needed = total_bytes(sizes)
            free = free_bytes()
            if needed > free:
                raise NotEnoughMemoryError(f"needs {needed:,} bytes of shared memory; {free:,} are free")
            try:
                self._memory = shared_memory.SharedMemory(
                    f"vmq-{os.getpid():x}-{secrets.token_hex(4)}", create=True, size=needed
                )
            except OSError as error:
                if error.errno not in (errno.ENOMEM, errno.ENOSPC):
                    raise
                raise NotEnoughMemoryError(f"needs {needed:,} bytes of shared memory: {error}") from error
        else:
            self._memory = shared_memory.SharedMemory(name)
        self._made = name is None
        self._held = _hold(self._memory.name) if self._made else None
        memory = self._memory.buf
        assert memory is not None
        self.views: Views = lay_out(memory, sizes)

    @property
    def name(self) -> str:
        """What a worker attaches to."""
        return self._memory.name

    def close(self) -> None:
        """Let go; the maker also removes the block. The views are gone after this."""
        del self.views
        try:
            self._memory.close()
        except BufferError:  # a view still lives in a traceback or a frame: the mapping ends with it
            self._memory._buf = None  # type: ignore[attr-defined]
            self._memory._mmap = None  # type: ignore[attr-defined]
        if self._made:
            self._memory.unlink()
        if self._held is not None:
            os.close(self._held)
