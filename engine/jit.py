"""One way to compile a kernel: eager signatures, no GIL, and a cache directory that is ours.

Numba's own cache misses edits in imported files and fails on read-only installs, so the directory is
named by a hash of every kernel source and of the versions that shape the machine code.
"""

import getpass
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

import platformdirs

_PACKAGE = Path(__file__).parent
_KERNEL_ROOMS = ("traffic", "dataplane")

F = TypeVar("F", bound=Callable[..., Any])


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for room in _KERNEL_ROOMS:
        for source in sorted((_PACKAGE / room).glob("*.py")):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    digest.update(Path(__file__).read_bytes())
    versions = (platform.python_version(), metadata.version("numba"), metadata.version("numpy"))
    digest.update(" ".join((*versions, platform.machine())).encode())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    """The kernel cache of these sources, or None where no directory can be written."""
    root = Path(platformdirs.user_cache_dir("vmqtui", appauthor=False))
    for base in (root, Path(tempfile.gettempdir()) / f"vmqtui-{getpass.getuser()}"):
        directory = base / f"kernels-{_sources_hash()}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


CACHE_DIRECTORY = _cache_directory()
if CACHE_DIRECTORY is not None:
    os.environ["NUMBA_CACHE_DIR"] = str(CACHE_DIRECTORY)

import llvmlite.ir  # noqa: E402
import numba  # noqa: E402 - reads NUMBA_CACHE_DIR when it is imported
import numba.core.cgutils  # noqa: E402
import numba.extending  # noqa: E402


def kernel(signature: str) -> Callable[[F], F]:
    """Compile a function now, for one signature, without the GIL, from the cache where there is one."""
    decorate = numba.njit(signature, nogil=True, cache=CACHE_DIRECTORY is not None)
    return cast("Callable[[F], F]", decorate)


def inlined(function: F) -> F:
    """Mark a helper that kernels call; it is compiled into each of them."""
    return cast("F", numba.njit(nogil=True)(function))


def _type_memcpy(typing_context: Any, to: Any, source: Any, size: Any) -> Any:
    """memcpy(to, source, size) on addresses."""
    signature = numba.types.void(numba.types.uintp, numba.types.uintp, numba.types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte_pointer = llvmlite.ir.IntType(8).as_pointer()
        target = builder.inttoptr(arguments[0], byte_pointer)
        origin = builder.inttoptr(arguments[1], byte_pointer)
        cast("Any", numba.core.cgutils).raw_memcpy(builder, target, origin, arguments[2], 1)
        return context.get_dummy_value()

    return signature, generate


_memcpy = cast("Any", numba.extending.intrinsic(_type_memcpy))


@inlined
def copy_bytes(to: Any, to_offset: Any, source: Any, source_offset: Any, size: Any) -> None:
    """Copy ``size`` bytes between uint8 arrays that do not overlap there. Bounds are the caller's."""
    _memcpy(
        numba.types.uintp(to.ctypes.data + to_offset),
        numba.types.uintp(source.ctypes.data + source_offset),
        numba.types.uintp(size),
    )
