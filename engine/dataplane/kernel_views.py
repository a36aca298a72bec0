"""The layout's views as kernels take them: whole, as one argument."""

from typing import Any, Final, cast

import numba

from engine.dataplane.layout import AdapterSizes, Sizes, Views, dtypes, shapes
from engine.jit import tuple_type, types

_ANY_SIZES: Final = Sizes(1, (AdapterSizes(1, 1, 1, 1, 1, 1),))

VIEWS: Final[Any] = tuple_type(
    Views,
    [
        types.Array(cast("Any", numba).from_dtype(dtypes()[name]), len(shapes(_ANY_SIZES)[name]), "C")
        for name in Views._fields
    ],
)
