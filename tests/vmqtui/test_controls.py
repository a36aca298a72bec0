"""Every control: the request that leaves, and what is said of its answer."""

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import closed, flowing, notes, opened, settled, shown, type_into
from tests.vmqtui.scripted import live_link, mac, make_config, make_stats, with_queue
from vmqtui.app import VmqApp
from vmqtui.dialogs.request import RequestDialog
from vmqtui.tasks.task import Field, Task


async def test_move_queue_is_two_keystrokes_and_a_processor(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await shown(pilot, app, "Move queue 1 (web-01)", "it is served there now")
        await pilot.press("end")
        await shown(pilot, app, "0:7, now at")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "cpu": 7})]
        assert "move queue 1 (web-01) from 0:2 to 0:7" in notes(app)


@pytest.mark.parametrize("keys", [("2", "down", "m"), ("2", "down", "i", "i", "m")], ids=["one", "marked"])
async def test_move_to_where_it_is_stays_open_and_says_that_nothing_moves(
    dashboard: Running, keys: tuple[str, ...]
) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press(*keys)
        await shown(pilot, app, "Move", "served there now")
        await pilot.press("enter")
        await shown(pilot, app, "there is nothing to move; choose another processor")
        link.publish("hv01", stats=make_stats(12))
        app.draw_now()
        await pilot.pause()
        assert "there is nothing to move" in flowing(app)
        await pilot.press("end")
        await shown(pilot, app, "0:7, now at")
        assert "there is nothing to move" not in flowing(app)
        assert link.asked == []


@pytest.mark.parametrize(
    ("key", "button"),
    [("m", "Move (⏎)"), ("f", "Set filter (⏎)"), ("n", "Allocate (⏎)"), ("d", "Free queue (y)")],
)
async def test_button_names_the_key_that_does_it(dashboard: Running, key: str, button: str) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "down", key)
        await opened(pilot, app)
        assert str(app.screen.query_one("#do", Button).label) == button


def test_button_over_a_text_of_several_lines_names_no_key() -> None:
    text = Field("text", "", str, several_lines=True)
    assert Task("", "", "Set traffic", lambda values: (), [text]).button == "Set traffic"


@pytest.mark.slow
async def test_refused_move_stays_open_with_its_words_and_status(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "queue 1 is freeing")
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        await pilot.press("end", "enter")
        text = await shown(pilot, app, "✗")
        assert "queue 1 is freeing (NDIS_STATUS_INVALID_PARAMETER)" in text
        app.draw_now()
        await pilot.pause()
        assert "NDIS_STATUS_INVALID_PARAMETER" in flowing(app)
        link.answer()
        await pilot.press("up", "enter")
        await closed(pilot, app)
        assert [params["cpu"] for _, _, params in link.asked] == [7, 6]


