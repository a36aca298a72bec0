"""Compile kernels: on demand, without the GIL, and with our own cache (``engine.kernels.cache``).

Importing a module with kernels compiles nothing. A kernel is loaded from the cache, or compiled, by
``Kernel.load_all``, by ``entry`` or by its first call.

Numba's own cache unpickles untrusted files, misses edits in imported files, and fails if it can't write.
"""

import contextlib
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar, cast

import llvmlite.ir
import numpy as np
from numpy.typing import NDArray

from engine.kernels import cache as kernel_cache


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Import Numba while ignoring settings that would disable compilation.

    Numba reads ``.numba_config.yaml`` from the working directory, which other users may be able to write, and
    fails on a malformed one. Without a YAML library it skips the file. Its settings apply to the process.
    """
    before = os.environ.get("NUMBA_DISABLE_JIT")
    os.environ["NUMBA_DISABLE_JIT"] = "0"
    yaml = sys.modules.get("yaml")
    sys.modules["yaml"] = None  # type: ignore[assignment]  # makes `import yaml` fail
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Numba warns about the skipped file
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
    import numba.core.registry
    import numba.core.serialize
    import numba.core.sigutils
    import numba.extending

_config: Any = numba.core.config
_config.DISABLE_JIT = 0  # another library may have imported Numba before
_config._config_fname = os.devnull  # Numba reads the file again before each compilation

F = TypeVar("F", bound=Callable[..., Any])

types: Final = cast("Any", numba.types)
from_dtype: Final = cast("Any", numba).from_dtype
_njit: Final = cast("Any", numba.njit)
_NullCache: Any = numba.core.caching.NullCache

Record = Any
"""A row of a table as kernels see it: its columns are fields, which compile faster than indices do."""
Records = Any
"""An array of such rows."""

not_kept: OSError | None = None
"""The last error that prevented caching of a kernel compiled in this process; None: no error."""


class _KernelCache(_NullCache):  # type: ignore[misc]  # numba has no types
    """The cache that Numba reads before it compiles a function and writes afterwards."""

    def __init__(self, directory: Path, function: Any) -> None:
        super().__init__()
        self._directory = directory
        self._name = f"{function.__module__}.{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._code = function.__code__.co_code

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the cached compile result for a signature, or None."""
        kept = kernel_cache.load(self._directory, self._name)
        if kept is None:
            return None
        key, result = pickle.loads(kept)
        if key != self._key(signature, context.codegen()):
            return None
        return cast("Any", numba.core.compiler).CompileResult._rebuild(context, *pickle.loads(result))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Cache a compile result; an OSError is recorded in ``not_kept``."""
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


class Kernel:
    """A function that is compiled when it is first needed, by ``compile_now``."""

    _not_loaded: ClassVar["list[Kernel]"] = []
    _loading: ClassVar = threading.RLock()

    def __init__(self, compile_now: Callable[[], Any], module: str) -> None:
        self._compile_now = compile_now
        self._module = module
        self._compiled: Any = None
        self._not_loaded.append(self)

    @classmethod
    def load_all(cls, modules: Container[str] | None = None) -> None:
        """Load every kernel that some modules, by default all imported so far, define."""
        with cls._loading:
            for one in [*cls._not_loaded]:
                if modules is None or one._module in modules:
                    one.load()

    def load(self) -> Any:
        """Return the compiled function, from the cache if it is there."""
        with self._loading:
            if self._compiled is None:
                self._compiled = self._compile_now()
                self._not_loaded.remove(self)
        return self._compiled

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.load())(*arguments)

    @property
    def address(self) -> int:
        """The address of the machine code of a ``callback``."""
        return int(self.load().address)


def load_compiler() -> None:
    """Import the parts of Numba that only compiling needs. Without it, the first compiled kernel does."""
    cast("Any", numba.core.registry).cpu_target.target_context.refresh()


def kernel(signature: Any) -> Callable[[F], F]:
    """Compile a function for one signature (Numba's string or type) when it is first needed.

    It runs without the GIL. References are not counted (``_nrt=False``), so rows and slices of arrays cost
    nothing, but a kernel can't allocate arrays. It can't be called by another kernel; ``inlined`` functions
    can.
    """

    def decorate(function: F) -> F:
        def compile_now() -> Any:
            compiled = _njit(nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)(function)
            _keep(compiled, function)
            compiled.compile(signature)
            compiled.disable_compile()
            return compiled

        return cast("F", Kernel(compile_now, function.__module__))

    return decorate


def callback(signature: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Compile a function that C calls by its ``address``; the C caller guarantees bounds and types.

    It needs no GIL and can't raise.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        def compile_now() -> Any:
            types_of = cast("Any", numba.core.sigutils).normalize_signature(signature)
            options = {"error_model": "numpy", "_nrt": False}
            compiled = cast("Any", numba.core.ccallback).CFunc(function, types_of, locals={}, options=options)
            _keep(compiled, function)
            compiled.compile()
            return compiled

        return Kernel(compile_now, function.__module__)

    return decorate


def entry(compiled: F) -> F:
    """Return the entry point of a kernel, which skips Numba's dispatch on argument types; load the kernel.

    The dispatch costs ten times as much as the call, and more after a context switch. Arguments must have
    exactly the signature's types.
    """
    (overload,) = cast("Any", compiled).load().overloads.values()
    return cast("F", overload.entry_point)


def inlined(function: F) -> F:
    """Compile a helper that is inlined into kernels, so that passing arrays costs nothing.

    Nothing else can call it: what would let Python or C do so takes as long to compile as the helper.
    """
    decorate = _njit(
        forceinline=True,
        nogil=True,
        error_model="numpy",
        _nrt=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        no_rewrites=True,
    )
    return cast("F", decorate(function))


_DIMENSIONS: Final = 4
PLACES: Final = types.int64[:, ::1]
"""The type of ``places_of``."""


def tuple_type(cls: type, members: Iterable[Any]) -> Any:
    """Return the Numba type of a named tuple whose members have these types."""
    return types.NamedTuple(tuple(members), cls)


def int64_record(*names: str) -> "np.dtype[np.void]":
    """Return the dtype of a row with these columns."""
    record: np.dtype[np.void] = np.dtype([(name, np.int64) for name in names], align=True)
    return record


def places_of(arrays: Iterable[Any]) -> NDArray[np.int64]:
    """Return where C-ordered arrays are, for ``tuple_at``: a row of each, with its address and its shape.

    A member of ``arrays`` may itself be a tuple of arrays. The caller keeps the arrays while a kernel uses
    their places.
    """
    each = [*_members(arrays)]
    places = np.zeros((len(each), 1 + _DIMENSIONS), np.int64)
    for row, array in zip(places, each, strict=True):
        assert array.flags.c_contiguous
        row[: 1 + array.ndim] = array.ctypes.data, *array.shape
    return places


def _members(arrays: Iterable[Any]) -> Iterator[Any]:
    for one in arrays:
        if isinstance(one, tuple):
            yield from _members(one)
        else:
            yield one


def tuple_at(kind: Any, widths: Mapping[str, tuple[int, ...]]) -> Any:
    """Return a kernel function that makes a ``tuple_type`` of arrays from their places (``PLACES``).

    Passing the places in place of the arrays saves each kernel the code, and each call the time, to check
    and unpack them. ``widths`` has the last dimensions of some arrays, as constants: if Numba reads a row's
    width from the array, each element access costs a multiplication, and a register or a load for the
    factor. The caller guarantees types and widths.
    """

    def type_of(typing_context: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = context.make_array(places)(context, builder, arguments[0]).data
            rows = (
                builder.gep(first, [context.get_constant(types.intp, at)]) for at in count(0, 1 + _DIMENSIONS)
            )
            return _make_tuple(context, builder, kind, widths, rows)

        return kind(places), generate

    return cast("Any", numba.extending.intrinsic(type_of))


def _make_tuple(
    context: Any, builder: Any, kind: Any, widths: Mapping[str, tuple[int, ...]], rows: Any
) -> Any:
    """Generate a tuple of the arrays whose places are in the next of ``rows``."""
    members = []
    for name, member in zip(kind.fields, kind.types, strict=True):
        if hasattr(member, "fields"):
            members.append(_make_tuple(context, builder, member, widths, rows))
            continue
        row = next(rows)
        words = [
            builder.load(builder.gep(row, [context.get_constant(types.intp, at)]))
            for at in range(1 + member.ndim)
        ]
        width = widths.get(name, ())
        shape = words[1 : 1 + member.ndim - len(width)]
        shape += [context.get_constant(types.intp, one) for one in width]
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(member.dtype)))
        strides = [size]
        for one in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], one))
        array = context.make_array(member)(context, builder)
        data = builder.inttoptr(words[0], array.data.type)
        cast("Any", numba.np.arrayobj).populate_array(array, data, shape, strides, size, meminfo=None)
        members.append(array._getvalue())
    return context.make_tuple(builder, kind, members)


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


def _type_copy_record(typing_context: Any, to: Any, source: Any) -> Any:
    """Copy a record onto another of its type. An assignment takes LLVM seconds, byte by byte."""
    signature = types.void(to, source)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = context.get_constant(types.uintp, to.size)
        cast("Any", numba.core.cgutils).raw_memcpy(builder, *arguments, size, 1)
        return context.get_dummy_value()

    return signature, generate


copy_record: Any = numba.extending.intrinsic(_type_copy_record)


def _type_load(typing_context: Any, at: Any) -> Any:
    """Load the eight bytes at an address, of any alignment, as a big-endian number."""
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
    """Load eight bytes of a uint8 array as a big-endian int64. The caller checks bounds."""
    return _load(types.uintp(source.ctypes.data + offset))


def _type_leading_zeros(typing_context: Any, number: Any) -> Any:
    """Count the leading zeros of a 64-bit number."""
    signature = types.int64(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], llvmlite.ir.IntType(1)(0))

    return signature, generate


leading_zeros = cast("Any", numba.extending.intrinsic(_type_leading_zeros))


def _type_take_ticket(typing_context: Any, at: Any) -> Any:
    """Atomically increment the number at an address and return its old value."""
    signature = types.int64(types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = llvmlite.ir.IntType(64)
        pointer = builder.inttoptr(arguments[0], number.as_pointer())
        return builder.atomic_rmw("add", pointer, number(1), "seq_cst")

    return signature, generate


_take_ticket = cast("Any", numba.extending.intrinsic(_type_take_ticket))


@inlined
def take_ticket(counter: Any) -> Any:
    """Atomically increment the first number of a shared int64 array, and return its old value."""
    return _take_ticket(types.uintp(counter.ctypes.data))


def _type_load_32(typing_context: Any, at: Any) -> Any:
    """Load the four bytes at an address, of any alignment, as a little-endian number."""
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
    """Load four bytes of a uint8 array as a little-endian number, as int64. The caller checks bounds."""
    return _load_32(types.uintp(source.ctypes.data + offset))


@inlined
def copy_memory(to: Any, source: Any, size: Any) -> None:
    """Copy ``size`` bytes between two addresses, like C's memcpy. The caller checks bounds."""
    _memcpy(types.uintp(to), types.uintp(source), types.uintp(size))


@inlined
def copy_bytes(to: Any, to_offset: Any, source: Any, source_offset: Any, size: Any) -> None:
    """Copy ``size`` bytes between uint8 arrays that do not overlap there. The caller checks bounds."""
    _memcpy(
        types.uintp(to.ctypes.data + to_offset),
        types.uintp(source.ctypes.data + source_offset),
        types.uintp(size),
    )
