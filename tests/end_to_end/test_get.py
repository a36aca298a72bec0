"""``vmqtui get`` against a running engine, and without one."""

import asyncio
import csv
import io
import json
import re
from itertools import cycle

import pytest

from engine.bus.broker import EmbeddedBroker
from engine.bus.engine_bus import EngineBus
from engine.measure.host import MeasuredHost
from engine.service.publishing import SummaryBuilder
from tests import measured
from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Running, run
from tests.measured import SECOND_NS
from vmqtui.testing import wait_until

NOUNS = ("hosts", "adapters", "queues", "filters", "buffers", "cpus", "ports")


@pytest.mark.parametrize("noun", NOUNS)
def test_each_noun_prints_a_table_and_a_document(noun: str, lab: str, reader: Reader, here: Here) -> None:
    table = here("get", noun, "--broker", lab)
    assert (table.status, table.err) == (0, "")
    assert len(table.out.splitlines()) >= 2
    printed = here("get", noun, "--broker", lab, "--json")
    assert (printed.status, printed.err) == (0, "")
    document = json.loads(printed.out)[noun]
    as_csv = here("get", noun, "--broker", lab, "--csv")
    assert (as_csv.status, as_csv.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(as_csv.out)))
    assert [list(row) for row in rows] == [list(row) for row in document]


def test_csv_is_one_form_of_one_reading(here: Here) -> None:
    for other, why in (("--json", "another form"), ("--watch", "rows have no time")):
        done = here("get", "queues", "--csv", other)
        assert (done.status, done.out) == (2, "")
        assert why in done.err


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


@pytest.mark.slow
@pytest.mark.parametrize("host", [measured.linux(600), measured.windows(600)], ids=["linux", "windows"])
async def test_what_a_measured_host_does_not_know_is_null_in_documents_and_a_dash_in_tables(
    host: MeasuredHost,
) -> None:
    commands = ("queues",), *((noun, "--json") for noun in ("queues", "adapters", "cpus", "hosts"))
    summaries = SummaryBuilder("measured")
    async with EmbeddedBroker() as broker:
        url = broker.url.with_password()
        bus = EngineBus(broker.url, host.config.host, interval_ns=SECOND_NS)
        await bus.start(host.config, probe_seconds=0)
        asked = [
            asyncio.create_task(asyncio.to_thread(run, "get", *command, "--broker", url))
            for command in commands
        ]
        readings = cycle(host.readings)
        while not all(one.done() for one in asked):
            reading = next(readings)
            bus.publish_stats(reading)
            bus.publish_summary(summaries.read(reading))
            await asyncio.wait(asked, timeout=0.1)
        await bus.stop()
    done = [one.result() for one in asked]
    assert [one.status for one in done] == [0] * len(done), [one.err for one in done]
    assert not [one.out for one in done if "None" in one.out]
    queues, adapters, cpus, hosts = (json.loads(one.out) for one in done[1:])
    assert "–" in done[0].out
    assert {row["pending"] for row in queues["queues"] if "pending" in row} <= {None}
    assert None in {row["received_frames"] for row in queues["queues"]}
    assert None in {row["drops_per_second"] for row in queues["queues"]}
    assert {row["buffers"] for row in adapters["adapters"]} == {None}
    assert all(row["load"] is not None for row in cpus["cpus"])
    assert {row["backlog"] for row in cpus["cpus"]} == {None}
    (row,) = hosts["hosts"]
    assert (row["kind"], row["drops_per_second"]) == ("measured", None)
    assert queues["sources"]["pps"] == ("exact" if host.config.windows is None else "derived")


@pytest.mark.slow
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
