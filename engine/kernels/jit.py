"""One way to compile a kernel: eager signatures, no GIL, and the cache of ``engine.kernels.cache``.

Numba's own cache unpickles whatever it finds, misses edits in imported files, and fails where it can't write.
"""

import contextlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import llvmlite.ir

from engine.kernels import cache as kernel_cache


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Import Numba without the settings that would keep it from compiling.

    It reads ``.numba_config.yaml`` in the working directory, where other users may write, and fails on a
    malformed one. Without a YAML library it skips the file. Numba's settings are those of the process.
    """
    before = os.environ.get("NUMBA_DISABLE_JIT")
    os.environ["NUMBA_DISABLE_JIT"] = "0"
    yaml = sys.modules.get("yaml")
    sys.modules["yaml"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on a file that is skipped
            yield
    finally:
        sys.modules.pop("yaml", None)
        if yaml is not None:
            sys.modules["yaml"] = yaml
        if before is None:
            del os.environ["NUMBA_DISABLE_JIT"]
        else:
            os.environ["NUMBA_DISABLE_JIT"] = before


with _own_settings():
    import numba
    import numba.core.caching
    import numba.core.ccallback
    import numba.core.cgutils
    import numba.core.compiler
    import numba.core.config
    import numba.core.serialize
    import numba.core.sigutils
    import numba.extending

_config: Any = numba.core.config
_config.DISABLE_JIT = 0  # where another library has imported it before
_config._config_fname = os.devnull  # it reads its file again before it compiles

F = TypeVar("F", bound=Callable[..., Any])

types: Final = cast("Any", numba.types)
from_dtype: Final = cast("Any", numba).from_dtype
_njit: Final = cast("Any", numba.njit)
_NullCache: Any = numba.core.caching.NullCache

not_kept: OSError | None = None
"""Why the last kernel that was compiled here could not be kept."""


class _KernelCache(_NullCache):  # type: ignore[misc]  # numba has no types
    """Where Numba looks for a compiled function before it compiles, and puts it afterwards."""

    def __init__(self, directory: Path, function: Any) -> None:
        super().__init__()
        self._directory = directory
        self._name = f"{function.__module__}.{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._code = function.__code__.co_code

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compile result for a signature; None where it is not kept."""
        context.refresh()
        kept = kernel_cache.load(self._directory, self._name)
        if kept is None:
            return None
        key, result = pickle.loads(kept)
        if key != self._key(signature, context.codegen()):
            return None
        return cast("Any", numba.core.compiler).CompileResult._rebuild(context, *pickle.loads(result))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compile result, where possible."""
        global not_kept
        dumps = cast("Any", numba.core.serialize).dumps
        key = self._key(signature, result.codegen)
        try:
            kernel_cache.keep(self._directory, self._name, pickle.dumps((key, dumps(result._reduce()))))
        except OSError as error:
            not_kept = error

    def _key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return str(signature), codegen.magic_tuple(), self._code


def _keep(compiled: Any, function: Any) -> None:
    if kernel_cache.CACHE_DIRECTORY is not None:
        compiled._cache = _KernelCache(kernel_cache.CACHE_DIRECTORY, function)


def kernel(signature: Any) -> Callable[[F], F]:
    """Compile a function now, for one signature (Numba's string or type), from the cache where there is one.

    It runs without the GIL. Rows and slices of arrays cost nothing, as references are not counted
    (``_nrt``); so a kernel can't allocate arrays.
    """

    def compile_now(function: F) -> F:
        compiled = _njit(nogil=True, error_model="numpy", _nrt=False)(function)
        _keep(compiled, function)
        compiled.compile(signature)
        compiled.disable_compile()
        return cast("F", compiled)

    return compile_now


def callback(signature: Any) -> Callable[[F], Any]:
    """Compile a function that C calls by its ``address``; the caller guarantees bounds and types.

    It needs no GIL and can't raise.
    """
    types_of = cast("Any", numba.core.sigutils).normalize_signature(signature)
    make = cast("Any", numba.core.ccallback).CFunc

    def compile_now(function: F) -> Any:
        compiled = make(function, types_of, locals={}, options={"error_model": "numpy", "_nrt": False})
        _keep(compiled, function)
        compiled.compile()
        return compiled

    return compile_now


def entry(compiled: F) -> F:
    """A kernel of one signature, to be called without Numba's look-up of the arguments' types.

    That look-up costs ten times as much as the call, and more after a context switch. The
    arguments must be of the signature's types.
    """
    (overload,) = cast("Any", compiled).overloads.values()
    return cast("F", overload.entry_point)


def inlined(function: F) -> F:
    """Compile a helper that is inlined into kernels, so that passing arrays costs nothing."""
    decorate = _njit(forceinline=True, nogil=True, error_model="numpy", _nrt=False)
    return cast("F", decorate(function))


def tuple_type(cls: type, members: Iterable[Any]) -> Any:
    """The Numba type of a named tuple whose members have these types."""
    return types.NamedTuple(tuple(members), cls)


def constant_widths(widths: Sequence[tuple[int, ...]]) -> Any:
    """A function for kernels: a tuple of C-ordered arrays as it is, but with constants for last dimensions.

    Where Numba reads the width of a row from the array, each element costs a multiplication, and a register
    or a load for what it is multiplied by. ``widths``: of each array the last dimensions; the caller
    guarantees them.
    """

    def type_of(typing_context: Any, arrays: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            util, typed = cast("Any", numba.core.cgutils), []
            for place, (kind, width) in enumerate(zip(arrays.types, widths, strict=True)):
                given = builder.extract_value(arguments[0], place)
                array = context.make_array(kind)(context, builder, given)
                first = util.unpack_tuple(builder, array.shape)[: kind.ndim - len(width)]
                shape = [*first, *(context.get_constant(types.intp, one) for one in width)]
                strides = [context.get_constant(types.intp, kind.dtype.bitwidth // 8)]
                for one in reversed(shape[1:]):
                    strides.insert(0, builder.mul(strides[0], one))
                array.shape = util.pack_array(builder, shape)
                array.strides = util.pack_array(builder, strides)
                typed.append(array._getvalue())
            return context.make_tuple(builder, arrays, typed)

        return arrays(arrays), generate

    return cast("Any", numba.extending.intrinsic(type_of))


def _type_memcpy(typing_context: Any, to: Any, source: Any, size: Any) -> Any:
    """memcpy(to, source, size) on addresses."""
    signature = types.void(types.uintp, types.uintp, types.uintp)

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
    signature = types.int64(types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], llvmlite.ir.IntType(64).as_pointer())
        return builder.bswap(builder.load(pointer, align=1))

    return signature, generate


_load = cast("Any", numba.extending.intrinsic(_type_load))


def _type_prefetch(typing_context: Any, at: Any) -> Any:
    """Prefetch the cache line at an address."""
    signature = types.void(types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], llvmlite.ir.IntType(8).as_pointer())
        number = llvmlite.ir.IntType(32)
        kind = llvmlite.ir.FunctionType(llvmlite.ir.VoidType(), [pointer.type, number, number, number])
        ask = cast("Any", numba.core.cgutils).get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return signature, generate


_prefetch = cast("Any", numba.extending.intrinsic(_type_prefetch))


@inlined
def prefetch(array: Any, offset: Any) -> None:
    """Prefetch the cache line ``offset`` bytes into an array. The caller checks bounds."""
    _prefetch(types.uintp(array.ctypes.data + offset))


@inlined
def load_network_word(source: Any, offset: Any) -> Any:
    """Eight bytes of a uint8 array as a big-endian int64. The caller checks bounds."""
    return _load(types.uintp(source.ctypes.data + offset))


def _type_leading_zeros(typing_context: Any, number: Any) -> Any:
    """How many of the 64 bits of a number are zero in front of the first one."""
    signature = types.int64(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], llvmlite.ir.IntType(1)(0))

    return signature, generate


leading_zeros = cast("Any", numba.extending.intrinsic(_type_leading_zeros))


def _type_take_ticket(typing_context: Any, at: Any) -> Any:
    """Increment the number at an address, atomically, and return it as it was."""
    signature = types.int64(types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = llvmlite.ir.IntType(64)
        pointer = builder.inttoptr(arguments[0], number.as_pointer())
        return builder.atomic_rmw("add", pointer, number(1), "seq_cst")

    return signature, generate


_take_ticket = cast("Any", numba.extending.intrinsic(_type_take_ticket))


@inlined
def take_ticket(counter: Any) -> Any:
    """Increment the first number of an int64 array, for all processes that share it; returns it as it was."""
    return _take_ticket(types.uintp(counter.ctypes.data))


def _type_load_32(typing_context: Any, at: Any) -> Any:
    """The four bytes at an address, of any alignment, as a little-endian number."""
    signature = types.int64(types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.load(builder.inttoptr(arguments[0], llvmlite.ir.IntType(32).as_pointer()), align=1)
        if sys.byteorder == "big":
            word = builder.bswap(word)
        return builder.zext(word, llvmlite.ir.IntType(64))

    return signature, generate


_load_32 = cast("Any", numba.extending.intrinsic(_type_load_32))


@inlined
def load_little_word_32(source: Any, offset: Any) -> Any:
    """Four bytes of a uint8 array as a little-endian number, an int64. The caller checks bounds."""
    return _load_32(types.uintp(source.ctypes.data + offset))


@inlined
def copy_memory(to: Any, source: Any, size: Any) -> None:
    """Copy ``size`` bytes between two addresses, as C does. The caller checks bounds."""
    _memcpy(types.uintp(to), types.uintp(source), types.uintp(size))


@inlined
def copy_bytes(to: Any, to_offset: Any, source: Any, source_offset: Any, size: Any) -> None:
    """Copy ``size`` bytes between uint8 arrays that do not overlap there. The caller checks bounds."""
    _memcpy(
        types.uintp(to.ctypes.data + to_offset),
        types.uintp(source.ctypes.data + source_offset),
        types.uintp(size),
    )
