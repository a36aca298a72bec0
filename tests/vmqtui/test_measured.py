"""The dashboard on a measured host: it changes nothing there, and says so."""

import asyncio
import io
import re

import aiomqtt
import msgspec
import pytest
from rich.console import Console

from engine.bus import topics
from engine.bus.broker import EmbeddedBroker
from engine.bus.messages import Status
from engine.measure.host import MeasuredHost
from tests import measured
from tests.slow import slow_but
from tests.vmqtui import measured_hosts
from tests.vmqtui.conftest import Running, same_as_snapshot, screen_text
from tests.vmqtui.dialogs import closed, notes, shown, told
from tests.vmqtui.scripted import (
    SECOND,
    ScriptedHost,
    ScriptedLink,
    live_link,
    make_config,
    make_stats,
    play,
)
from vmqtui.actions import ACTIONS, VIEWS
from vmqtui.app import VmqApp
from vmqtui.cli.output import print_table
from vmqtui.cli.program import run
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import arrange
from vmqtui.columns.export import document
from vmqtui.columns.sources import sources_of
from vmqtui.dialogs.texts import help_text
from vmqtui.state.choices import TableChoice
from vmqtui.state.snapshot import Snapshot
from vmqtui.theme import _FALLBACK_ROLES, Palette

STATUS = Status(
    state="online",
    version="0.1.0",
    started_at=1_767_225_600.0,
    interval_ns=SECOND // 4,
    kind="measured",
    controls=False,
)
WHY = "hv01 is a real host, measured: nothing is changed on it"


def link_to(host: MeasuredHost) -> ScriptedLink:
    """A link to a measured host before its first reading; ``feed`` publishes the readings."""
    name = host.config.host
    return ScriptedLink(
        connection="connected",
        views={name: ScriptedHost(status=STATUS, config=host.config, events=host.events)},
    )


def feed(app: VmqApp, link: ScriptedLink, host: MeasuredHost) -> None:
    """Publish every reading of a measured host, and draw."""
    for reading in host.readings:
        link.publish(host.config.host, stats=reading)
    app.draw_now()


def measured_link() -> ScriptedLink:
    """A link to a measured host hv01, with its first readings."""
    link = live_link()
    link.views["hv01"].status = STATUS
    play(link, 1, 20)
    return link


@pytest.mark.slow
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
        assert (link.asked, link.wondered) == ([], [])


@pytest.mark.slow
async def test_while_watch_connects_no_key_changes_anything(dashboard: Running) -> None:
    changing = [action for action in ACTIONS if action.changes]
    expected = Status(state="offline", kind="measured", controls=False)
    async with dashboard(ScriptedLink(progress="reading lo"), expected=expected) as (app, pilot, link):
        await pilot.press("2")
        await shown(pilot, app, "reading lo")
        bar = screen_text(app).splitlines()[-1]
        assert not [action.id for action in changing if action.bar and f" {action.bar} " in f"{bar} "]
        await pilot.press("m")
        await told(pilot, app, "this machine is a real host, measured: nothing is changed on it")
        assert (link.asked, link.wondered) == ([], [])


@pytest.mark.slow
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
        await shown(pilot, app, "Resize or rename queue 1")


@pytest.mark.slow
async def test_what_is_typed_into_a_filter_is_no_key(dashboard: Running) -> None:
    async with dashboard(measured_link()) as (app, pilot, _):
        await pilot.press("2", "slash", *"mfn")
        await shown(pilot, app, "/mfn")
        assert notes(app) == ""


async def test_the_header_tells_how_long_a_host_is_measured(dashboard: Running) -> None:
    link = measured_link()
    stats = msgspec.structs.replace(make_stats(21), behind_ns=9 * SECOND, real_time_ratio=0.5)
    link.publish("hv01", stats=stats)
    async with dashboard(link) as (app, _, _):
        line = screen_text(app).splitlines()[0]
        assert "measured for 5.2s" in line
        assert "sim " not in line
        assert "behind" not in line


@pytest.mark.slow
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


def snapshot_of(host: MeasuredHost) -> Snapshot:
    return Snapshot(host.config.host, STATUS, host.config, host.readings[-1], host.readings[0])


