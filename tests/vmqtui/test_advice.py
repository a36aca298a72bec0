"""The view of findings: what it lists, what it says of one, and how a fix is applied."""

from typing import Any

import msgspec
import pytest

from engine.advice.finding import Finding, Request
from engine.bus.messages import Status
from engine.telemetry.config import FilterConfig
from engine.view.index import ConfigIndex
from tests import measured
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.scripted import (
    SECOND,
    ScriptedHost,
    ScriptedLink,
    mac,
    make_config,
    make_stats,
    play,
    with_queue,
)
from vmqtui.columns import advice as words
from vmqtui.state.rows import FindingRow, is_fixed
from vmqtui.state.snapshot import Snapshot
from vmqtui.tasks.advice import apply_fix
from vmqtui.tasks.task import Task

VMS = (("default", None, 0, 20), ("web-01", "web-01", 2, 9000), ("sql-01", "sql-01", 3, 9000))


def host(**changes: Any) -> ScriptedLink:
    """A quiet host of two VMs, queue 2 changed."""
    link = ScriptedLink(connection="connected")
    config = with_queue(make_config(VMS), 2, **changes)
    ports = [port for port in config.adapters[0].ports if port.vm in ("web-01", "sql-01")]
    adapter = msgspec.structs.replace(config.adapters[0], ports=ports)
    link.views["hv01"] = ScriptedHost(
        status=Status(state="online", started_at=1.0, interval_ns=SECOND // 4),
        config=msgspec.structs.replace(config, adapters=[adapter], revision=7),
    )
    play(link, 1, 9, vms=VMS)
    return link


async def test_a_finding_is_listed_with_what_shows_it_and_both_forms_of_its_fix(dashboard: Running) -> None:
    link = host(vm_paused=True)
    async with dashboard(link, size=(140, 40)) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("8")
        await pilot.pause()
        text = screen_text(app)
        assert "sql-01 is paused and holds the buffers" in text
        assert "vmqtui vm resume sql-01 --adapter nic0" in text
        assert "Resume-VM -Name 'sql-01'" in text
        await pilot.press("enter")
        await pilot.pause()
        assert "A VM that does not run returns no buffers" in screen_text(app)


async def test_the_fix_is_shown_then_sent_and_can_be_taken_back(dashboard: Running) -> None:
    link = host(vm_paused=True)
    async with dashboard(link) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("8", "f")
        await pilot.pause()
        assert ("resume_vm", {"adapter": "nic0", "vm": "sql-01"}) in link.wondered
        link.answer()
        await pilot.press("enter")
        await pilot.pause()
        assert link.asked == [("hv01", "resume_vm", {"adapter": "nic0", "vm": "sql-01"})]
        link.answer()
        await pilot.press("u")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert link.asked[1:] == [("hv01", "pause_vm", {"adapter": "nic0", "vm": "sql-01"})]
        assert len(app.screen_stack) == 1


async def test_a_fixed_finding_says_at_once_until_when_the_fix_is_judged_and_not_after_undo(
    dashboard: Running,
) -> None:
    link = host(vm_paused=True)
    async with dashboard(link, size=(80, 24)) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("8")
        await pilot.pause()
        config = link.views["hv01"].config
        assert config is not None
        assert "judged" not in screen_text(app)
        resumed = with_queue(config, 2, vm_paused=False)
        link.publish("hv01", config=msgspec.structs.replace(resumed, revision=8))
        app.draw_now()
        await pilot.pause()
        text = screen_text(app)
        assert "fix judged until 34.0s: sql-01 is paused" in text
        assert "fixed   the fix is carried out, and judged until 34.0s" in text
        link.publish("hv01", config=msgspec.structs.replace(config, revision=9))
        app.draw_now()
        await pilot.pause()
        assert "judged" not in screen_text(app)


def test_a_fix_is_carried_out_when_the_configuration_has_all_that_its_requests_set() -> None:
    config = msgspec.structs.replace(with_queue(make_config(VMS), 2, buffers=256), revision=8)

    def carried_out(*requests: Request, revision: int = 7) -> bool:
        one = msgspec.structs.replace(finding(*requests), revision=revision)
        return is_fixed(one, ConfigIndex(config))

    def request(op: str, **params: Any) -> Request:
        generation = params.pop("generation", None)
        return Request(op=op, params={"adapter": "nic0", **params}, generation=generation)

    buffers = request("set_queue_parameters", queue_id=2, buffers=256)
    assert carried_out(buffers)
    assert not carried_out(buffers, revision=8)  # found again under the configuration that has it
    assert not carried_out()
    assert not carried_out(buffers, request("set_queue_parameters", queue_id=1, buffers=1))
    assert not carried_out(request("set_queue_parameters", queue_id=2, buffers=256, generation=99))
    assert carried_out(request("allocate_queue", vm="sql-01"))
    assert not carried_out(request("allocate_queue", vm="app-01"))
    one = config.adapters[0].filters[0]
    assert carried_out(request("set_filter", queue_id=9, mac=one.mac, vlan=one.vlan))
    assert not carried_out(request("set_filter", queue_id=9, mac=one.mac, vlan=4000))
    assert carried_out(request("free_queue", queue_id=9))
    assert not carried_out(request("free_queue", queue_id=2))
    assert carried_out(request("remove_vm", vm="app-01"))
    assert not carried_out(request("remove_vm", vm="sql-01"))
    assert not carried_out(request("set_adapter", link_gbps=1))
    assert not carried_out(Request(op="set_adapter", params={"adapter": "nic9"}))


async def test_read_only_lists_findings_and_offers_no_fix(dashboard: Running) -> None:
    link = host(vm_paused=True)
    async with dashboard(link, read_only=True) as (app, pilot, _):
        play(link, 10, 16, vms=VMS)
        await pilot.press("8", "f")
        await pilot.pause()
        assert "sql-01 is paused" in screen_text(app)
        assert len(app.screen_stack) == 1


async def test_a_host_without_trouble_says_so(dashboard: Running) -> None:
    link = host()
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("8")
        await pilot.pause()
        assert "nothing is judged yet" in screen_text(app)
        play(link, 10, 16, vms=VMS)
        app.draw_now()
        await pilot.pause()
        assert "nothing found" in screen_text(app)


def finding(*requests: Request) -> Finding:
    return Finding(
        rule="test",
        severity="warn",
        adapter="nic0",
        key="k",
        where="w",
        says="s",
        numbers={},
        cause="c",
        fix="f",
        requests=list(requests),
        measure="m",
    )


async def test_what_an_allocation_answers_is_what_the_requests_after_it_are_about(dashboard: Running) -> None:
    """Another client may have taken the id that the fix reckoned with."""
    async with dashboard(host()) as (app, _, _):
        fix = finding(
            Request(op="allocate_queue", params={"adapter": "nic0", "name": "x", "cpu": 1, "buffers": 8}),
            Request(op="set_filter", params={"adapter": "nic0", "queue_id": 3, "mac": "m"}, queue_from=0),
            Request(op="complete_allocation", params={"adapter": "nic0", "queue_ids": [3]}, queue_from=0),
        )
        task = apply_fix(fix, app.model.snapshot)
        assert isinstance(task, Task)
        allocate, set_filter, complete = task.plan({})
        link = ScriptedLink()
        link.answer(queue_id=9)
        answers = {allocate.key: await link.request("hv01", allocate.op, {})}
        assert set_filter.params(answers)["queue_id"] == 9
        assert complete.params(answers)["queue_ids"] == [9]


def test_a_fix_that_gives_a_queue_previews_what_that_takes() -> None:
    snapshot = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))
    filter_params = {"adapter": "nic0", "queue_id": 13, "mac": mac(0x1001), "vlan": 10}
    task = apply_fix(
        finding(
            Request(op="allocate_queue", params={"adapter": "nic0", "name": "x", "cpu": 1, "buffers": 8}),
            Request(op="set_filter", params=filter_params, queue_from=0),
        ),
        snapshot,
    )
    assert isinstance(task, Task)
    assert "unknown" not in task.explanation
    foreseen = task.plan({})[1].foreseen
    assert foreseen is not None
    assert "from the default queue: " in foreseen.words
    assert " frames/s now" in foreseen.words


