"""VMs, traffic and adapter settings: the request that leaves, and what is said of its answer."""

from typing import Any

import pytest

from tests.slow import slow_but
from tests.vmqtui.conftest import Running
from tests.vmqtui.dialogs import closed, notes, opened, shown, told, type_into
from tests.vmqtui.scripted import live_link, make_config, make_stats, with_queue

TRAFFIC: dict[str, Any] = {
    "seed": 1,
    "mix": [
        {
            "adapter": "nic0",
            "rate_pps": 350000.0,
            "pattern": "random",
            "burst_frames": 32,
            "flow": [
                {"kind": "unicast", "mac": "00:15:5d:00:00:01", "weight": 1.0, "frame_bytes": "imix"},
                {"kind": "broadcast", "weight": 2.0, "frame_bytes": 60},
            ],
        }
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "verb", "op", "confirm"),
    slow_but(
        [(0, "pause", "pause_vm", "enter")],
        [
            (0, "pause", "pause_vm", "enter"),
            (2, "migrate", "migrate_vm", "y"),
            (3, "remove", "remove_vm", "y"),
        ],
        unpack=True,
    ),
)
async def test_vm_under_the_cursor(dashboard: Running, place: int, verb: str, op: str, confirm: str) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", *["down"] * 5, "v")
        await shown(pilot, app, "VM fw-01: queue 5", "it returns no buffer until it is resumed")
        await pilot.press(*["down"] * place, "enter")
        await shown(pilot, app, f"{verb.capitalize()} fw-01 (queue 5) of nic0")
        assert link.asked == []
        link.answer(message=f"VM fw-01 is {verb}d", queues=[])
        await pilot.press(confirm)
        await closed(pilot, app)
        assert link.asked == [("hv01", op, {"adapter": "nic0", "vm": "fw-01"})]
        assert f"{verb} VM fw-01 · VM fw-01 is {verb}d" in notes(app)


@pytest.mark.slow
async def test_paused_vm_is_offered_to_be_resumed(dashboard: Running) -> None:
    link = live_link()
    link.publish("hv01", stats=make_stats(2), config=with_queue(make_config(), 5, vm_paused=True))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2", *["down"] * 5, "v")
        await shown(pilot, app, "VM fw-01: queue 5, paused")
        link.answer()
        await pilot.press("enter")
        await shown(pilot, app, "Resume fw-01")
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "resume_vm", {"adapter": "nic0", "vm": "fw-01"})]


@pytest.mark.slow
async def test_removing_a_vm_asks_first_and_cancel_sends_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down")
        app.screen.call_later(app.screen.run_action, "change_vm('remove')")
        await shown(pilot, app, "Remove web-01 (queue 1) of nic0?", "this can't be taken back")
        await pilot.press("enter")  # Cancel has the focus
        await closed(pilot, app)
        assert link.asked == []


@pytest.mark.slow
async def test_without_a_vm_under_the_cursor_one_is_chosen(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "v")  # the default queue has none
        await shown(pilot, app, "Which VM", "app-01 no queue", "web-01 queue 1")
        await pilot.press("enter")
        await shown(pilot, app, "VM app-01: no queue")
        await pilot.press("escape")
        await closed(pilot, app)
        assert link.asked == []