def test_a_column_is_known_as_its_least_certain_counter() -> None:
    linux = snapshot_of(measured.linux())
    found = sources_of(COLUMNS["queues"], linux.sources("queues", "eth0"))
    assert found["pps"] == found["drops_per_second"] == "exact"
    assert found["interrupts"] == "guessed"
    assert "mbits" not in found  # nothing is said of a column that no row knows
    assert sources_of(COLUMNS["queues"], linux.sources("queues", "eth1")).keys() == {
        "pps",
        "share_bar",
        "share",
        "received_frames",
    }
    assert sources_of(COLUMNS["cpus"], linux.sources("cpus"))["load"] == "exact"
    windows = snapshot_of(measured.windows())
    assert sources_of(COLUMNS["queues"], windows.sources("queues"))["pps"] == "derived"
    assert sources_of(COLUMNS["queues"], {"received_bytes": "derived"}) == {"mbits": "derived"}
    assert sources_of(COLUMNS["queues"], {"cpu": "guessed"}) == {"processor": "guessed"}
    assert sources_of(COLUMNS["buffers"], {"total_buffers": "exact"}).keys() == {
        "total_buffers",
        "memory_bytes",
    }, "what is in use needs pending and outstanding, too"
    assert not Snapshot("hv01", None, make_config(), make_stats(8)).sources("queues")


def test_queues_of_a_processor_are_not_counted_where_a_queue_has_no_known_processor() -> None:
    host = measured.linux()
    reading = host.readings[-1]
    known = Snapshot(host.config.host, STATUS, host.config, reading).cpus[0]
    cpus = {**reading.cpus, "queues": [None] * len(reading.cpus["id"])}
    reading = msgspec.structs.replace(reading, cpus=cpus)
    unknown = Snapshot(host.config.host, STATUS, host.config, reading).cpus[0]
    (column,) = (one for one in COLUMNS["cpus"] if one.key == "queues")
    assert (column.value(known), column.value(unknown)) == (len(known.queues), None)


@pytest.mark.slow
async def test_headings_are_marked_and_stay_over_their_numbers(dashboard: Running) -> None:
    host = measured.windows()
    link = link_to(host)
    async with dashboard(link) as (app, pilot, _):
        feed(app, link, host)
        await pilot.press("2", "slash", *"web", "enter")
        await shown(pilot, app, "≈pkt/s", "1 of 3")
        lines = screen_text(app).splitlines()
        heading = next(line for line in lines if "≈pkt/s" in line)
        web = next(line for line in lines if " web-01 " in line)
        edge = heading.index("≈pkt/s") + len("≈pkt/s")
        assert web[edge - 1] != " " == web[edge]
        assert "≈Mbit" not in heading


def test_help_tells_how_the_columns_of_a_measured_host_are_known() -> None:
    counters = snapshot_of(measured.linux()).sources("queues")
    console = Console(width=400, file=io.StringIO(), color_system=None)
    for known in (counters, {}):
        unknown = frozenset({"mbits"} if known else ())
        console.print(help_text((), "queues", "queues", Palette(_FALLBACK_ROLES), known, unknown))
    assert isinstance(console.file, io.StringIO)
    said, of_model = console.file.getvalue().split("Columns of queues")[1:]
    assert re.search(r"interrupts +interrupts +.* \? guessed: interrupts *\n", said)
    assert "≈ derived: computed from what was read; ? guessed: taken by a name" in said
    assert re.search(r"Mbit/s +mbits +.* not known of this host *\n", said)
    assert "guessed" not in of_model
    assert "not known of this host" not in of_model


