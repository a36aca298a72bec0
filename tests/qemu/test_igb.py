"""A real igb driver, in QEMU's software emulation: rings, virtual functions, and the frames sent to each."""

from pathlib import Path

import pytest

from tests.qemu.bed import guest
from tests.qemu.igb import Igb, Place
from vmqtui.testing import wait_until

EACH = 1500
"""Frames sent to each place."""
FUNCTIONS = (
    Place("02:00:00:00:01:01", 10),
    Place("02:00:00:00:01:02", 20),
    Place("02:00:00:00:01:03"),
)


@pytest.mark.slow
def test_each_function_of_a_real_adapter_gets_its_frames(tmp_path: Path) -> None:
    with guest(tmp_path) as machine:
        adapter = Igb(machine)
        adapter.make_functions(FUNCTIONS)
        for place in FUNCTIONS:
            adapter.send(place, EACH)
        for name in adapter.functions:
            wait_until(lambda name=name: adapter.received(name) == EACH, 60)  # type: ignore[misc]
        assert adapter.received(adapter.name) == 0
