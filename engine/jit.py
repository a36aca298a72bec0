"""One way to compile a kernel: eager signatures, no GIL, and the cache of ``kernel_cache``."""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

from engine.kernel_cache import CACHE_DIRECTORY

F = TypeVar("F", bound=Callable[..., Any])

if CACHE_DIRECTORY is not None:
    os.environ["NUMBA_CACHE_DIR"] = str(CACHE_DIRECTORY)

import llvmlite.ir  # noqa: E402
import numba  # noqa: E402 - reads NUMBA_CACHE_DIR when it is imported
import numba.core.cgutils  # noqa: E402
import numba.extending  # noqa: E402


def kernel(signature: str) -> Callable[[F], F]:
    """Compile a function now, for one signature, without the GIL, from the cache where there is one."""
    decorate = numba.njit(signature, nogil=True, error_model="numpy", cache=CACHE_DIRECTORY is not None)
    return cast("Callable[[F], F]", decorate)


def inlined(function: F) -> F:
    """Mark a helper that kernels call; it is compiled into each of them."""
    return cast("F", numba.njit(nogil=True, error_model="numpy")(function))


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


def _type_load(typing_context: Any, at: Any) -> Any:
    """The eight bytes at an address, of any alignment, as a big-endian number."""
    signature = numba.types.int64(numba.types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], llvmlite.ir.IntType(64).as_pointer())
        return builder.bswap(builder.load(pointer, align=1))

    return signature, generate


_load = cast("Any", numba.extending.intrinsic(_type_load))


@inlined
def load_network_word(source: Any, offset: Any) -> Any:
    """Eight bytes of a uint8 array as a big-endian int64. Bounds are the caller's."""
    return _load(numba.types.uintp(source.ctypes.data + offset))


@inlined
def copy_bytes(to: Any, to_offset: Any, source: Any, source_offset: Any, size: Any) -> None:
    """Copy ``size`` bytes between uint8 arrays that do not overlap there. Bounds are the caller's."""
    _memcpy(
        numba.types.uintp(to.ctypes.data + to_offset),
        numba.types.uintp(source.ctypes.data + source_offset),
        numba.types.uintp(size),
    )
