"""docs/mqtt.md says what the code says."""

from pathlib import Path

import msgspec
import pytest

from engine.advice.finding import Advice, Unchecked
from engine.bus import access_rules as rules
from engine.bus import topics
from engine.bus.messages import Request, Response, Status
from engine.ndis import counters
from engine.telemetry.config import AdapterConfig, Config, FilterConfig, QueueConfig
from engine.telemetry.events import Event
from engine.telemetry.stats import AdapterStats, BusStats, Stats
from engine.telemetry.summary import Summary

REFERENCE = Path(__file__).parents[2] / "docs" / "mqtt.md"


def table(header: str, *, below: str = "") -> dict[str, str]:
    """First and second column of the first table with that first header cell, after ``below``."""
    text = REFERENCE.read_text(encoding="utf-8")
    rows = text[text.index(below) :].partition(f"| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells
    return {first.strip("`"): second for first, second, *_ in cells}


@pytest.mark.parametrize("message", [Status, Config, Stats, Summary, Event, Advice, Request, Response])
def test_every_key_of_a_message_is_in_its_table(message: type[msgspec.Struct]) -> None:
    schema = next(field.default for field in msgspec.structs.fields(message) if field.name == "schema")
    keys = table("key", below=f"### `{schema}`")
    assert set(keys) == set(message.__struct_fields__)


@pytest.mark.parametrize(
    ("struct", "header"),
    [
        (AdapterConfig, "key of an adapter"),
        (QueueConfig, "key of a queue"),
        (FilterConfig, "key of a filter"),
        (AdapterStats, "key of an adapter's stats"),
        (BusStats, "key of `bus`"),
        (Unchecked, "key of a gap"),
    ],
)
def test_every_key_of_a_part_is_in_its_table(struct: type[msgspec.Struct], header: str) -> None:
    assert set(table(header)) == set(struct.__struct_fields__)


@pytest.mark.parametrize(
    ("header", "registered"),
    [
        ("in `cpus`", counters.CPU + counters.CPU_GAUGES),
        ("in `port`", counters.PORT),
        (
            "in `queues` and, without gauges, in `freed`",
            counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY,
        ),
        ("in `filters`", counters.FILTER),
        ("in `default_queue`", counters.DEFAULT_QUEUE_REASONS),
    ],
)
def test_every_counter_is_in_its_table(header: str, registered: tuple[counters.Counter, ...]) -> None:
    assert table(header) == {counter.name: counter.unit for counter in registered}


def test_the_topics_are_those_of_the_code() -> None:
    expected = [
        topics.status("HOST"),
        topics.config("HOST"),
        topics.stats("HOST"),
        topics.summary("HOST"),
        topics.event("HOST"),
        topics.advice("HOST"),
        topics.request("HOST", "CLIENT"),
        topics.response("HOST", "CLIENT"),
    ]
    assert list(table("topic")) == expected


def test_docs_access_shows_the_rules_of_the_code() -> None:
    text = (REFERENCE.parent / "access.md").read_text(encoding="utf-8")
    rows = text.partition("| role | action | topic |")[2].partition("\n\n")[0].splitlines()[2:]
    shown = [tuple(cell.strip(" `") for cell in row.strip("|").split("|")) for row in rows]
    assert shown == [(rule.role, rule.action, rule.topic) for rule in rules.RULES]
