"""Filters as they are typed: words, keys and comparisons over the columns' export names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.slow import examples
from tests.vmqtui.conftest import Running, screen_text
from tests.vmqtui.scripted import make_config, make_stats, with_queue
from vmqtui.columns import COLUMNS
from vmqtui.columns.arrange import SYNTAX, arrange, parse
from vmqtui.state.choices import TableChoice
from vmqtui.state.snapshot import Snapshot
from vmqtui.widgets.table import LiveTable

QUEUES = COLUMNS["queues"]
SNAPSHOT = Snapshot("hv01", None, make_config(), make_stats(8), make_stats(4))


def found(text: str, table: str = "queues") -> list[str]:
    """What the rows are called that a filter leaves."""
    query = parse(text, COLUMNS[table])
    assert query.problem == ""
    return [getattr(row, "label", "") for row in SNAPSHOT.rows(table) if query.matches(row)]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("web", ["web-01", "web-02"]),
        ("WEB 02", ["web-02"]),
        ("web drops>0", []),
        ("drops>0", ["file-01"]),
        ("drops_per_second>1k", ["file-01"]),
        ("vm:sql", ["sql-01", "sql-02"]),
        ('vm:"sql-01"', ["sql-01"]),
        ("queue_id:12", ["idle-01"]),
        ("queueid<=1", ["default", "web-01"]),
        ("00:15:5d:00:00:05", ["fw-01"]),
        ("mac:00:15:5d:00:00:05", ["fw-01"]),
        ("proc:0:2", ["web-01", "web-02", "sql-01"]),
        ("0:2", ["web-01", "web-02", "sql-01"]),
        ("pps>=150k", ["web-01"]),
        ("pkt/s>0.15M", ["web-01"]),
        ("pkt>0.15M", ["web-01"]),
        ("use>75%", ["web-01", "file-01"]),
        ("buffer_use>75", ["web-01", "file-01"]),
        ("vlan:20 fw", ["fw-01"]),
        ("vlan=10 vlan=20", ["fw-01"]),
        ("state=running !vm:0", ["default"]),
        ("vm!=web-01 0:2", ["web-02", "sql-01"]),
        ("generation=3", ["web-02"]),
        (r"~^WEB-\d+$", ["web-01", "web-02"]),
        (r"vm:~^(sql|fw)-01$", ["sql-01", "fw-01"]),
        ("mac:~:0[1-3]$", ["web-01", "web-02", "sql-01"]),
        ("queue_id:~^1[12]$", ["vdi-01", "idle-01"]),
        (r"vlan:~^[12]0$ !~-01$", ["web-02", "sql-02"]),
        ('vm:~"^web|^sql-02$" drops=0', ["web-01", "web-02", "sql-02"]),
        ("~sql !vm:~2", ["sql-01"]),
        ("", [row.label for row in SNAPSHOT.queues]),
    ],
)
def test_filter_leaves_what_it_says(text: str, left: list[str]) -> None:
    assert found(text) == left


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drops>", "drops> wants a value, like drops>0"),
        ("vm:", "vm: wants a value, like vm:web"),
        ("drops>many", "drops>many: many is not a number (like 80, 1.5k or 80%)"),
        ("colour:red", "no column colour"),
        ("buffer_us>1", ""),
        ("bufer_use>1", "no column bufer_use; is it buffer_use?"),
        ("re>1", "re could be received_frames, returned_frames"),
        ("!", "! wants something to leave out, like !web"),
        ("~", r"~ wants a regular expression, like ~^web-\d+$"),
        ("vm:~", r"vm:~ wants a regular expression, like vm:~^web-\d+$"),
        ("~^(web", "~^(web: ( has no ) at character 2"),
        (r"~[(]\)x)", r"~[(]\)x): ) has no ( at character 7"),
        ("vm:~w[eb", "vm:~w[eb: [ has no ] at character 2"),
        ("~web\\", "~web\\: \\ wants a character after it at character 4"),
        ("~*web", "~*web: nothing to repeat before * at character 1"),
        (
            "~web(?=1)",
            "~web(?=1): RE2 has no (?= at character 4",
        ),
        ("~a{5000}", "~a{5000}: these repetitions don't fit: {5000} at character 2"),
        ("pps:~1", "pps is a number: compare it, like pps>0"),
    ],
)
def test_what_can_not_be_used_is_said_in_words(text: str, words: str) -> None:
    assert parse(text, QUEUES).problem == words


def test_terms_beside_a_wrong_one_still_work() -> None:
    arranged = arrange(SNAPSHOT.queues, QUEUES, TableChoice(filter="web colour:red"))
    assert [row.label for row in arranged.rows] == ["web-01", "web-02"]
    assert arranged.total == 13
    assert arranged.problem == "no column colour"


def test_a_bad_pattern_filters_nothing_away() -> None:
    arranged = arrange(SNAPSHOT.queues, QUEUES, TableChoice(filter="~^(web"))
    assert (len(arranged.rows), arranged.total) == (13, 13)
    assert arranged.problem == "~^(web: ( has no ) at character 2"


@pytest.mark.slow
async def test_tilde_begins_a_pattern_and_what_is_wrong_is_said_while_typing(dashboard: Running) -> None:
    async with dashboard(size=(80, 24)) as (app, pilot, _):
        await pilot.press("2", "tilde", *"^(web")
        await pilot.pause()
        assert "~^(web: ( has no ) at character 2" in screen_text(app)
        assert len(app.screen.query_one("#queues-table", LiveTable).rows) == 13
        await pilot.press(*"|sql)", "enter", "tilde", *"-02$", "enter")
        assert app.model.choices.of("queues-table").filter == "~^(web|sql) ~-02$"
        names = [getattr(row, "label", "") for row in app.screen.query_one("#queues-table", LiveTable).rows]
        assert names == ["web-02", "sql-02"]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(x+x+)+y", "(a|a)*b", "(.*a){30}b", "(((a{30}){30})|b)*c", "(?:a?){99}a{99}$"]
)
def test_no_pattern_takes_long_on_any_text(pattern: str) -> None:
    """Where a search tries every way to match, each takes longer than anybody waits."""
    query = parse(f"vm:~{pattern}", QUEUES)
    row = next(one for one in moment_with_name("a" * 1000 + "!").queues if one.queue_id == 1)
    assert not query.matches(row) or query.problem


def moment_with_name(name: str) -> Snapshot:
    """A moment at which queue 1 belongs to a VM of a name."""
    return Snapshot("hv01", None, with_queue(make_config(), 1, vm=name), make_stats(8), make_stats(4))


def test_unknown_passes_no_comparison() -> None:
    alone = Snapshot("hv01", None, make_config(), make_stats(8))
    for text in ("pps>=0", "pps<1", "pps=0", "pps!=0"):
        query = parse(text, QUEUES)
        assert not any(query.matches(row) for row in alone.queues), text


def test_every_example_of_the_syntax_can_be_used() -> None:
    for terms, _ in SYNTAX:
        known = terms.replace("load>=80%", "use>=80%")  # queues have no load
        assert parse(known, QUEUES).problem == "", terms


def test_every_exported_column_can_be_named_by_its_export_name() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            if column.exported:
                assert parse(f"{column.key}:1", columns).problem == "", (table, column.key)


@given(st.one_of(st.text(max_size=60), st.text('()[]{}|*+?\\\\^$.a1,:~"', max_size=30).map("~".__add__)))
@settings(max_examples=examples(200), deadline=None)
def test_nothing_typed_is_ever_fatal(text: str) -> None:
    for table in ("queues", "cpus", "filters"):
        query = parse(text, COLUMNS[table])
        for row in SNAPSHOT.rows(table)[:3]:
            query.matches(row)


def test_rows_are_filtered_then_sorted_with_the_unknown_last() -> None:
    arranged = arrange(SNAPSHOT.queues, QUEUES, TableChoice(sort=("pps", True), filter="0:2"))
    assert [row.label for row in arranged.rows] == ["web-01", "web-02", "sql-01"]
    assert arrange(SNAPSHOT.queues, QUEUES, TableChoice(sort=("nonsense", True))).rows[0].queue_id == 0
