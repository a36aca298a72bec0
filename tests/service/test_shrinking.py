"""A queue that shrinks gives up its buffers as they come back, however they do."""

from collections.abc import Iterator

import pytest

from engine.scenario.model import AdapterSpec, CpuSpec, HostSpec, Scenario
from engine.service.machine import Machine
from tests.service.test_memory_rules import Lab, change, clean
from vmqtui.testing import wait_until

ADAPTERS = [
    AdapterSpec(
        name=name, ndis_version=version, max_lookahead_bytes=most, buffers=256, default_queue_buffers=16
    )
    for name, version, most in (("split", "6.20", 128), ("whole", "6.30", 0))
]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    scenario = Scenario(host=HostSpec(name="lab", cpus=1), adapter=ADAPTERS, cpu=CpuSpec(moderation_us=1000))
    machine = Machine(scenario)
    yield machine
    machine.close()


def shrunk_with_pending(machine: Machine) -> Lab:
    """A queue of 64 buffers with 50 frames pending, told to shrink to 10: 50 are left to it."""
    lab = Lab(machine)
    change(lab, "up", 1, "a", 10)
    change(lab, "resize", 1, "a", 64)
    lab.send([(1, "a", 10, 60)] * 50, 0, 1000)
    change(lab, "resize", 1, "a", 10)
    assert machine.plane.gauges(1, 1).total_buffers == 50
    return lab


def left(machine: Machine) -> int:
    adapter = machine.host.adapters[1]
    return adapter.budget.left(adapter.total_of(machine.plane))


def test_buffers_come_back_by_return(machine: Machine) -> None:
    lab = shrunk_with_pending(machine)
    lab.send([], 0, 10_000_000)
    assert (machine.plane.gauges(1, 1).total_buffers, left(machine)) == (10, 256 - 16 - 10)
    clean(lab)


def test_buffers_come_back_by_the_last_filters_clearing(machine: Machine) -> None:
    lab = shrunk_with_pending(machine)
    lab.ask("clear_filter", adapter="whole", queue_id=1, filter_id=1)
    assert (machine.plane.gauges(1, 1).total_buffers, left(machine)) == (10, 256 - 16 - 10)
    lab.ask("set_queue_parameters", adapter="whole", queue_id=1, buffers=240)
    assert machine.plane.gauges(1, 1).total_buffers == 240
    lab.check()
    clean(lab)


def test_buffers_come_back_by_the_workers_death(machine: Machine) -> None:
    lab = shrunk_with_pending(machine)
    machine.rounds._pool._processes[0].kill()
    wait_until(lambda: machine.rounds._pool.dead(), what="the worker's end")
    machine.rounds.replace_dead()
    assert (machine.plane.gauges(1, 1).total_buffers, left(machine)) == (10, 256 - 16 - 10)
    lab.check()
    clean(lab)