def test_a_fix_that_clears_a_filter_first_previews_what_its_queue_takes_then() -> None:
    """Before that, the queue that has the filter takes the frames, and comes first."""
    config = make_config()
    adapter = config.adapters[0]
    held = FilterConfig(filter_id=96, queue_id=6, mac=mac(0x1001), vlan=10, driver="vsp")
    config = msgspec.structs.replace(
        config, adapters=[msgspec.structs.replace(adapter, filters=[*adapter.filters, held])]
    )
    wanted = {"adapter": "nic0", "queue_id": 13, "mac": held.mac, "vlan": 10}
    clears = Request(
        op="clear_filter", params={"adapter": "nic0", "queue_id": 6, "filter_id": 96}, mac=held.mac
    )
    allocates = Request(op="allocate_queue", params={"adapter": "nic0", "name": "x", "cpu": 1, "buffers": 8})
    sets = [Request(op="set_filter", params=wanted, queue_from=place) for place in (0, 1)]
    for requests, fits in (([allocates, sets[0]], False), ([clears, allocates, sets[1]], True)):
        task = apply_fix(finding(*requests), Snapshot("hv01", None, config, make_stats(8), make_stats(4)))
        assert isinstance(task, Task)
        foreseen = task.plan({})[-1].foreseen
        assert foreseen is not None
        assert foreseen.fits is fits
        assert ("it would take frames to" in foreseen.words) is fits
        assert "queue 6 (mail-01)" in foreseen.words, "which takes them now"