def test_printed_tables_mark_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    windows = snapshot_of(measured.windows())
    sources = sources_of(COLUMNS["queues"], windows.sources("queues"))
    columns = [column for column in COLUMNS["queues"] if column.key in ("queue_id", "pps", "mbits")]
    print_table(columns, windows.queues, sources=sources, all_of_them=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["QueueID", "≈Packets/s", "Mbit/s"]
    assert {len(line) for line in lines} == {len(lines[0])}
    made = document("queues", columns, windows.queues, "lab-windows", sources=sources)
    assert made["sources"] == {"pps": "derived"}
    assert "sources" not in document("queues", columns, windows.queues, "lab-windows", sources={})


PICTURES = [
    ("rings", (120, 40), "1"),
    ("rings", (80, 24), "5"),
    ("vm_queues", (120, 40), "6"),
    ("rings", (80, 24), "1"),
    ("rings", (120, 40), "4"),
    ("rings", (200, 60), "2"),
    ("rings", (120, 40), "6"),
    ("vm_queues", (80, 24), "4"),
    ("vm_queues", (200, 60), "5"),
]


@pytest.mark.parametrize("picture", slow_but(PICTURES[:3], PICTURES), ids=str)
async def test_views_of_measured_hosts(dashboard: Running, picture: tuple[str, tuple[int, int], str]) -> None:
    host, size, key = picture
    shown_host: MeasuredHost = getattr(measured_hosts, host)()
    link = link_to(shown_host)
    async with dashboard(link, size=size) as (app, pilot, _):
        feed(app, link, shown_host)
        await pilot.press(key)
        await pilot.pause()
        app.draw_now()
        await pilot.pause()
        view = list(VIEWS)[int(key) - 1]
        same_as_snapshot(f"measured-{host.replace('_', '-')}-{view}-{size[0]}x{size[1]}", screen_text(app))


@pytest.mark.slow
async def test_the_header_says_at_least_where_part_of_a_total_is_unknown(dashboard: Running) -> None:
    host = measured.linux()
    link = link_to(host)
    async with dashboard(link) as (app, pilot, _):
        feed(app, link, host)
        line = screen_text(app).splitlines()[1]
        # eth0 and eth1 know what arrived, eth2 does not, nor does eth1 know its drops
        assert "≥3.82k pkt/s" in line
        assert "▲≥100 drop/s" in line
        await pilot.press("a", "down", "enter")
        await shown(pilot, app, "eth0  1 Gbit/s · igb 6.12.9, firmware 3.25".replace("  ", " "))
        assert " 1.60k pkt/s" in screen_text(app).splitlines()[1]
        await pilot.press("a", "down", "down", "enter")
        await shown(pilot, app, "eth2 link down")
        assert " – pkt/s" in screen_text(app).splitlines()[1]


@pytest.mark.slow
async def test_columns_that_a_measured_host_never_knew_leave_their_room(dashboard: Running) -> None:
    host = measured.windows()
    link = link_to(host)
    async with dashboard(link, size=(200, 60)) as (app, pilot, _):
        feed(app, link, host)
        await pilot.press("2")
        await pilot.pause()
        app.draw_now()
        await pilot.pause()
        heading = next(line for line in screen_text(app).splitlines() if "pkt/s" in line and "VM" in line)
        assert "Drop/s" in heading  # important enough to say that it is unknown
        assert not {"Mbit/s", "Buffers", "Use", "p99", "≈Share"} & set(heading.split())
        await pilot.press("C")
        await shown(pilot, app, "unknown Mbit/s mbits")
        await pilot.press(*["down"] * 9, "space", "enter")
        await closed(pilot, app)
        assert "Mbit/s" in next(
            line for line in screen_text(app).splitlines() if "pkt/s" in line and "VM" in line
        )
        await pilot.press("slash", *"drops>=0", "enter")
        await shown(pilot, app, "0 of 3", "nothing matches drops>=0")
        await pilot.press("escape", "slash", *"!drops>0", "enter")
        await shown(pilot, app, "0 of 3", "nothing matches !drops>0")


async def test_the_page_of_a_queue_says_what_is_guessed_and_what_is_not_known(dashboard: Running) -> None:
    host = measured_hosts.rings()
    link = link_to(host)
    async with dashboard(link) as (app, pilot, _):
        feed(app, link, host)
        await pilot.press("2", "enter")
        said = await shown(pilot, app, "CPU 0:0 guessed", "interrupts? 20,643", "not known: steered, dropped")
        assert " intr/s? " in said
        assert " drop/s " in screen_text(app).splitlines()[1], "in the header"
        assert " drop/s " not in "".join(screen_text(app).splitlines()[2:])


@pytest.mark.parametrize("descending", [True, False])
def test_unknown_rates_come_last_in_either_direction(descending: bool) -> None:
    host = measured_hosts.vm_queues()
    choice = TableChoice(sort=("pps", descending))
    rows = arrange(snapshot_of(host).queues, COLUMNS["queues"], choice).rows
    known = [row.pps for row in rows[:4]]
    assert known == sorted(known, reverse=descending)
    assert [row.pps for row in rows[4:]] == [None] * 5
