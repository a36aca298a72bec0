"""Errors of a command line that does not fit: the value, what would fit, and the help that has more."""

import re

import pytest

from tests.end_to_end.conftest import Here

GROUPS = (
    "", "queue", "filter", "vm", "adapter", "balancer", "worker", "traffic", "config", "logs", "scenario",
    "export",
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "sentence", "command"),
    [
        ("queue", "a command is missing: allocate, complete, set, free fit", "vmqtui queue"),
        ("queue sett", "No such command 'sett'. Did you mean 'set'?", "vmqtui queue"),
        ("engin", "No such command 'engin'. Did you mean 'engine'?", "vmqtui"),
        ("get queue", "NOUN: 'queue' is not one of its values (did you mean queues?)", "vmqtui get"),
        (
            "engine --log-format xml",
            "--log-format: 'xml' is not one of its values (json, text fit)",
            "vmqtui engine",
        ),
        ("queue set 1 --cpu x", "--cpu: 'x' is not a whole number", "vmqtui queue set"),
        ("queue set 1 --cpu", "Option '--cpu' requires an argument", "vmqtui queue set"),
        ("bench --seconds x", "--seconds: 'x' is not a number", "vmqtui bench"),
        ("bench --seconds 0", "--seconds: 0 is too small: 0.1 or more fits", "vmqtui bench"),
        ("engine --interval nan", "--interval: 'nan' is not a number", "vmqtui engine"),
        ("engine --interval 61", "--interval: 61 is too large: 60 or less fits", "vmqtui engine"),
        ("get queues --brokr x", "--brokr: is not an option (did you mean --broker?)", "vmqtui get"),
        ("filter set 1", "Missing argument 'MAC'", "vmqtui filter set"),
    ],
)
def test_a_mistake_is_named_with_what_fits_and_the_right_help(
    line: str, sentence: str, command: str, here: Here
) -> None:
    done = here(*line.split())
    assert (done.status, done.out) == (2, "")
    assert done.err == f"error: {sentence} ({command} --help shows what fits)\n"


def test_a_table_that_there_is_not_is_an_error_with_the_nearest(here: Here) -> None:
    done = here("export", "csv", "x", "--table", "queue")
    assert (done.status, done.err) == (2, "error: --table: 'queue' is not a table (did you mean queues?)\n")


@pytest.mark.parametrize("group", GROUPS)
def test_help_lists_commands_in_whole_sentences(group: str, here: Here) -> None:
    done = here(*group.split(), "--help")
    commands = done.out.partition("\nCommands:\n")[2]
    assert commands
    assert "..." not in commands
    summaries = re.split(r"\n  (?=\S)", "\n" + commands.rstrip())[1:]
    assert all(summary.endswith(".") for summary in summaries), summaries


@pytest.mark.slow
def test_an_answer_is_printed_in_words(lab: str, here: Here) -> None:
    done = here(
        "filter",
        "set",
        "1",
        "00:15:5d:00:00:09",
        "--adapter",
        "nic0",
        "--what-if",
        "--broker",
        lab,
        "--host",
        "lab",
    )
    assert done.status == 0
    first, *lines = done.out.splitlines()
    assert first.startswith("NDIS_STATUS_SUCCESS: what if: filter ")
    assert re.fullmatch(r"  filter_id: \d+", lines[0])
    assert lines[1:] == [
        "  next_state: running",
        "  steering: frames to 00:15:5d:00:00:09 any VLAN would go to queue 1 instead of the default queue",
        "  steering: mac 00:15:5d:00:00:09, vlan any, from_queue 0, to_queue 1",
    ]
