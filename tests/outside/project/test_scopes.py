"""Engines that live as long as a test or a class, and one for a session, in whichever loop the tests run."""

import time
from typing import Any

import pytest
from lab import SCENARIO, cpu_s

from vmqtui import Engine
from vmqtui.testing import StartEngine


@pytest.mark.asyncio(loop_scope="class")
class TestAClassWithALoopOfItsOwn:
    async def test_the_first(self, vmq_engine: StartEngine) -> None:
        engine = await vmq_engine(SCENARIO, clock="manual")
        await engine.advance(0.1)
        assert engine.queue("web-01").received_frames == 1000

    async def test_the_second_has_another_engine(self, vmq_engine: StartEngine) -> None:
        engine = await vmq_engine(SCENARIO, clock="manual")
        assert engine.now_s == 0.0


@pytest.mark.vmq(scenario=SCENARIO, clock="manual")
class TestOneEngineForASessionIsResetBetweenTests:
    spent_s: list[tuple[float, float]] = []  # noqa: RUF012
    engines: set[int] = set()  # noqa: RUF012

    @pytest.mark.parametrize("number", range(20))
    async def test_each_begins_with_the_scenario(self, vmq: Engine, number: int) -> None:
        self.spent_s.append((cpu_s(), time.perf_counter()))
        self.engines.add(id(vmq))
        assert (vmq.now_s, vmq.events, vmq.queue("web-01").received_frames) == (0.0, [], 0)
        await vmq.advance(0.1)
        assert vmq.queue("web-01").received_frames == 1000
        await vmq.request("remove_vm", vm="web-01", check=True)

    def test_twenty_take_a_second_of_processor_time_at_most(self, record_property: Any) -> None:
        cpu, wall = (last - first for first, last in zip(self.spent_s[0], self.spent_s[-1], strict=True))
        record_property("twenty_tests_cpu_s", round(cpu, 3))
        record_property("twenty_tests_wall_s", round(wall, 3))
        assert (len(self.spent_s), len(self.engines)) == (20, 1)
        assert cpu < 1.0
