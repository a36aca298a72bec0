"""Names from the network are shown, not obeyed: on the screen, in tables, in JSON, in exports."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.advice.window import AdviceWindow
from engine.bus.messages import Response, Status
from engine.telemetry.config import Config
from engine.telemetry.events import Event
from engine.telemetry.stats import AdapterStats, Stats
from tests.slow import slow_but
from tests.vmqtui.conftest import Running
from tests.vmqtui.scripted import START_NS, ScriptedHost, ScriptedLink, make_config, make_stats
from vmqtui.cli import output
from vmqtui.columns import COLUMNS
from vmqtui.preferences.model import Preferences
from vmqtui.printable import as_json
from vmqtui.state.history import advised
from vmqtui.state.snapshot import Snapshot

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\t\x08\u202e[@click=app.quit]x[/][red]\x7f"
"""ESC, OSC, CSI of one character, line ends, a direction override, and Textual's markup."""

FORBIDDEN = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} | {"\u202e"}


def hostile_config() -> Config:
    config = make_config(adapters=("nic0", HOSTILE))
    adapters = []
    for adapter in config.adapters:
        queues = [
            msgspec.structs.replace(
                queue, name=HOSTILE, vm=HOSTILE, driver=HOSTILE, operational_state=HOSTILE, state=HOSTILE
            )
            if queue.queue_id % 2
            else msgspec.structs.replace(queue, name=HOSTILE, vm=queue.vm and HOSTILE)
            for queue in adapter.queues
        ]
        filters = [msgspec.structs.replace(one, mac=HOSTILE, driver=HOSTILE) for one in adapter.filters]
        ports = [msgspec.structs.replace(one, vm=HOSTILE) for one in adapter.ports]
        adapters.append(
            msgspec.structs.replace(
                adapter, ndis_version=HOSTILE, queues=queues, filters=filters, ports=ports
            )
        )
    cpus = [msgspec.structs.replace(cpu, name=HOSTILE) for cpu in config.cpus]
    return msgspec.structs.replace(config, adapters=adapters, cpus=cpus, traffic=HOSTILE)


def hostile_stats(seq: int) -> Stats:
    stats = make_stats(seq, adapters=("nic0", HOSTILE))

    def spoil(adapter: AdapterStats) -> AdapterStats:
        top = adapter.default_queue_top
        assert top is not None
        spoiled = msgspec.structs.replace(
            top, mac=[HOSTILE] * len(top.mac), reason=[HOSTILE] * len(top.reason)
        )
        return msgspec.structs.replace(adapter, default_queue_top=spoiled)

    return msgspec.structs.replace(
        stats, adapters={name: spoil(adapter) for name, adapter in stats.adapters.items()}
    )


EVENTS = tuple(
    Event(
        seq=n,
        sim_time_ns=n,
        time_ns=START_NS,
        event=HOSTILE,
        adapter=HOSTILE if n % 2 else "nic0",
        queue_id=n,
        state=HOSTILE,
        cause=HOSTILE,
    )
    for n in range(1, 6)
)
STATUS = Status(state="online", version=HOSTILE)


def hostile_link() -> ScriptedLink:
    link = ScriptedLink(connection="connected", progress=HOSTILE)
    link.views["hv01"] = ScriptedHost(status=STATUS, config=hostile_config(), events=EVENTS)
    return link


def snapshot() -> Snapshot:
    config, before, now, window = hostile_config(), hostile_stats(1), hostile_stats(9), AdviceWindow()
    window.add(config, before)
    window.add(config, now)
    found = advised(window)
    return Snapshot("hv01", STATUS, config, now, before, EVENTS, advise=lambda: found)


def test_every_column_of_every_table_shows_them() -> None:
    moment = snapshot()
    for table, columns in COLUMNS.items():
        rows: Any = [moment.host_row] if table == "hosts" else moment.rows(table, None)
        assert rows or table in ("top", "near_misses")  # those are made for one adapter
        for row in rows:
            for column in columns:
                assert not FORBIDDEN & set(column.text(row)), (table, column.key)


@pytest.mark.parametrize("noun", ["adapters", "queues", "filters", "buffers", "cpus", "ports"])
def test_get_prints_a_line_a_row_and_nothing_that_moves_a_cursor(
    noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = snapshot().rows(noun, None)
    output.print_table(COLUMNS[noun], rows)
    printed = capsys.readouterr().out
    assert printed.count("\n") == len(rows) + 1
    assert not FORBIDDEN - {"\n"} & set(printed)


def test_answers_to_scripted_requests_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = {HOSTILE: [{HOSTILE: HOSTILE}], "text": HOSTILE}
    output.print_result(Response(id="1", status="ok", ndis_status=HOSTILE, message=HOSTILE, result=found))
    assert not FORBIDDEN - {"\n"} & set(capsys.readouterr().out)


def test_json_on_a_terminal_moves_no_cursor_and_reads_back_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_json({HOSTILE: HOSTILE, "kept": "Zürich 東京 😀"})
    printed = capsys.readouterr().out
    assert not FORBIDDEN & set(printed.removesuffix("\n"))
    assert "Zürich 東京 😀" in printed
    assert json.loads(printed) == {HOSTILE: HOSTILE, "kept": "Zürich 東京 😀"}
    assert json.loads(as_json([HOSTILE], indent=1)) == [HOSTILE]


def obeyed(app: Any) -> list[str]:
    """Texts that go to the terminal with something in them that it would obey."""
    strips = app.screen._compositor.render_strips()
    return [segment.text for strip in strips for segment in strip if FORBIDDEN & set(segment.text)]


@pytest.mark.parametrize("size", slow_but([(80, 24)], [(80, 24), (200, 60)]))
@pytest.mark.slow
async def test_no_view_of_the_dashboard_obeys_them(dashboard: Running, size: tuple[int, int]) -> None:
    async with dashboard(hostile_link(), size=size) as (app, pilot, link):
        for seq in range(1, 6):
            link.publish("hv01", stats=hostile_stats(seq))
        for key in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "question_mark", "escape", "2", "enter"):
            await pilot.press(key)
            app.draw_now()
            await pilot.pause()
            assert not obeyed(app), key
        assert app.is_running


@pytest.mark.parametrize("key", slow_but(["m"], ["m", "f", "+", "n", "p", "g", "H"]))
async def test_no_dialog_obeys_them(dashboard: Running, key: str) -> None:
    async with dashboard(hostile_link()) as (app, pilot, link):
        link.foresee = lambda op, params: Response(
            id="1", status="error", ndis_status=HOSTILE, message=HOSTILE, result={}
        )
        for seq in range(1, 3):
            link.publish("hv01", stats=hostile_stats(seq))
        await pilot.press("2", "down", key)
        await pilot.pause()
        assert not obeyed(app)
        assert app.is_running


@pytest.mark.parametrize("key", slow_but(["w"], ["w", "W", "P"]))
async def test_a_file_is_written_whatever_time_a_reading_says_it_is(
    dashboard: Running, tmp_path: Path, key: str
) -> None:
    async with dashboard(hostile_link(), preferences=Preferences(exports=str(tmp_path))) as (
        app,
        pilot,
        link,
    ):
        link.publish("hv01", stats=msgspec.structs.replace(hostile_stats(1), time_ns=2**63 - 1))
        app.draw_now()
        await pilot.press("2", key)
    [path] = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    if key == "W":
        text = path.read_text(encoding="utf-8")
        assert not FORBIDDEN - {"\n"} & set(text)
        assert json.loads(text)["queues"][1]["name"] == HOSTILE
