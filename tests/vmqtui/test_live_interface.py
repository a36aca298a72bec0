"""What a live interface lost is seen in the header and in the table of adapters; without one, nothing."""

import msgspec
import pytest

from engine.telemetry.stats import Stats
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.scripted import live_link, make_config, make_stats
from vmqtui.columns import COLUMNS
from vmqtui.columns.export import document
from vmqtui.state.snapshot import Snapshot


def fed(seq: int, dropped: int | None) -> Stats:
    """A reading of an adapter that an interface feeds, which lost so many frames; None: that none feeds."""
    counts = {
        "kernel_received_frames": 10_000,
        "kernel_dropped_frames": dropped,
        "interface_dropped_frames": 5,
    }
    stats = make_stats(seq)
    adapters = {
        name: msgspec.structs.replace(adapter, interface=None if dropped is None else counts)
        for name, adapter in stats.adapters.items()
    }
    return msgspec.structs.replace(stats, adapters=adapters)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_frames_that_were_not_read_are_in_the_header(dashboard: Running, size: tuple[int, int]) -> None:
    link = live_link()
    async with dashboard(link, size=size) as (app, pilot, _):
        for seq in range(1, 20):
            link.publish("hv01", stats=fed(seq, 1000 * seq))
        app.draw_now()
        await pilot.pause()
        assert "▲4.00k unread/s" in screen_text(app).splitlines()[1]


def test_the_table_of_adapters_has_the_kernels_counts_and_without_an_interface_knows_none() -> None:
    rows = Snapshot("hv01", None, make_config(), fed(8, 700), fed(4, 100)).adapters
    assert rows[0].unread == 600
    [row] = document("adapters", COLUMNS["adapters"], rows, None, None)["adapters"]
    assert (row["kernel_received_frames"], row["kernel_dropped_frames"]) == (10_000, 700)
    rows = Snapshot("hv01", None, make_config(), fed(8, None), fed(4, None)).adapters
    assert rows[0].unread is None
    [row] = document("adapters", COLUMNS["adapters"], rows, None, None)["adapters"]
    assert row["kernel_dropped_frames"] is None
