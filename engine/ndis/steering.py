"""The layout of the compiled steering table: all that a shard needs of an adapter's filters and ports.

A frame is looked up by destination MAC and VLAN tag: the lookup key is ``mac << 16 | test``, the MAC as a
48-bit big-endian number. At most two tests fit a frame: that of its own VLAN, and "any". ``Adapter`` compiles
the rows, sorted by key; the data plane makes a hash table of them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TEST_UNTAGGED: Final = 0
"""Test of frames without a customer tag, or with VID 0 (VLAN_UNTAGGED_OR_ZERO). 1..4094: that VID."""
TEST_ANY: Final = 0xFFFF
"""Test that frames of any tagging pass (no ``vlan``)."""
KEY_KNOWN_MAC: Final = 0xFFFE
"""Not a test: a row with it marks a MAC that is in some filter (of a queue other than 0) or port."""

NONE: Final = -1


@dataclass(frozen=True, eq=False)
class SteeringRows:
    """One row for each distinct key; columns of shape (n,), sorted by key.

    ``key`` uint64. ``queue`` int32: the running queue other than 0 whose filter has this key, or NONE;
    ``filter`` int32: that filter's id. ``default_filter`` int32: the id of queue 0's filter with this key, or
    NONE. ``port_vm`` int32: index of the VM whose switch port has this key, or NONE. A row with test
    ``KEY_KNOWN_MAC`` carries nothing else.
    """

    key: NDArray[np.uint64]
    queue: NDArray[np.int32]
    filter: NDArray[np.int32]
    default_filter: NDArray[np.int32]
    port_vm: NDArray[np.int32]
