"""The layout of the compiled steering table: what a shard needs to know of an adapter's filters.

A frame is looked up by its destination MAC and by what its tag says, so a lookup key is
``mac << 16 | test``, the MAC as a 48-bit big-endian number. A frame has at most two candidate tests
on an adapter: its own VLAN state, and "any". The table is sparse in keys and dense in rows; turning the
rows into a hash table is the data plane's business.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.ndis.adapter import Adapter

TEST_UNTAGGED: Final = 0
"""Test of frames without a customer tag, or with VID 0 (VLAN_UNTAGGED_OR_ZERO). 1..4094: that VID."""
TEST_ANY: Final = 0xFFFF
"""Test that any tagging passes (no ``vlan``)."""
KEY_KNOWN_MAC: Final = 0xFFFE
"""Not a test: the row says that this MAC is in some filter (of a queue other than 0) or port."""

NONE: Final = -1


@dataclass(frozen=True, eq=False)
class SteeringRows:
    """One row a distinct key, columns of shape (n,), in order of key.

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


def compile_rows(adapter: "Adapter") -> SteeringRows:
    """Make the steering rows of an adapter (contract 1, rules 3 and 4, and the reasons of contract 2).

    Two filters of an adapter never share a key; of several ports with one key, the one set last counts.
    """
    filters = adapter.filters.values()
    count = len(filters)
    key = np.fromiter((one.key for one in filters), np.uint64, count)
    queue = np.fromiter((one.queue_id for one in filters), np.int32, count)
    filter_id = np.fromiter((one.filter_id for one in filters), np.int32, count)
    ports = {port.key: adapter.vms[port.vm] for port in adapter.ports}
    port_key = np.fromiter(ports.keys(), np.uint64, len(ports))
    port_vm = np.fromiter(ports.values(), np.int32, len(ports))

    test_bits = np.uint64(16)
    known = np.concatenate((key[queue != 0], port_key)) >> test_bits << test_bits | np.uint64(KEY_KNOWN_MAC)
    rows, place = np.unique(np.concatenate((key, port_key, known)), return_inverse=True)
    of_filter, of_port = place[:count], place[count : count + len(ports)]
    taking = [one.queue_id for one in adapter.queues.values() if one.takes_frames]
    takes = np.isin(queue, np.array(taking, np.int32))
    columns = np.full((4, len(rows)), NONE, np.int32)
    row_queue, row_filter, row_default_filter, row_port_vm = columns
    row_queue[of_filter[takes]] = queue[takes]
    row_filter[of_filter[takes]] = filter_id[takes]
    row_default_filter[of_filter[queue == 0]] = filter_id[queue == 0]
    row_port_vm[of_port] = port_vm
    return SteeringRows(rows, row_queue, row_filter, row_default_filter, row_port_vm)