async def test_waiting_is_shown_until_answered(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        await pilot.press("end", "enter")
        await shown(pilot, app, "waiting for hv01")
        await pilot.press("enter")
        assert len(link.asked) == 1
        link.answer()
        await closed(pilot, app)


async def test_no_answer_is_said_to_be_uncertain(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.leave_unanswered()
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        await pilot.press("end", "enter")
        await shown(pilot, app, "no answer from hv01")


async def test_lost_broker_is_said(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.answers.put_nowait(ConnectionError("refused"))
        await pilot.press("2", "down", "m")
        await opened(pilot, app)
        await pilot.press("end", "enter")
        await shown(pilot, app, "the broker is not there (refused)")


@pytest.mark.slow
async def test_set_filter_sends_what_was_typed_in_the_fields_form(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        await pilot.press(*"00-15-5D-AA-BB-CC", "tab", *"42")
        link.answer(filter_id=14)
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [
            ("hv01", "set_filter", {"adapter": "nic0", "queue_id": 1, "mac": "00:15:5d:aa:bb:cc", "vlan": 42})
        ]


async def test_filter_form_says_what_would_fit_and_sends_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        await type_into(pilot, app, "mac", "01:00:5e:00:00:01")
        await shown(pilot, app, "group address")
        await type_into(pilot, app, "mac", "00:15:5d:00:00:77")
        await type_into(pilot, app, "vlan", "4095")
        await shown(pilot, app, "is not a VLAN id")
        await pilot.press("enter")
        await pilot.pause()
        assert link.asked == []


async def test_adapter_of_ndis_620_needs_a_vlan_test(dashboard: Running) -> None:
    link = live_link(ndis_version="6.20")
    link.publish("hv01", stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        await type_into(pilot, app, "mac", "00:15:5d:00:00:77")
        await pilot.press("enter")
        await shown(pilot, app, "NDIS 6.20 sets no filter without a VLAN test")
        assert link.asked == []


async def test_refused_filter_keeps_what_was_typed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        await type_into(pilot, app, "mac", "00:15:5d:00:00:02")
        await type_into(pilot, app, "vlan", "untagged")
        link.answer("NDIS_STATUS_RESOURCES")
        await pilot.press("enter")
        text = await shown(pilot, app, "NDIS_STATUS_RESOURCES", "no queue, filter or buffer left")
        assert "00:15:5d:00:00:02" in text
        assert app.screen.query_one("#field-vlan", Input).value == "untagged"


@pytest.mark.slow
async def test_clear_filter_asks_first_and_cancel_sends_nothing(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("3", "down", "x")
        await shown(pilot, app, "Clear filter 2", "00:15:5d:00:00:02, VLAN 20")
        await pilot.press("enter")  # Cancel has the focus
        await closed(pilot, app)
        assert link.asked == []
        link.answer()
        await pilot.press("x")
        await opened(pilot, app)
        await pilot.press("y")
        await closed(pilot, app)
        assert link.asked == [("hv01", "clear_filter", {"adapter": "nic0", "queue_id": 2, "filter_id": 2})]


@pytest.mark.parametrize(
    ("keys", "do"),
    [
        (("3", "down", "x"), "y"),
        (("2", "down", "down", "d"), "y"),
        (("2", "down", "down", "m", "down"), "enter"),
    ],
    ids=["clear", "free", "move"],
)
async def test_what_has_the_id_of_the_row_a_dialog_was_opened_for_is_left_alone(
    dashboard: Running, keys: tuple[str, ...], do: str
) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press(*keys)
        await opened(pilot, app)
        link.publish("hv01", config=with_queue(make_config(), 2, generation=99), stats=None)
        app.draw_now()
        await pilot.press(do)
        await shown(pilot, app, "it is gone since the dialog was opened")
        assert link.asked == []


async def test_a_change_without_an_answer_is_sent_again_though_its_row_is_gone_by_now(
    dashboard: Running,
) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("3", "down", "x")
        await opened(pilot, app)
        link.leave_unanswered()
        await pilot.press("y")
        await shown(pilot, app, "no answer from hv01")
        link.publish("hv01", config=with_queue(make_config(), 2, generation=99), stats=None)
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        assert [op for _, op, _ in link.asked] == ["clear_filter", "clear_filter"]


@pytest.mark.slow
async def test_the_preview_of_a_change_without_an_answer_says_that_it_is_sent_again(
    dashboard: Running,
) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "name", "shop")
        link.leave_unanswered()
        await pilot.press("enter")
        await shown(pilot, app, "no answer from hv01")
        link.publish("hv01", config=with_queue(make_config(), 2, generation=99), stats=None)
        app.draw_now()
        await type_into(pilot, app, "name", "other")
        await shown(pilot, app, "it is gone since the dialog was opened")
        await pilot.press("enter")
        await settled(pilot, app)
        assert len(link.asked) == 1
        await type_into(pilot, app, "name", "shop")
        await shown(pilot, app, "not answered yet: it is sent again as the same request")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.ids[0] == link.ids[1]


@pytest.mark.slow
async def test_queue_of_several_filters_asks_which_to_clear(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", *["down"] * 5, "x")
        await shown(pilot, app, "Clear which filter")
        await pilot.press("down", "enter")
        await shown(pilot, app, "Clear filter 6")
        link.answer()
        await pilot.press("y")
        await closed(pilot, app)
        assert link.asked[0][2]["filter_id"] == 6


async def test_queue_without_a_filter_has_none_to_clear(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "x")
        assert "has no filter" in notes(app)
        assert len(app.screen_stack) == 1
        assert link.asked == []


async def fill_new_queue(pilot: Pilot[None], app: VmqApp) -> None:
    await pilot.press("2", "n")
    await opened(pilot, app)
    for key, text in (("vm", "app-01"), ("cpu", "0:7"), ("buffers", "1,024"), ("vlan", "10")):
        await type_into(pilot, app, key, text)
    await type_into(pilot, app, "mac", "00:15:5d:00:10:01")


def filled_in(app: VmqApp) -> tuple[str, str]:
    """The MAC and the VLAN in the fields of a dialog."""
    mac_, vlan = (app.screen.query_one(f"#field-{key}", Input).value for key in ("mac", "vlan"))
    return mac_, vlan


async def test_new_queue_has_mac_and_vlan_of_the_vms_port_without_a_queue(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "n")
        await opened(pilot, app)
        for vm, addresses in (
            ("app-01", (mac(0x1001), "10")),
            ("app-012", ("", "")),
            ("test-01", (mac(0x1002), "untagged")),
        ):
            await type_into(pilot, app, "vm", vm)
            assert filled_in(app) == addresses
        await shown(pilot, app, f"it would take frames to {mac(0x1002)}")
        await type_into(pilot, app, "mac", "")
        await type_into(pilot, app, "vm", "app-01")
        assert filled_in(app) == ("", "untagged")
        await shown(
            pilot,
            app,
            "△ without a MAC it would be paused and take no frame until f sets a filter; it would have 512",
        )
        assert link.asked == []


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        ("new-01", "no port of nic0 has a VM of this name"),
        ("web-01", "its ports on nic0 have queues already"),
    ],
)
async def test_new_queue_says_why_it_proposes_no_address(dashboard: Running, vm: str, words: str) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("2", "n")
        await opened(pilot, app)
        await type_into(pilot, app, "vm", vm)
        await shown(pilot, app, words)
        assert filled_in(app) == ("", "")


async def test_address_under_the_cursor_stays_when_another_vm_is_typed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("6", "n")
        await opened(pilot, app)
        before = filled_in(app)
        await type_into(pilot, app, "vm", "test-01")
        assert filled_in(app) == before != (mac(0x1002), "untagged")


async def test_filter_begins_with_the_address_of_the_queues_own_vm(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        link.publish("hv01", config=with_queue(make_config(), 1, vm="app-01"), stats=make_stats(12))
        app.draw_now()
        await pilot.press("2", "down", "f")
        await opened(pilot, app)
        assert filled_in(app) == (mac(0x1001), "10")
        await pilot.press("escape")
        await closed(pilot, app)
        await pilot.press("down", "f")
        await opened(pilot, app)
        assert filled_in(app) == ("", "")
        assert "00:15:5d" not in app.screen.query_one("#field-mac", Input).placeholder


@pytest.mark.slow
async def test_new_queue_allocates_sets_its_filter_and_completes(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await fill_new_queue(pilot, app)
        link.answer(queue_id=13)
        link.answer(filter_id=14)
        link.answer(queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 1024}])
        await pilot.press("enter")
        await closed(pilot, app)
        assert [(op, params) for _, op, params in link.asked] == [
            (
                "allocate_queue",
                {"adapter": "nic0", "cpu": 7, "buffers": 1024, "vm": "app-01", "name": "app-01"},
            ),
            ("set_filter", {"adapter": "nic0", "queue_id": 13, "mac": "00:15:5d:00:10:01", "vlan": 10}),
            ("complete_allocation", {"adapter": "nic0", "queue_ids": [13]}),
        ]
        assert "allocate app-01; set filter 00:15:5d:00:10:01; complete app-01" in notes(app)


@pytest.mark.slow
async def test_new_queue_goes_on_after_a_refused_step_without_repeating_the_others(
    dashboard: Running,
) -> None:
    async with dashboard() as (app, pilot, link):
        await fill_new_queue(pilot, app)
        link.answer(queue_id=13)
        link.answer("NDIS_STATUS_INVALID_PARAMETER", "filter 1 has that MAC and VLAN already")
        await pilot.press("enter")
        await shown(pilot, app, "✓ allocate app-01", "already (NDIS_STATUS_INVALID_PARAMETER)")
        assert app.screen.query_one("#field-vm", Input).disabled
        await type_into(pilot, app, "vlan", "11")
        link.answer(filter_id=14)
        link.answer(queues=[{"queue_id": 13, "ndis_status": "NDIS_STATUS_RESOURCES"}])
        app.screen.query_one("#field-vlan", Input).focus()
        await pilot.press("enter")
        await shown(pilot, app, "NDIS_STATUS_RESOURCES")
        assert [op for _, op, _ in link.asked] == [
            "allocate_queue",
            "set_filter",
            "set_filter",
            "complete_allocation",
        ]
        await pilot.press("escape")
        await closed(pilot, app)
        assert "allocate app-01; set filter 00:15:5d:00:10:01, then left" in notes(app)


async def test_port_without_a_queue_is_offered_one(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("6", "n")
        await shown(pilot, app, "New queue on nic0")
        values = {key: app.screen.query_one(f"#field-{key}", Input).value for key in ("vm", "mac", "vlan")}
        assert values == {"vm": "app-01", "mac": "00:15:5d:00:10:01", "vlan": "10"}


async def test_lookahead_is_asked_only_where_the_adapter_splits(dashboard: Running) -> None:
    link = live_link(ndis_version="6.20", max_lookahead_bytes=256)
    link.publish("hv01", stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("n")
        await opened(pilot, app)
        await type_into(pilot, app, "lookahead", "512")
        await shown(pilot, app, "Lookahead: 512 is not a whole number in 0..256")


async def test_complete_allocation_of_an_allocated_queue(dashboard: Running) -> None:
    link = live_link()
    config = with_queue(make_config(), 3, state="allocated")
    link.publish("hv01", stats=make_stats(2), config=config)
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2", *["down"] * 3, "c")
        link.answer(queues=[{"queue_id": 3, "ndis_status": "NDIS_STATUS_SUCCESS", "buffers": 512}])
        await shown(pilot, app, "Give queue 3 (sql-01) 512 receive buffers")
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [("hv01", "complete_allocation", {"adapter": "nic0", "queue_ids": [3]})]


async def test_edit_sends_only_what_changed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await type_into(pilot, app, "buffers", "2048")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked == [
            ("hv01", "set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "buffers": 2048})
        ]


async def test_edit_begins_at_the_buffers_and_what_is_typed_replaces_their_number(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "down", "e")
        await opened(pilot, app)
        await pilot.press(*"2048")
        link.answer()
        await pilot.press("enter")
        await closed(pilot, app)
        assert link.asked[0][2] == {"adapter": "nic0", "queue_id": 1, "buffers": 2048}


async def test_default_queue_has_no_name_to_change_and_is_never_freed(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", "e")
        await opened(pilot, app)
        assert not app.screen.query("#field-name")
        await pilot.press("escape", "d")
        await pilot.pause()
        assert "the default queue can't be freed" in notes(app)
        assert link.asked == []


@pytest.mark.slow
async def test_free_asks_then_clears_the_filters_and_frees(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await pilot.press("2", *["down"] * 5, "d")
        await shown(pilot, app, "Free queue 5 (fw-01)", "2 filters are cleared first")
        assert link.asked == []
        link.answer()
        link.answer()
        link.answer("NDIS_STATUS_PENDING", "47 buffers are outstanding")
        await pilot.press("y")
        await closed(pilot, app)
        assert [(op, params.get("filter_id")) for _, op, params in link.asked] == [
            ("clear_filter", 5),
            ("clear_filter", 6),
            ("free_queue", None),
        ]
        assert "free queue 5 (fw-01): pending · 47 buffers are outstanding" in notes(app)


async def test_read_only_has_no_controls(dashboard: Running) -> None:
    async with dashboard(read_only=True) as (app, pilot, link):
        await pilot.press("2", "down", *"mfxnced")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert link.asked == []
        assert " move " not in screen_text(app)
        assert "read-only" in screen_text(app)


@pytest.mark.slow
async def test_queue_of_a_processor_can_be_moved_from_there(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, _):
        await pilot.press("5", "tab", "down", "m")
        await shown(pilot, app, "Move queue 2 (web-02)")
        assert isinstance(app.screen, RequestDialog)


@pytest.mark.slow
async def test_answer_without_a_queue_id_is_not_a_crash(dashboard: Running) -> None:
    async with dashboard() as (app, pilot, link):
        await fill_new_queue(pilot, app)
        link.answer()
        await pilot.press("enter")
        await shown(pilot, app, "no usable queue_id")
