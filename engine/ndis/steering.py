"""The layout of the compiled steering table: an adapter's filters and ports, in the form that a shard reads.

Frames are looked up by destination MAC and VLAN tag: the lookup key is ``mac << 16 | test``, with the MAC as
a 48-bit big-endian number. A frame can pass two tests: the one for its own VLAN, and "any". ``Adapter``
compiles the rows, sorted by key; the data plane builds a hash table from them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a dashboard knows adapters, and needs no arrays
    import numpy as np
    from numpy.typing import NDArray

TEST_UNTAGGED: Final = 0
"""The test for frames without a customer tag or with VID 0 (VLAN_UNTAGGED_OR_ZERO). 1..4094 tests a VID."""
TEST_ANY: Final = 0xFFFF
"""The test of a filter without ``vlan``: all frames pass it, tagged or not."""
KEY_KNOWN_MAC: Final = 0xFFFE
"""Not a test: its row marks a MAC that a port or a filter (of a queue other than 0) has."""

NONE: Final = -1


@dataclass(frozen=True, eq=False)
class SteeringRows:
    """One row for each distinct key; columns of shape (n,), sorted by key.

    ``queue`` is the running queue other than 0 whose filter has this key, and ``filter`` is that filter's id.
    ``default_filter`` is the id of queue 0's filter with this key. ``port_vm`` is the index of the VM whose
    switch port has this key. Each is NONE if there is none; in a row with test ``KEY_KNOWN_MAC``, all are.
    """

    key: "NDArray[np.uint64]"
    queue: "NDArray[np.int32]"
    filter: "NDArray[np.int32]"
    default_filter: "NDArray[np.int32]"
    port_vm: "NDArray[np.int32]"
