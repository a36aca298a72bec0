"""What is counted depends on the frames and the scenario: not on the machine, not on how work is batched.

Live runs from a seed on a busy machine: ``test_engine``.
"""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.kernels.layout import NEVER_NS
from engine.scenario.load import loads
from engine.scenario.model import Scenario
from engine.service.machine import Machine
from engine.service.replay import plan_capture, replay
from engine.telemetry.stats import Stats, known
from engine.traffic.batch import Filled, FrameBatch, Source
from engine.traffic.capture import CaptureSource
from engine.traffic.synthetic import SyntheticSource
from engine.workers.conductor import Conductor
from tests.service.test_engine import check_identities, every_core_taken
from tests.slow import slow_but
from tests.traffic.captures import ethernet, frame, pcap

FRAMES = 4000
MACS = [f"00:15:5d:00:00:{number:02x}" for number in range(8)]
HORIZON_NS = 40_000_000


def scenario(adapters: int) -> Scenario:
    """Processors too slow for what comes, so that much depends on when a buffer is free."""
    text = '[host]\nname = "lab"\ncpus = 4\nhyperthreading = true\nnuma_nodes = 2\n'
    text += "[cpu]\nclock_ghz = 0.3\nquota = 8\nmoderation_us = 20\n"
    for adapter in range(adapters):
        text += f'[[adapter]]\nname = "nic{adapter}"\nnuma_node = {adapter % 2}\n'
        for number, mac in enumerate(MACS[:6]):
            text += (
                f'[[adapter.queue]]\nvm = "vm {number}"\ncpu = {number % 4}\nbuffers = {20 + 5 * number}\n'
                f"return_delay_us = {4000 * (number % 3)}\n"
                f'[[adapter.queue.filter]]\nmac = "{mac}"\n'
            )
    text += "[traffic]\nseed = 11\n"
    for adapter in range(adapters):
        text += f'[[traffic.mix]]\nadapter = "nic{adapter}"\nrate_pps = 100000\npattern = "bursts"\n'
        text += "".join(f'[[traffic.mix.flow]]\nmac = "{mac}"\n' for mac in MACS)
    return loads(text, "test")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bursts and pauses, frames of many sizes to all of MACS."""
    draw = random.Random(7)
    now, frames = 0, []
    for _ in range(FRAMES):
        now += draw.choice([0, 0, 0, 900, 2_000, 150_000])
        length = draw.randint(60, 1500)
        frames.append(frame(now, ethernet(draw.choice(MACS), length=length)))
    path = tmp_path_factory.mktemp("determinism") / "bursts.pcap"
    path.write_bytes(pcap(frames, magic=0xA1B23C4D))
    return path


def replayed(capture: Path) -> dict[str, Any]:
    document = replay(capture, scenario(1)).document
    assert sum(queue["dropped_no_buffer"] for queue in document["adapters"][0]["queues"]) > 50
    return {key: value for key, value in document.items() if key != "wall_seconds"}


def test_a_replay_prints_the_same_document_whatever_the_machine_does_meanwhile(capture: Path) -> None:
    calm = replayed(capture)
    with every_core_taken():
        assert all(replayed(capture) == calm for _ in range(3))


def test_a_planned_replay_prints_the_same_document_too(capture: Path) -> None:
    calm = plan_capture(capture)[0].scenario
    first = replay(capture, calm).document | {"wall_seconds": 0}
    with every_core_taken():
        again = plan_capture(capture)[0].scenario
        assert again == calm
        assert replay(capture, again).document | {"wall_seconds": 0} == first


class InShortRounds:
    """A source whose batches hold so many frames and bytes; as drawn from ``frames`` each time."""

    def __init__(self, source: Source, frames: list[int], data_bytes: int = 1 << 24) -> None:
        self._source = source
        self._frames = frames
        self._bytes = data_bytes
        self._draw = random.Random(5)

    @property
    def skipped_ns(self) -> int:
        return self._source.skipped_ns

    def fill(self, batch: FrameBatch, until_ns: int) -> Filled:
        some = slice(self._draw.choice(self._frames))
        short = FrameBatch(
            batch.data[: self._bytes],
            batch.offset[some],
            batch.captured[some],
            batch.wire[some],
            batch.arrival_ns[some],
            batch.adapter[some],
        )
        return self._source.fill(short, until_ns)

    def close(self) -> None:
        self._source.close()


LENGTHS = {
    "a few frames": ([3], 1 << 24),
    "hundreds": ([300], 1 << 24),
    "any": ([1, 2, 50, 700], 1 << 24),
    "few bytes": ([65_536], 10_000),
}


def counted(given: Scenario, source: Source, horizon_ns: int) -> tuple[Stats, int]:
    """What is counted at a time, or at the end; and in how many rounds."""
    rounds = 0
    machine = Machine(given, "test")

    def after_round() -> None:
        nonlocal rounds
        rounds += 1
        machine.settle()

    try:
        conductor = Conductor(machine.rounds, source)
        if horizon_ns == NEVER_NS:
            conductor.run_to_end(after_round)
        else:
            conductor.run_to(horizon_ns, after_round)
        stats = machine.stats()
    finally:
        machine.close()
        source.close()
    check_identities(stats)
    assert sum(sum(known(one.queues["dropped_no_buffer"])) for one in stats.adapters.values()) > 50
    return msgspec.structs.replace(stats, time_ns=0), rounds


@pytest.mark.parametrize("length", LENGTHS)
def test_the_length_of_rounds_changes_no_counter_of_a_capture(length: str, capture: Path) -> None:
    def source() -> CaptureSource:
        return CaptureSource(capture, adapter=0, link_gbps=10)

    whole, few = counted(scenario(1), source(), NEVER_NS)
    cut, many = counted(scenario(1), InShortRounds(source(), *LENGTHS[length]), NEVER_NS)
    assert many > 5 * few
    assert msgspec.to_builtins(cut) == msgspec.to_builtins(whole)


@pytest.mark.parametrize("length", slow_but([*LENGTHS][:1], LENGTHS))
def test_the_length_of_rounds_changes_no_counter_of_a_mix(length: str) -> None:
    given = scenario(2)
    whole, few = counted(given, SyntheticSource(given), HORIZON_NS)
    cut, many = counted(given, InShortRounds(SyntheticSource(given), *LENGTHS[length]), HORIZON_NS)
    assert many > 5 * few
    assert msgspec.to_builtins(cut) == msgspec.to_builtins(whole)
