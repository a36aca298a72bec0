"""The layout's ``Views`` as kernels take them: by their places, as one argument."""

from itertools import takewhile
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels import layout
from engine.kernels.jit import Records, from_dtype, tuple_at, tuple_type, types
from engine.kernels.layout import FIRST_REASON, I64, AdapterSizes, Sizes, Views, dtypes, shapes


class Memory(NamedTuple):
    """The views of receive buffers and of where the switch copies their frames.

    Functions inside kernels take these and not all views, because each array passed takes time to compile.
    """

    rows: Records  # buffer_rows
    host: NDArray[np.uint8]  # buffer_bytes
    guest: NDArray[np.uint8]  # guest_bytes
    switch_at: I64
    adapters: Records


def _record(columns: Any, row: int) -> np.dtype[np.void]:
    """Return the dtype of a row of ``row`` columns; in a queue's, ``reasons`` is an array of the last."""
    fields = dict.fromkeys(columns._fields, "i8")
    offsets = [8 * column for column in columns]
    if columns is layout.Q:
        fields["reasons"] = f"{len(columns) - FIRST_REASON}i8"
        offsets.append(8 * FIRST_REASON)
    names, formats = [*fields], [*fields.values()]
    parts: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": 8 * row}
    record: np.dtype[np.void] = np.dtype(parts, align=True)
    return record


RECORDS: Final = {
    "queues": _record(layout.Q, layout.QUEUE_ROW),
    "cpus": _record(layout.CPU, layout.CPU_ROW),
    "top": _record(layout.TOP, layout.TOP_ROW),
    "costs": _record(layout.COST, layout.COST_ROW),
    "adapters": _record(layout.ADAPTER, layout.ADAPTER_ROW),
    "table": _record(layout.TABLE, layout.TABLE_ROW),
    "buffer_rows": _record(layout.BUFFER, layout.BUFFER_ROW),
    "steered": _record(layout.FRAME, layout.FRAME_ROW),
    "port": _record(layout.PORT, layout.PORT_COUNTERS),
}
"""The arrays whose rows kernels see as records, and the type of a row."""


def array_of(name: str, dimensions: int) -> Any:
    """Return the type of an array of these records, with one dimension less than on the outside."""
    return types.Array(from_dtype(RECORDS[name]), dimensions, "C")


_SOME = shapes(Sizes(2, (AdapterSizes(3, 5, 7, 11, 13, 17),), 1 << 16, 1 << 24))
_OTHER = shapes(Sizes(19, (AdapterSizes(23, 29, 31, 37, 41, 43),) * 3, 1 << 17, 1 << 25))


def _type(name: str) -> Any:
    """Return the type of a view in kernels: the last dimension of a table is within its records."""
    if name in RECORDS:
        return array_of(name, len(_SOME[name]) - 1)
    return types.Array(from_dtype(dtypes()[name]), len(_SOME[name]), "C")


def _width(name: str) -> tuple[int, ...]:
    """Return the trailing dimensions of a view, or of its records' array, that are the same on every host."""
    pairs = zip(reversed(_SOME[name][1:]), reversed(_OTHER[name][1:]), strict=True)
    same = tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))[::-1]
    return same[:-1] if name in RECORDS else same


views_at = tuple_at(
    tuple_type(Views, [_type(name) for name in Views._fields]), {name: _width(name) for name in Views._fields}
)
"""Return the views at their places, with row widths as compile-time constants; kernels call it first."""
