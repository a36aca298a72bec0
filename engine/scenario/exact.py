"""The numbers of the CPU model as they are written, and whether the model can compute with them exactly.

The kernel's integers are 64 bits wide: a number of more digits than fit beside the largest DPC is refused.
"""

from fractions import Fraction
from typing import Final

from engine.scenario.model import CpuSpec
from engine.scenario.values import MAX_FRAME_BYTES

_MAX_PRODUCT: Final = 2**62


def as_written(number: float) -> Fraction:
    """A number of a scenario file, exactly: 0.1 is 1/10, not the float next to it."""
    return Fraction(str(number))


def shared_clock_ghz(cpu: CpuSpec) -> Fraction:
    """Cycles per ns that the hyper-thread sibling of a busy processor leaves."""
    return as_written(cpu.clock_ghz) * as_written(cpu.smt_share)


def remote_cycles_per_byte(cpu: CpuSpec) -> Fraction:
    """Cycles for copying a byte from another NUMA node."""
    return as_written(cpu.cycles_per_byte) * as_written(cpu.remote_copy_factor)


def inexact_key(cpu: CpuSpec) -> tuple[str, str] | None:
    """The first key whose digits do not fit beside a DPC of ``quota`` of the longest frames, and why.

    None: all fit.
    """
    most_bytes = cpu.quota * MAX_FRAME_BYTES
    local, remote = as_written(cpu.cycles_per_byte), remote_cycles_per_byte(cpu)
    for key, per_byte in (("cycles_per_byte", local), ("remote_copy_factor", remote)):
        if most_bytes * max(per_byte.numerator, per_byte.denominator) >= _MAX_PRODUCT:
            return key, f"{float(per_byte)} cycles per byte has too many digits to be kept exactly"
    cycles = cpu.cycles_per_interrupt + cpu.cycles_per_dpc + cpu.quota * cpu.cycles_per_frame
    cycles += int(most_bytes * max(local, remote))
    clock, shared = as_written(cpu.clock_ghz), shared_clock_ghz(cpu)
    for key, ghz in (("clock_ghz", clock), ("smt_share", shared)):
        if max(cycles * ghz.denominator, ghz.numerator) >= _MAX_PRODUCT:
            return key, (
                f"a clock of {float(ghz)} GHz can't be kept exactly for a DPC of up to {cycles:,} cycles"
            )
    return None
