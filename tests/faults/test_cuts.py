"""Connections that end at any byte: of the handshake, of a request, of its answer."""

from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tests.faults.proxy import Direction
from tests.slow import slow_but

TRIES = 14


def descriptors() -> int:
    """Open files of this process, where that can be known."""
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.exists() else 0


def places(length: int, tries: int = TRIES) -> list[int]:
    """Bytes to cut after: all over the length, and other ones for each length."""
    return [length * number // tries + (number * 7) % max(1, length // tries) for number in range(tries)]


@pytest.mark.parametrize("side", slow_but(["reader"], ["engine", "reader"]))
@pytest.mark.parametrize("direction", slow_but(["up"], ["up", "down"]))
async def test_a_request_over_a_connection_cut_at_any_byte_is_carried_out_once(
    lab: Lab, side: str, direction: Direction
) -> None:
    proxy = lab.of_engine if side == "engine" else lab.of_reader
    proxy.drop()
    await lab.ask()
    length = proxy.passed[direction]  # of a handshake and an exchange
    before = descriptors()
    came_so_far = [await lab.cut(proxy, direction, at) for at in places(length)]
    assert sum(came_so_far) >= TRIES // 2
    assert descriptors() <= before + 4


async def test_readers_that_vanish_leave_no_errors_in_the_log(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    for at in (60, 150, 190):
        await lab.cut(lab.of_reader, "up", at)
    assert not any("PUBACK" in str(record.__dict__) for record in caplog.records)
