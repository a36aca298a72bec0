"""The block of shared memory that an engine and its workers work in."""

import errno
import os
import shutil
import sys
import warnings
from math import prod
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.files import hold, own_name
from engine.kernels.layout import PAGE_BYTES, Sizes, Views, dtypes, shapes

# A tracker that was killed is replaced, and what it knew is removed here all the same.
warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly")

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


def _attach(name: str) -> shared_memory.SharedMemory:
    """Attach to the segment of another process, which removes it.

    The resource tracker does not know of it: one that this process had to start would remove the segment.
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
    """Make a segment of this process known to the resource tracker: a new one where the first was killed."""
    if os.name == "posix":
        resource_tracker.register(f"/{memory.name}", "shared_memory")


def total_bytes(sizes: Sizes) -> int:
    """Bytes of shared memory a host of these sizes takes."""
    kinds = dtypes()
    return sum(
        -(-prod(shape) * kinds[name].itemsize // PAGE_BYTES) * PAGE_BYTES
        for name, shape in shapes(sizes).items()
    )


def lay_out(memory: memoryview, sizes: Sizes) -> Views:
    """The views of a block of ``total_bytes(sizes)`` bytes; each starts on a page of its own."""
    kinds = dtypes()
    views: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for name, shape in shapes(sizes).items():
        dtype = kinds[name]
        size = prod(shape)
        views[name] = np.frombuffer(memory, dtype, size, offset).reshape(shape)
        offset += -(-size * dtype.itemsize // PAGE_BYTES) * PAGE_BYTES
    return Views(**views)  # type: ignore[arg-type]  # the dtypes are the annotations' own


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

    def close(self) -> None:
        """Let go; the maker also removes the block. The views are gone after this."""
        del self.views
        try:
            self._memory.close()
        except BufferError:  # a view still lives in a traceback or a frame: the mapping ends with it
            # Private: nothing public leaves the mapping to its views.
            self._memory._buf = None  # type: ignore[attr-defined]
            # Private: nothing public leaves the mapping to its views.
            self._memory._mmap = None  # type: ignore[attr-defined]
        if self._made:
            _track(self._memory)
            self._memory.unlink()
        if self._held is not None:
            os.close(self._held)