@pytest.mark.slow
async def test_rate_of_the_only_mix(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("R")
        await shown(pilot, app, "Mix 1 of 1", "350,000 pkt/s, random, 2 flows")
        await type_into(pilot, app, "rate", "500,000")
        await type_into(pilot, app, "pattern", "bursts")
        link.answer(message="the traffic is 1 mix of 2 flows, seed 1, from the next round on")
        await pilot.press("enter")
        await closed(pilot, app)
        mix = TRAFFIC["mix"][0] | {"rate_pps": 500000.0, "pattern": "bursts"}
        assert link.asked == [("hv01", "query_traffic", {}), ("hv01", "set_traffic", {"mix": [mix]})]
        # What was asked beforehand is of what was typed by then.
        assert {operation for operation, _ in link.wondered} <= {"set_traffic"}
        assert "from the next round on" in notes(app)


@pytest.mark.slow
async def test_rate_in_another_unit_replaces_the_first(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("R")
        await opened(pilot, app)
        await type_into(pilot, app, "rate", "20000")
        await pilot.press("tab", "right")
        await shown(pilot, app, "‹ Gbit/s ›", "rate_gbps: 20000.0 is not a number in 1e-06..10000")
        await type_into(pilot, app, "rate", "4")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        (mix,) = link.asked[1][2]["mix"]
        assert (mix["rate_gbps"], "rate_pps" in mix) == (4.0, False)


@pytest.mark.slow
async def test_rate_that_does_not_fit_sends_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("R")
        await opened(pilot, app)
        await type_into(pilot, app, "rate", "fast")
        await shown(pilot, app, 'Rate: "fast" is not a number in 0.001..1000000000')
        await pilot.press("enter")
        await pilot.pause()
        assert len(link.asked) == 1
        assert link.wondered == []


@pytest.mark.slow
async def test_of_several_mixes_one_is_chosen(dashboard: Running) -> None:
    two = TRAFFIC | {"mix": [TRAFFIC["mix"][0], TRAFFIC["mix"][0] | {"rate_pps": 200.0}]}
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=two)
        await pilot.press("R")
        await shown(pilot, app, "Rate of which mix")
        await pilot.press("down", "enter")
        await shown(pilot, app, "Mix 2 of 2")
        await type_into(pilot, app, "rate", "300")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert [mix["rate_pps"] for mix in link.asked[1][2]["mix"]] == [350000.0, 300.0]


async def test_mix_is_written_as_a_scenario_has_it(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("T")
        await shown(pilot, app, "[traffic]", "rate_pps = 350000.0", 'kind = "unicast"')
        await type_into(pilot, app, "traffic", "[traffic]\nseed = 7\n[[traffic.mix]]\nrate_ps = 3")
        await shown(pilot, app, 'traffic.mix[0].rate_ps: unknown key (did you mean "rate_pps"?)')
        await type_into(
            pilot, app, "traffic", '[traffic]\n[[traffic.mix]]\nrate_pps = 3\nflow = [{kind = "unicast"}]'
        )
        await shown(pilot, app, "mix[0].flow[0].mac: missing")
        await type_into(
            pilot, app, "traffic", '[traffic]\n[[traffic.mix]]\nrate_pps = 3\nflow = [{kind = "unknown"}]'
        )
        link.answer()
        await pilot.press("tab", "enter")
        await closed(pilot, app)
        wanted = {"mix": [{"rate_pps": 3, "flow": [{"kind": "unknown"}]}]}
        assert link.asked[1:] == [("hv01", "set_traffic", wanted)]


@pytest.mark.slow
async def test_arrows_move_in_the_text_of_the_mix(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="synthetic", traffic=TRAFFIC)
        await pilot.press("T")
        await opened(pilot, app)
        await pilot.press("down", "down")
        assert app.focused is not None
        assert app.focused.id == "field-traffic"
        # An attribute of the class that is there.
        assert app.focused.cursor_location[0] == 2  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_engine_that_plays_a_capture_takes_no_other_traffic(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(message="frames come from: trace.pcap", source="capture", traffic=None)
        await pilot.press("R")
        await told(pilot, app, "trace.pcap; an engine that plays a capture takes no other traffic")
        assert len(app.screen_stack) == 1


@pytest.mark.slow
async def test_no_traffic_at_all_can_be_written_but_has_no_rate(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer(source="none", traffic=None)
        await pilot.press("R")
        await told(pilot, app, "there is no mix whose rate could be set")
        link.answer(source="none", traffic=None)
        await pilot.press("T")
        await shown(pilot, app, "[traffic]", "seed = 1")


@pytest.mark.slow
async def test_question_about_traffic_that_is_not_answered_is_said(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.leave_unanswered()
        await pilot.press("T")
        await told(pilot, app, "no answer from hv01")


@pytest.mark.slow
async def test_adapter_settings_send_only_what_changed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("A")
        await shown(pilot, app, "Settings of nic0", "‹ on ›")
        await type_into(pilot, app, "link_gbps", "0")
        await shown(pilot, app, "Link Gbit/s: 0 is not a number in 0.001..10000")
        await type_into(pilot, app, "link_gbps", "25")
        await type_into(pilot, app, "vlan_filtering", "off")
        link.answer(message='adapter "nic0" has a link of 25 Gbit/s')
        app.screen.query_one("#field-link_gbps").focus()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [
            ("hv01", "set_adapter", {"adapter": "nic0", "link_gbps": 25.0, "vlan_filtering": False})
        ]
        assert "set link_gbps = 25, vlan_filtering = false of nic0" in notes(app)


@pytest.mark.slow
async def test_a_processor_set_is_typed_and_taken_back(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("A")
        await shown(pilot, app, "Settings of nic0", "Set from")
        await type_into(pilot, app, "base_processor", "2")
        await shown(pilot, app, 'Set from: 2 is not a processor as group:number (like "0:2")')
        await type_into(pilot, app, "base_processor", "0:2")
        await type_into(pilot, app, "max_processors", "4")
        link.answer(message='adapter "nic0" has processors 0:2..0:5', revision=8)
        app.screen.query_one("#field-base_processor").focus()
        await pilot.press("enter")
        await closed(pilot, app)
        params = {"adapter": "nic0", "base_processor": "0:2", "max_processors": 4}
        assert link.asked == [("hv01", "set_adapter", params)]


@pytest.mark.slow
async def test_refused_settings_stay_with_words_and_status(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("A")
        await opened(pilot, app)
        await type_into(pilot, app, "max_queues", "3")
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "max_queues: 3 is less than the 12 in use")
        await pilot.press("enter")
        await shown(pilot, app, "✗", "less than the 12 in use (NDIS_STATUS_INVALID_PARAMETER)")


@pytest.mark.slow
async def test_settings_of_one_of_several_adapters(dashboard: Running) -> None:
    link = live_link(adapters=("nic0", "nic1"))
    link.publish("hv01", stats=make_stats(4, adapters=("nic0", "nic1")))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("A")
        await shown(pilot, app, "Settings of")
        await pilot.press("down", "enter")
        await shown(pilot, app, "Settings of nic1")
