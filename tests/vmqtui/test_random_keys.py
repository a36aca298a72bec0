"""Keys in bursts never end the dashboard, and no request leaves twice. ``random_keys`` does it for longer."""

from pathlib import Path

import pytest

from tests.vmqtui.random_keys import Dashboards


@pytest.mark.parametrize(("bursts", "seed"), [(20, 21), pytest.param(2_000, 22, marks=pytest.mark.slow)])
async def test_bursts_of_random_keys_leave_the_dashboard_running(
    bursts: int, seed: int, tmp_path: Path
) -> None:
    dashboards = Dashboards(seed, tmp_path)
    await dashboards.press(bursts)
    assert dashboards.pressed == bursts
