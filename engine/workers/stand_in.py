"""What the conductor does in place of a worker that is not there.

It steers, where no worker is left. It serves nobody: frames for the processor's queues are lost,
which is counted (``lost_frames``); its queues' buffers that VMs hold come back when they are due.
"""

import numpy as np

from engine.dataplane import ownership
from engine.dataplane.plane import Plane
from engine.kernels.layout import CPU, I64, NEVER_NS, NONE, Q
from engine.kernels.steer import scratch_for_block, steer


class StandIn:
    """For whichever processors of a plane are down. The conductor's, while no shard of those runs."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._scratch = scratch_for_block(plane.sizes.cpus)

    def steer(self, batch: int, frames: int, port: I64) -> None:
        """Steer the first ``frames`` frames of a batch, for there is nobody else; ``port`` is added to."""
        steer(self._plane.views, batch, frames, self._scratch, port)

    def return_due(self, cpu: int, horizon_ns: int) -> None:
        """Take back what VMs return to a processor's queues before a time; nothing of them is pending."""
        plane, views = self._plane, self._plane.views
        next_ns = NONE
        for slot in np.flatnonzero(views.owner == cpu).tolist():
            row = plane.row(slot)
            if row[Q.held]:
                continue
            due_ns = ownership.take_back(row, views.buffer_rows, views.belongs, slot, horizon_ns)
            next_ns = due_ns if next_ns == NONE else min(next_ns, due_ns)
            plane.collect(slot)
        own = views.cpus[plane.bank[cpu], cpu]
        own[CPU.next_event_ns] = NEVER_NS if next_ns == NONE else next_ns
