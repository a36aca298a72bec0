"""docs/scenario.md says what the code does: every key, its range, its default; its examples load."""

import re
from pathlib import Path

import msgspec
import pytest

from engine.scenario import model
from engine.scenario.keys import Tables, keys_of, rows_of
from engine.scenario.load import loads

PAGE = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text(encoding="utf-8")

HEADINGS: dict[str, type[msgspec.Struct]] = {
    "[host]": model.HostSpec,
    "[[adapter]]": model.AdapterSpec,
    "[[adapter.port]]": model.PortSpec,
    "[[adapter.queue]]": model.QueueSpec,
    "[[adapter.queue.filter]]": model.FilterSpec,
    "[[team]]": model.TeamSpec,
    "[cpu]": model.CpuSpec,
    "[balancer]": model.BalancerSpec,
    "[traffic]": model.TrafficSpec,
    "[[traffic.mix]]": model.MixSpec,
    "[[traffic.mix.flow]]": model.FlowSpec,
}


def table(row: type[msgspec.Struct]) -> list[str]:
    """The rows of a table's section as the page should have them."""
    lines = []
    for field in msgspec.structs.fields(row):
        key = keys_of(row)[field.name]
        if isinstance(key, Tables):
            continue
        if field.required:
            default = "needed"
        elif key.default:
            default = key.default
        else:
            assert field.default is not None
            default = f"`{msgspec.json.encode(field.default).decode()}`"
        lines.append(f"| `{field.name}` | {key.fits} | {default} | {key.help} |")
    return lines


@pytest.mark.parametrize("heading", HEADINGS)
def test_section_lists_every_key_as_the_code_has_it(heading: str) -> None:
    sections = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    (section,) = (text for text in sections if text.startswith(f"`{heading}`"))
    assert [line for line in section.splitlines() if line.startswith("| `")] == table(HEADINGS[heading])


def test_page_has_a_section_for_every_table_of_the_model() -> None:
    assert set(HEADINGS.values()) == set(rows_of(model.Scenario)) - {model.Scenario}


def test_defaults_fit() -> None:
    for row in rows_of(model.Scenario):
        for field in msgspec.structs.fields(row):
            key = keys_of(row)[field.name]
            if not isinstance(key, Tables) and field.default not in (msgspec.NODEFAULT, None, ""):
                assert key.read(field.default) == field.default


EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_load(example: str) -> None:
    assert loads(example, "docs/scenario.md").adapter


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 3
