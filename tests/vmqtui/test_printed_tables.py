"""Tables as ``vmqtui get`` prints them: what fits a terminal, and the columns that are named."""

import pytest

from tests.vmqtui.scripted import EVENTS, make_config, make_stats
from vmqtui.cli import output
from vmqtui.cli.failures import CommandError
from vmqtui.cli.output import chosen_columns, print_table
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
