"""``vmqtui get`` against a running engine, and without one."""

import json
import re

import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running
from vmqtui.testing import wait_until

NOUNS = ("hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports")


@pytest.mark.parametrize("noun", NOUNS)
def test_each_noun_prints_a_table_and_a_document(noun: str, lab: str, reader: Reader, here: Here) -> None:
    table = here("get", noun, "--broker", lab)
    assert (table.status, table.err) == (0, "")
    assert len(table.out.splitlines()) >= 2
    printed = here("get", noun, "--broker", lab, "--json")
    assert (printed.status, printed.err) == (0, "")
    json.loads(printed.out)


def test_queues_have_the_columns_that_people_know(lab: str, reader: Reader, here: Here) -> None:
    head, *lines = here(
        "get", "queues", "--broker", lab, "--host", "lab", "--adapter", "nic0"
    ).out.splitlines()
    known = ["Name", "QueueID", "MacAddress", "VlanID", "Processor", "VmFriendlyName"]
    assert head.split()[:6] == known
    assert len(lines) == len(reader.states("nic0"))
    assert re.search(r"\s1\s+00:15:5d:00:00:01\s+10\s+0:1\s+web\b", lines[1])
    assert not any("nic1" in line for line in lines)


@pytest.fixture(scope="module")
def nobody(lab: str) -> Running:
    """A command that waits for a host which does not come; it has the time of the other tests."""
    return Running("get", "queues", "--broker", lab, "--json", "--host", "nobody")


def test_unknown_names_are_errors(lab: str, nobody: Running, here: Here) -> None:
    done = here("get", "queues", "--broker", lab, "--json", "--adapter", "nic9")
    assert done.status in (1, 2)
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "nic9" in done.err
    done = here("get", "elephants", "--broker", lab)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_watch_prints_a_document_a_line(lab: str) -> None:
    watching = Running("get", "ports", "--broker", lab, "--watch", "--json")
    wait_until(lambda: len(watching.out) >= 3, 15, what="three readings")
    watching.end(2)
    for line in watching.out[:3]:
        json.loads(line)
    assert watching.process.returncode == 130
    assert not any("Traceback" in line for line in watching.err)


def test_the_engine_is_found_without_a_broker_named(lab: str, here: Here) -> None:
    assert "lab" in here("get", "hosts").out


@pytest.mark.slow
def test_a_host_that_is_not_there_is_an_error(nobody: Running) -> None:
    done = nobody.wait(20)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "nobody" in done.err
