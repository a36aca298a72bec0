"""Keys in bursts never end the dashboard, and no request leaves twice. ``random_keys`` does it for longer."""

from pathlib import Path

from tests.vmqtui.random_keys import Dashboards

BURSTS = 100
SEED = 21


async def test_bursts_of_random_keys_leave_the_dashboard_running(tmp_path: Path) -> None:
    dashboards = Dashboards(SEED, tmp_path)
    await dashboards.press(BURSTS)
    assert dashboards.pressed == BURSTS
