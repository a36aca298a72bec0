"""docs/ndis.md says what the code's tables say."""

from pathlib import Path

from engine.ndis.operations import COMMON, OPERATIONS
from engine.ndis.outcome import NdisStatus
from engine.ndis.queue import OPERATIONAL, TRANSITIONS, Event, State
from tests.ndis.table_model import NEXT, WRITTEN

REFERENCE = Path(__file__).parents[2] / "docs" / "ndis.md"


def table(title: str) -> list[list[str]]:
    """The rows of the table under a heading, without code marks and its header."""
    section = REFERENCE.read_text(encoding="utf-8").split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_state_table_is_the_one_the_code_uses() -> None:
    states = list(State)
    expected = [
        [str(event), *(str(TRANSITIONS[event].get(state, "")) for state in states)] for event in Event
    ]

    assert table("States and events") == expected


def test_the_state_table_is_the_one_ndis_has() -> None:
    documented = {
        event: {WRITTEN[state]: WRITTEN[following] for state, following in row.items()}
        for events, row in NEXT.items()
        for event in (events.split(", ") if events.startswith("query_queue") else [events])
    }
    used = {
        str(event): {str(state): str(following) for state, following in row.items()}
        for event, row in TRANSITIONS.items()
    }

    assert used == documented


def test_every_state_is_listed_with_its_operational_state() -> None:
    assert [row[:3] for row in table("States")] == [
        [str(state), str(OPERATIONAL[state]), str(OPERATIONAL[state].value)] for state in State
    ]


def test_every_status_is_listed_with_its_code() -> None:
    assert [row[:2] for row in table("Statuses")] == [
        [str(status), f"0x{status.code:08X}"] for status in NdisStatus
    ]


def test_statuses_have_the_codes_of_ndis() -> None:
    assert {status.name: status.code for status in NdisStatus} == {
        "SUCCESS": 0x0,
        "PENDING": 0x103,
        "INVALID_PARAMETER": 0xC000000D,
        "INVALID_LENGTH": 0xC0010014,
        "NOT_SUPPORTED": 0xC00000BB,
        "RESOURCES": 0xC000009A,
        "FILE_NOT_FOUND": 0xC001001B,
        "NOT_ACCEPTED": 0x00010003,
        "REQUEST_ABORTED": 0xC001000C,
        "FAILURE": 0xC0000001,
        "RECEIVE_QUEUE_STATE": 0x4002000D,
    }


def test_every_operation_is_listed_with_its_parameters() -> None:
    def parameters(operation: str) -> str:
        return ", ".join(
            name if parameter.required else f"[{name}]"
            for name, parameter in OPERATIONS[operation].parameters.items()
        )

    assert [row[:2] for row in table("Operations")] == [[name, parameters(name)] for name in OPERATIONS]
    assert list(COMMON) == ["adapter", "driver", "what_if"]
