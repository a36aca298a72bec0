"""Every event from an engine's start on, in order."""

from lab import SCENARIO

from vmqtui import Engine


async def test_every_event_comes_in_order_from_the_first() -> None:
    async with Engine(SCENARIO, clock="manual") as engine:
        await engine.request("pause_vm", vm="web-01", check=True)
        await engine.advance(0.5)
        await engine.request("resume_vm", vm="web-01", check=True)
        await engine.advance(4.0)
        await engine.request("remove_vm", vm="web-01", check=True)
        await engine.advance()
        assert [event.seq for event in engine.events] == list(range(1, 10))
        assert [(event.event, event.state) for event in engine.events] == [
            ("vm_paused", None),
            ("drops_begin", None),
            ("vm_resumed", None),
            ("drops_end", None),
            ("queue_state", "paused"),
            ("queue_state", "dma_stopped"),
            ("queue_state", "freeing"),
            ("queue_freed", "undefined"),
            ("vm_removed", None),
        ]
        times = [event.sim_time_ns for event in engine.events]
        assert times == sorted(times)
        assert (times[0], times[2], times[-1]) == (0, 500_000_000, 4_500_000_000)
