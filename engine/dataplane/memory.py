"""The block of shared memory of an engine and its workers."""

import errno
import os
import shutil
import sys
import warnings
from math import prod
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.files import hold, own_name
from engine.kernels.layout import PAGE_BYTES, Sizes, Views, dtypes, shapes

# A killed resource tracker is replaced, and ``Block.close`` removes the segments that it tracked.
warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly")

SHOWN_IN = Path("/dev/shm")
"""The file system of POSIX shared memory on Linux, which has its own size and one file for each segment."""


_FRAMES: Final = frozenset(
    ("buffer_bytes", "guest_bytes", "data", "offset", "captured", "wire", "arrival_ns", "adapter", "steered")
)
"""Views that hold nothing before a frame is written: frames, what is known of them, and memory that is
zeroed before a VM gets it."""


class NotEnoughMemoryError(Exception):
    """A scenario needs more shared memory than is free. The text names the bytes."""


def free_bytes() -> int:
    """Return the bytes of shared memory that can still be allocated."""
    available: int = psutil.virtual_memory().available
    if sys.platform == "linux" and SHOWN_IN.is_dir():
        return min(available, shutil.disk_usage(SHOWN_IN).free)
    return available


def _attach(name: str) -> shared_memory.SharedMemory:
    """Attach to a segment that another process owns and removes.

    Don't register it: this process might have to start a resource tracker, which would remove the segment.
    """
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, track=False)
    tracker: Any = resource_tracker
    register, tracker.register = tracker.register, lambda name, kind: None
    try:
        return shared_memory.SharedMemory(name)
    finally:
        tracker.register = register


def _track(memory: shared_memory.SharedMemory) -> None:
    """Register this process's segment with the resource tracker again, in case the first one was killed."""
    if os.name == "posix":
        resource_tracker.register(f"/{memory.name}", "shared_memory")


def total_bytes(sizes: Sizes) -> int:
    """Return the bytes of shared memory for a host of these sizes."""
    kinds = dtypes()
    return sum(
        -(-prod(shape) * kinds[name].itemsize // PAGE_BYTES) * PAGE_BYTES
        for name, shape in shapes(sizes).items()
    )


def lay_out(memory: memoryview, sizes: Sizes) -> Views:
    """Return the views of a block of ``total_bytes(sizes)`` bytes; each view is aligned to a page."""
    kinds = dtypes()
    views: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for name, shape in shapes(sizes).items():
        dtype = kinds[name]
        size = prod(shape)
        views[name] = np.frombuffer(memory, dtype, size, offset).reshape(shape)
        offset += -(-size * dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
    return Views(**views)  # type: ignore[arg-type]  # the dtypes come from the annotations


class Block:
    """One named block of shared memory; ``views`` are its arrays.

    The engine creates it (``name`` None) and removes it; workers attach by name. Views must not be used after
    ``close``. Raises NotEnoughMemoryError.
    """

    def __init__(self, sizes: Sizes, name: str | None = None) -> None:
        self.sizes = sizes
        if name is None:
            needed = total_bytes(sizes)
            free = free_bytes()
            if needed > free:
                raise NotEnoughMemoryError(f"needs {needed:,} bytes of shared memory; {free:,} are free")
            try:
                self._memory = shared_memory.SharedMemory(own_name(), create=True, size=needed)
            except OSError as error:
                if error.errno not in (errno.ENOMEM, errno.ENOSPC):
                    raise
                raise NotEnoughMemoryError(f"needs {needed:,} bytes of shared memory: {error}") from error
        else:
            self._memory = _attach(name)
        self._made = name is None
        self._held = hold(SHOWN_IN / self._memory.name) if self._made else None
        memory = self._memory.buf
        assert memory is not None
        self.views: Views = lay_out(memory, sizes)

    @property
    def name(self) -> str:
        """The name that workers attach to."""
        return self._memory.name

    def clear(self) -> None:
        """Zero all views but those of frames, as in a new block; no shard may run."""
        for name, view in self.views._asdict().items():
            if name not in _FRAMES:
                view[...] = 0

    def close(self) -> None:
        """Close the block and its views; the process that created the block also removes it.

        A block that is closed already stays as it is.
        """
        if not hasattr(self, "views"):
            return
        del self.views
        try:
            self._memory.close()
        except BufferError:  # a traceback or frame still refers to a view: the mapping ends with that view
            # Private: no public API leaves the mapping to its views.
            self._memory._buf = None  # type: ignore[attr-defined]
            # Private: no public API leaves the mapping to its views.
            self._memory._mmap = None  # type: ignore[attr-defined]
            self._memory.close()
        if self._made:
            _track(self._memory)
            self._memory.unlink()
        if self._held is not None:
            os.close(self._held)
