"""Tables as ``vmqtui get`` prints them: what fits a terminal, and the columns that are named."""

import pytest

from tests.vmqtui.scripted import EVENTS, make_config, make_stats
from vmqtui.cli import output
from vmqtui.cli.failures import CommandError
from vmqtui.cli.output import chosen_columns, folded, print_table, print_texts
from vmqtui.columns import COLUMNS
from vmqtui.draw import cells_of
from vmqtui.state.snapshot import Snapshot

FULL = Snapshot("hv01", config=make_config(), stats=make_stats(9), before=make_stats(5), events=EVENTS)
NOUNS = ("hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Standard output is a terminal of so many columns."""
    width: int = request.param
    monkeypatch.setattr(output, "terminal_columns", lambda: width)
    return width


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("terminal", [40, 80, 120, 200], indirect=True)
def test_no_line_is_wider_than_the_terminal(
    noun: str, terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = print_table(COLUMNS[noun], FULL.rows(noun))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FULL.rows(noun)) + 1
    assert max(map(cells_of, lines)) <= terminal
    known = {column.key for column in COLUMNS[noun] if column.exported}
    assert set(left_out) < known


@pytest.mark.parametrize("terminal", [80], indirect=True)
def test_a_narrow_terminal_gets_whole_headings_of_what_is_known_and_a_note_of_the_rest(
    terminal: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    ended = Snapshot("hv01", config=make_config(), stats=make_stats(9))
    assert all(row.pps is None for row in ended.queues)  # no reading before it, so no rates
    counted = frozenset({"steered_frames", "dropped_no_buffer"})
    left_out = print_table(COLUMNS["queues"], ended.queues, always=counted)
    told = capsys.readouterr()
    headings = {column.heading for column in COLUMNS["queues"]}
    shown = told.out.splitlines()[0].split()
    assert set(shown) <= headings
    assert {"QueueID", "VmFriendlyName", *counted} <= set(shown)
    assert "Packets/s" not in shown
    assert {"pps", "dpcs"} <= set(left_out)
    assert f"({len(left_out)} columns left out for room; --json or a wider terminal shows all: " in told.err
    assert max(map(cells_of, told.err.splitlines())) <= terminal
    assert all(key in told.err for key in left_out)


@pytest.mark.parametrize("terminal", [60], indirect=True)
def test_tables_of_texts_and_sentences_fit_a_terminal_too(
    terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = ("group", *(f"number {n}" for n in range(9)))
    print_texts(heads, [("first", *["1,234,567"] * 9)])
    print("\n".join(folded("  default queue: " + "broadcast 0, " * 9)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cells_of, lines)) <= terminal
    assert lines[0].split("  ")[0] == "group"
    assert lines[-1].startswith("    broadcast 0,")


def test_what_is_no_terminal_gets_sentences_in_one_line() -> None:
    assert folded("word " * 100) == ["word " * 100]


@pytest.mark.parametrize("noun", NOUNS)
def test_what_is_no_terminal_gets_every_column(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table(COLUMNS[noun], FULL.rows(noun)) == []
    head = capsys.readouterr().out.splitlines()[0].split("  ")
    known = [column for column in COLUMNS[noun] if column.exported]
    shown = [column for column in known if any(column.value(row) is not None for row in FULL.rows(noun))]
    assert [text.strip() for text in head if text] == [column.heading for column in shown]


def test_queues_have_the_columns_that_people_know_where_no_queue_has_a_vm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(COLUMNS["queues"], [row for row in FULL.queues if row.vm is None])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["Name", "QueueID", "MacAddress", "VlanID", "Processor", "VmFriendlyName"]
    assert line.split()[:6] == ["nic0", "0", "–", "–", "0:0", "(default)"]


@pytest.mark.parametrize("terminal", [80], indirect=True)
def test_columns_that_are_named_are_printed_in_their_order_and_never_left_out(
    terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ",".join(column.key for column in COLUMNS["queues"] if column.exported)
    assert print_table(chosen_columns(COLUMNS["queues"], every), FULL.queues, all_of_them=True) == []
    assert max(map(len, capsys.readouterr().out.splitlines())) > terminal
    print_table(chosen_columns(COLUMNS["queues"], "pps, VmFriendlyName,queueid"), FULL.queues)
    assert capsys.readouterr().out.splitlines()[0].split() == ["Packets/s", "VmFriendlyName", "QueueID"]


def test_a_name_that_two_columns_could_have_is_that_of_the_exact_spelling() -> None:
    assert [column.key for column in chosen_columns(COLUMNS["queues"], "name,Name")] == ["name", "adapter"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("vm,queue_di", "--columns: 'queue_di' is not a column (did you mean queue_id?)"),
        ("zzzz", "--columns: 'zzzz' is not a column (adapter, queue_id, "),
        (",", "--columns: names none of adapter, queue_id, "),
        ("trend", "--columns: 'trend' is not a column"),
    ],
)
def test_a_name_that_is_no_column_ends_with_2_and_says_what_fits(names: str, sentence: str) -> None:
    with pytest.raises(CommandError) as ended:
        chosen_columns(COLUMNS["queues"], names)
    assert ended.value.status == 2
    assert sentence in str(ended.value)
