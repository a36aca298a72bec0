"""The Numba type of the layout's ``Views``, which kernels take as one argument."""

from itertools import takewhile
from typing import Any, Final

from engine.kernels.jit import constant_widths, from_dtype, tuple_type, types
from engine.kernels.layout import AdapterSizes, Sizes, Views, dtypes, shapes

_SOME = shapes(Sizes(2, (AdapterSizes(3, 5, 7, 11, 13, 17),), 1 << 16, 1 << 24))
_OTHER = shapes(Sizes(19, (AdapterSizes(23, 29, 31, 37, 41, 43),) * 3, 1 << 17, 1 << 25))

VIEWS: Final[Any] = tuple_type(
    Views,
    [types.Array(from_dtype(dtypes()[name]), len(_SOME[name]), "C") for name in Views._fields],
)


def _width(name: str) -> tuple[int, ...]:
    """Return the trailing dimensions of a view that are the same on every host."""
    pairs = zip(reversed(_SOME[name][1:]), reversed(_OTHER[name][1:]), strict=True)
    return tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))[::-1]


of_constant_widths = constant_widths([_width(name) for name in Views._fields])
"""Return the views with row widths as compile-time constants; kernels call it first."""