@pytest.mark.parametrize(
    ("params", "concerned"),
    [
        ({"adapter": "nic0"}, {"nic0"}),
        ({"adapter": "nic1"}, {"nic0", "nic1"}),
        ({}, {"nic0", "nic1", "nic2"}),
    ],
)
def test_a_finding_is_listed_with_every_adapter_that_it_concerns(
    params: dict[str, str], concerned: set[str]
) -> None:
    row = FindingRow(finding(Request(op="set_queue_parameters", params=dict(params))))
    assert {name for name in ("nic0", "nic1", "nic2") if row.concerns(name)} == concerned


async def test_a_fix_may_be_for_several_adapters_or_for_the_host(dashboard: Running) -> None:
    adapters = ("nic0", "nic1")
    config = make_config((("default", None, 0, 0), ("a", "a", 3, 0)), adapters=adapters)
    link = host()
    link.publish("hv01", config=msgspec.structs.replace(config, balancer={"mode": "off", "scale_out": 0.8}))
    async with dashboard(link) as (app, _, _):
        move = Request(op="set_queue_parameters", params={"adapter": "nic1", "queue_id": 1, "cpu": 5})
        balance = Request(op="set_balancer", params={"mode": "dynamic"})
        task = apply_fix(finding(move, balance), app.model.snapshot)
        assert isinstance(task, Task)
        moved, balanced = task.plan({})
        assert (moved.title, balanced.title) == (
            "move queue 1 (a) of nic1 to processor 0:5",
            "set the balancer's mode = dynamic",
        )
        assert moved.about == ("nic1", 1, 2)
        assert callable(moved.undo)
        assert moved.undo({}).title == "move queue 1 (a) of nic1 to processor 0:3"
        grow = Request(op="set_queue_parameters", params={"adapter": "nic0", "queue_id": 1, "buffers": 2048})
        task = apply_fix(finding(grow), app.model.snapshot)
        assert isinstance(task, Task)
        [grown] = task.plan({})
        assert callable(grown.undo)
        assert (grown.title, grown.undo({}).title) == (
            "give queue 1 (a) of nic0 2,048 buffers",
            "give queue 1 (a) of nic0 512 buffers",
        )
        assert callable(balanced.undo)
        assert moved.undo({}).params({}) == {"adapter": "nic1", "queue_id": 1, "cpu": 3}
        assert balanced.undo({}).params({}) == {"mode": "off"}
        gone = finding(Request(op="free_queue", params={"adapter": "nic9", "queue_id": 1}))
        assert apply_fix(gone, app.model.snapshot) == "adapter nic9 is not known"


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (
            Request(op="set_queue_parameters", params={"adapter": "nic0", "queue_id": 3, "cpu": 2}),
            "vmqtui queue set 3 --cpu 2 --adapter nic0",
        ),
        (
            Request(op="allocate_queue", params={"name": "it's", "vm": "a b", "cpu": 1, "buffers": 64}),
            "vmqtui queue allocate --name 'it'\"'\"'s' --vm 'a b' --cpu 1 --buffers 64",
        ),
        (
            Request(op="set_filter", params={"queue_id": 1, "mac": "00:15:5d:00:00:01", "vlan": "untagged"}),
            "vmqtui filter set 1 00:15:5d:00:00:01 --vlan untagged",
        ),
        (
            Request(op="complete_allocation", params={"queue_ids": [1, 2]}),
            "vmqtui queue complete 1 2",
        ),
        (
            Request(op="set_adapter", params={"adapter": "nic0", "link_gbps": 10.0}),
            "vmqtui adapter set --link-gbps 10 --adapter nic0",
        ),
    ],
)
def test_a_request_is_worded_as_the_command_that_makes_it(request_: Request, line: str) -> None:
    assert words.command(request_) == line


