"""A scenario is checked wherever it comes from."""

from pathlib import Path
from typing import Any

import pytest

from vmqtui import Engine, ScenarioError

SENTENCE = 'adapter[0].queue[0].filter[0].vlan: 9999 is not a VLAN id (1..4094, "untagged", or left out)'
TEXT = """
[[adapter]]
[[adapter.queue]]
vm = "web-01"
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
vlan = 9999
"""


def as_path(tmp_path: Path) -> Any:
    path = tmp_path / "lab.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def as_dict(tmp_path: Path) -> Any:
    queue = {"vm": "web-01", "filter": [{"mac": "00:15:5d:00:00:01", "vlan": 9999}]}
    return {"adapter": [{"queue": [queue]}]}


def as_types(tmp_path: Path) -> Any:
    from vmqtui import AdapterSpec, FilterSpec, QueueSpec, Scenario

    one = FilterSpec(mac="00:15:5d:00:00:01", vlan=9999)
    return Scenario(adapter=[AdapterSpec(queue=[QueueSpec(vm="web-01", filter=[one])])])


@pytest.mark.parametrize("make", [lambda _: TEXT, as_path, as_dict, as_types])
async def test_vlan_9999_is_refused_with_the_sentence_of_the_toml_file(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as refused:
        async with Engine(make(tmp_path)):
            pass
    assert str(refused.value).endswith(SENTENCE)
