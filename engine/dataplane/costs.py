"""The costs of serving frames by processor, as integer fractions so that kernels are exact, and the cycles
available on each processor so far."""

from math import lcm
from typing import Final

import numpy as np

from engine.kernels.layout import COST, I64
from engine.scenario.model import CpuSpec, HostSpec
from engine.scenario.relations import as_written, remote_cycles_per_byte, shared_clock_ghz

_MOST_CYCLES: Final = 2**64 - 1  # limit of an integer in a message


class Costs:
    """Writes a host's ``costs`` rows (cpus, COST_ROW), and counts available cycles in simulated time."""

    def __init__(self, cpu: CpuSpec, host: HostSpec, rows: I64) -> None:
        self._rows = rows
        self._hyperthreading = host.hyperthreading
        clock, shared = as_written(cpu.clock_ghz), shared_clock_ghz(cpu)
        self._clocks = (clock, shared)
        self._parts = lcm(clock.denominator, shared.denominator)  # budgets count 1/_parts of a cycle
        self._parts_a_ns = [int(clock * self._parts)] * host.cpus
        self._budgets = [0] * host.cpus
        self._at_ns = 0
        local, remote = as_written(cpu.cycles_per_byte), remote_cycles_per_byte(cpu)
        divisor = lcm(local.denominator, remote.denominator)
        rows[:, COST.interrupt] = cpu.cycles_per_interrupt
        rows[:, COST.dpc] = cpu.cycles_per_dpc
        rows[:, COST.frame] = cpu.cycles_per_frame
        rows[:, COST.byte] = int(local * divisor)
        rows[:, COST.remote_byte] = int(remote * divisor)
        rows[:, COST.byte_divisor] = divisor
        rows[:, COST.moderation_ns] = round(cpu.moderation_us * 1000)
        rows[:, COST.quota] = cpu.quota
        rows[:, COST.numa_node] = np.arange(host.cpus) // (host.cpus // host.numa_nodes)
        rows[:, [COST.ns, COST.ns_divisor]] = clock.denominator, clock.numerator

    def set_speeds(self, serving: set[int], now_ns: int) -> None:
        """Set each processor's clock, which is slower if its sibling hyper-thread is in ``serving``."""
        self._settle(now_ns)
        for cpu, row in enumerate(self._rows):
            clock = self._clocks[self._hyperthreading and cpu ^ 1 in serving]
            row[COST.ns], row[COST.ns_divisor] = clock.denominator, clock.numerator
            self._parts_a_ns[cpu] = int(clock * self._parts)

    def budgets(self, now_ns: int) -> list[int]:
        """Return the whole cycles that each processor has had available up to ``now_ns``."""
        self._settle(now_ns)
        return [min(parts // self._parts, _MOST_CYCLES) for parts in self._budgets]

    def _settle(self, now_ns: int) -> None:
        elapsed_ns = now_ns - self._at_ns
        self._at_ns = now_ns
        for cpu, parts in enumerate(self._parts_a_ns):
            self._budgets[cpu] += elapsed_ns * parts