@pytest.mark.parametrize(
    ("name", "said"),
    [("web-01", "web-01"), ("it's a", "'it'\"'\"'s a'"), ("15", "3"), ("-x", "3"), ("", "3")],
)
def test_a_queue_that_a_fix_allocates_is_called_by_its_name(name: str, said: str) -> None:
    requests = [
        Request(op="free_queue", params={"queue_id": 2}),
        Request(op="allocate_queue", params={"name": name, "vm": "v", "cpu": 1, "buffers": 64}),
        Request(op="set_filter", params={"queue_id": 3, "mac": "m"}, queue_from=1),
        Request(op="complete_allocation", params={"queue_ids": [3]}, queue_from=1),
    ]
    free, _, fill, complete = words.commands(requests)
    assert (free, fill, complete) == (
        "vmqtui queue free 2",
        f"vmqtui filter set {said} m",
        f"vmqtui queue complete {said}",
    )


def test_an_effect_says_how_it_is_known() -> None:
    tried = msgspec.structs.replace(finding(), value=4.0, after=0.0, cleared=True)
    assert words.effect(tried) == "m: 4 → 0 (the model ran again), cleared"
    assert words.effect(msgspec.structs.replace(finding(), value=4.0)) == "m: 4 → unknown"


async def test_rules_that_could_not_look_are_named_where_nothing_is_found(dashboard: Running) -> None:
    link = ScriptedLink(connection="connected")
    link.views["lab-windows"] = ScriptedHost(
        status=Status(state="online", kind="measured", controls=False, started_at=1.0),
        config=measured.windows_config(),
    )
    async with dashboard(link, size=(140, 40)) as (app, pilot, _):
        for reading in measured.windows().readings:
            link.publish("lab-windows", stats=reading)
        await pilot.press("8")
        await pilot.pause()
        text = screen_text(app)
        assert "nothing found so far, but 16 rules could not look" in text
        assert "2 of 30 s watched: the order may change, 16 rules could not look" in text
        assert "full-processor, load-swings: drops by queue are not known (Ethernet 2)" in text
        await pilot.press("enter")
        await pilot.pause()
        assert "rules that could not look" in screen_text(app)
