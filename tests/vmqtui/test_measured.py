"""The dashboard on a measured host: it changes nothing there, and says so."""

import asyncio

import aiomqtt
import msgspec
import pytest

from engine.bus import topics
from engine.bus.broker import EmbeddedBroker
from engine.bus.messages import Status
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.dialogs import notes, shown, told
from tests.vmqtui.scripted import SECOND, ScriptedLink, live_link, make_config, make_stats, play
from vmqtui.actions import ACTIONS
from vmqtui.cli.program import run

STATUS = Status(
    state="online",
    version="0.1.0",
    started_at=1_767_225_600.0,
    interval_ns=SECOND // 4,
    kind="measured",
    controls=False,
)
WHY = "hv01 is a real host, measured: nothing is changed on it"


def measured_link() -> ScriptedLink:
    """A link to a measured host hv01, with its first readings."""
    link = live_link()
    link.views["hv01"].status = STATUS
    play(link, 1, 20)
    return link


async def test_no_key_changes_a_measured_host_and_each_says_why(dashboard: Running) -> None:
    changing = [action for action in ACTIONS if action.changes]
    async with dashboard(measured_link()) as (app, pilot, link):
        assert " new " not in screen_text(app).splitlines()[-1]
        assert notes(app) == ""
        await pilot.press("2", "down", *(key for action in changing for key in action.keys))
        await told(pilot, app, WHY)
        assert len(app.screen_stack) == 1
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert not titles & {action.title for action in changing}
        await pilot.press("2", "question_mark")
        await pilot.pause()
        assert "Free queue" not in screen_text(app)
        assert (link.asked, link.wondered, link.caught_up) == ([], [], [])


async def test_keys_come_back_with_a_host_that_takes_requests(dashboard: Running) -> None:
    link = measured_link()
    model = Status(state="online", started_at=1.0, interval_ns=SECOND // 4)
    link.publish("hv02", status=model, config=make_config(host="hv02"), stats=make_stats(2))
    async with dashboard(link) as (app, pilot, _):
        await pilot.press("2")
        await pilot.pause()
        assert " new " not in screen_text(app).splitlines()[-1]
        await pilot.press("h")
        await shown(pilot, app, "measured", "model")
        await pilot.press("down", "enter")
        await shown(pilot, app, " hv02 ")
        await pilot.pause()
        assert " new " in screen_text(app).splitlines()[-1]
        await pilot.press("down", "e")
        await shown(pilot, app, "Rename or resize queue 1")


async def test_what_is_typed_into_a_filter_is_no_key(dashboard: Running) -> None:
    async with dashboard(measured_link()) as (app, pilot, _):
        await pilot.press("2", "slash", *"mfn")
        await shown(pilot, app, "/mfn")
        assert notes(app) == ""


async def test_the_header_tells_the_time_a_measured_host_is_up(dashboard: Running) -> None:
    link = measured_link()
    stats = msgspec.structs.replace(make_stats(21), behind_ns=9 * SECOND, real_time_ratio=0.5)
    link.publish("hv01", stats=stats)
    async with dashboard(link) as (app, _, _):
        line = screen_text(app).splitlines()[0]
        assert "measured  up 5.2s" in line
        assert "sim " not in line
        assert "behind" not in line


async def test_a_scripted_request_to_a_measured_host_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    async with EmbeddedBroker(engine_of="hv01") as broker:
        url, reader = broker.engine_url, broker.url
        at = f"mqtt://{reader.user}:{reader.password}@{reader.host}:{reader.port}"
        async with aiomqtt.Client(
            url.host,
            url.port,
            username=url.user,
            password=url.password,
            identifier=broker.engine_client,
        ) as client:
            await client.publish(topics.status("hv01"), msgspec.msgpack.encode(STATUS), qos=1, retain=True)
        for line in ("queue free 3", "filter clear 1 7 --what-if", "traffic show --json"):
            asked = [*line.split(), "--broker", at, "--host", "hv01"]
            assert await asyncio.to_thread(run, asked) == 1
            said = capsys.readouterr()
            assert said.err == f"error: {WHY}\n"
            assert said.out == ""
