"""The model for other people's tests and a real engine give the same answers to the same requests."""

import random
from typing import Any

from engine.ndis.conformance import ConformanceModel
from tests.ndis.lab import MAC, OTHER_MAC
from vmqtui.pytest_plugin import StartEngine

SCENARIO = """
[host]
name = "answers"
cpus = 2
[[adapter]]
max_queues = 3
max_filters = 4
default_queue_buffers = 8
buffers = 24
[[adapter.queue]]
vm = "web"
buffers = 4
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:09"
vlan = 10
"""


def a_request(choose: random.Random) -> tuple[str, dict[str, Any]]:
    """A request that may or may not fit the state of the host."""
    queue, filter_id = {"queue_id": choose.randint(0, 4)}, {"filter_id": choose.randint(1, 3)}
    vm = {"vm": choose.choice(["web", "db", "nobody"])}
    some_filter = {"mac": choose.choice([MAC, OTHER_MAC]), "vlan": choose.choice([10, 20, "untagged", 9999])}
    requests: list[tuple[str, dict[str, Any]]] = [
        (
            "allocate_queue",
            {"name": "n", "cpu": choose.randint(0, 2), "buffers": choose.randint(0, 8)} | vm,
        ),
        ("complete_allocation", {"queue_ids": choose.sample(range(5), 2)}),
        ("set_queue_parameters", queue | {"buffers": choose.randint(1, 12)}),
        ("set_filter", queue | some_filter),
        ("clear_filter", queue | filter_id),
        ("free_queue", queue),
        ("query_queue", queue),
        ("query_filter", filter_id),
        ("enum_queues", {}),
        ("query_capabilities", {}),
        (choose.choice(["pause_vm", "resume_vm", "remove_vm", "migrate_vm"]), vm),
        ("set_adapter", {"max_queues": choose.randint(1, 4)}),
    ]
    name, params = choose.choice(requests)
    return name, params | ({"what_if": True} if choose.random() < 0.2 else {})


async def test_an_engine_and_the_model_answer_500_requests_alike(vmq_engine: StartEngine) -> None:
    engine = await vmq_engine(SCENARIO, clock="manual")
    model = ConformanceModel(SCENARIO)
    choose = random.Random(15)
    codes = set()
    for _ in range(500):
        op, params = a_request(choose)
        response, answer = await engine.request(op, **params), model.request(op, **params)
        assert (response.status, response.ndis_status, response.message, response.result) == (
            answer.status,
            answer.ndis_status,
            answer.message,
            answer.result,
        ), (op, params)
        assert response.revision == model.revision
        codes.add(answer.code.name)
    assert codes == {"SUCCESS", "INVALID_PARAMETER", "RESOURCES", "FILE_NOT_FOUND"}
