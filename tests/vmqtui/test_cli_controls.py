"""The scripted controls: which request each command line makes, and for whom."""

import shlex
from typing import Any

import pytest

from engine.advice.finding import Request
from engine.ndis.operations import OPERATIONS, decode
from vmqtui.cli.controls import Asking
from vmqtui.cli.program import run
from vmqtui.columns import advice as words

COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "queue allocate --name web --vm web-01 --cpu 2": (
        "allocate_queue",
        {"name": "web", "vm": "web-01", "cpu": 2, "buffers": 512, "lookahead_bytes": 0},
    ),
    "queue complete 1 2": ("complete_allocation", {"queue_ids": [1, 2]}),
    "queue set 1 --cpu 5 --name shop": ("set_queue_parameters", {"queue_id": 1, "cpu": 5, "name": "shop"}),
    "queue complete web-01 2": ("complete_allocation", {"queue_ids": ["web-01", 2]}),
    "filter clear web-01 7": ("clear_filter", {"queue_id": "web-01", "filter_id": 7}),
    "queue free 3": ("free_queue", {"queue_id": 3}),
    "filter set 1 00:15:5d:00:00:01 --vlan 10": (
        "set_filter",
        {"queue_id": 1, "mac": "00:15:5d:00:00:01", "vlan": 10},
    ),
    "filter set 1 00:15:5d:00:00:01 --vlan untagged": (
        "set_filter",
        {"queue_id": 1, "mac": "00:15:5d:00:00:01", "vlan": "untagged"},
    ),
    "filter clear 1 7": ("clear_filter", {"queue_id": 1, "filter_id": 7}),
    "vm pause web-01": ("pause_vm", {"vm": "web-01"}),
    "vm resume web-01": ("resume_vm", {"vm": "web-01"}),
    "vm remove web-01": ("remove_vm", {"vm": "web-01"}),
    "vm migrate web-01": ("migrate_vm", {"vm": "web-01"}),
    "adapter set --link-gbps 25 --no-vlan-filtering": (
        "set_adapter",
        {"link_gbps": 25.0, "vlan_filtering": False},
    ),
    "adapter set --no-vmq --base-processor 0:2 --max-processors 4 --preferred-numa-node none": (
        "set_adapter",
        {"vmq": False, "base_processor": "0:2", "max_processors": 4, "preferred_numa_node": None},
    ),
    "queue set 1 --cpu 5 --keep-home": (
        "set_queue_parameters",
        {"queue_id": 1, "cpu": 5, "keep_home": True},
    ),
    "balancer set --mode dynamic --scale-out 0.9": ("set_balancer", {"mode": "dynamic", "scale_out": 0.9}),
    "worker restart 3": ("restart_worker", {"cpu": 3}),
}
WORDED = [one for one in COMMANDS.values() if one[0] not in ("set_balancer", "restart_worker")]
OPTIONS = "--broker mqtt://b --host hv01 --adapter nic1 --driver d --what-if --json"


@pytest.mark.parametrize("line", COMMANDS)
def test_command_asks_for_its_operation(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Asking, str, dict[str, Any]]] = []
    monkeypatch.delenv("VMQTUI_BROKER", raising=False)
    monkeypatch.setattr(Asking, "ask", lambda self, op, params: asked.append((self, op, params)))
    assert run(line.split()) == 0
    assert run([*line.split(), *OPTIONS.split()]) == 0
    (plain, op, params), (full, *again) = asked
    assert (op, params) == COMMANDS[line]
    assert tuple(again) == (op, params)
    assert plain == Asking(None, None, None, None, what_if=False, json_=False)
    assert full == Asking("mqtt://b", "hv01", "nic1", "d", what_if=True, json_=True)
    if "web-01" not in line.split()[2]:
        decode(op, params)  # the engine takes it


@pytest.mark.parametrize(("op", "params"), WORDED)
def test_a_request_of_a_fix_is_worded_as_the_command_that_makes_it(
    op: str, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Asking, str, dict[str, Any]]] = []
    monkeypatch.delenv("VMQTUI_BROKER", raising=False)
    monkeypatch.setattr(Asking, "ask", lambda self, op, params: asked.append((self, op, params)))
    program, *line = shlex.split(words.command(Request(op=op, params={"adapter": "nic1", **params})))
    assert (program, run(line)) == ("vmqtui", 0)
    ((asking, *again),) = asked
    assert (asking.adapter, *again) == ("nic1", op, params)


def test_every_operation_that_changes_something_has_a_command() -> None:
    changing = {
        name
        for name in OPERATIONS
        if not name.startswith(("query_", "enum_")) and name not in ("ping", "set_traffic")
    }
    assert {op for op, _ in COMMANDS.values()} == changing
