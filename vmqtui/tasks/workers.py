"""Bringing back the worker of a processor that is down."""

from engine.counted import counted
from vmqtui.state.rows import CpuRow
from vmqtui.tasks.task import Step, Task, step


def restart_worker(cpu: CpuRow) -> Task:
    """Start a worker for a processor."""
    return Task(
        f"Restart the worker of {cpu.processor}",
        f"Start a worker for {cpu.processor}, which is down: its worker kept dying, and frames for its"
        f" {counted(len(cpu.queues), 'queue')} are lost. The events say what it died of.",
        "Start it",
        lambda values: [_step(cpu)],
    )


def _step(cpu: CpuRow) -> Step:
    return step(
        "restart",
        f"start the worker of {cpu.processor}",
        "restart_worker",
        {"cpu": cpu.cpu},
        undo="a worker that was started is not ended again",
    )
