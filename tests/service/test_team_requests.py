"""Requests while a team's frames come in: where a VM's frames go when its queue is freed or is elsewhere."""

from engine.scenario.load import loads
from engine.service.trial import Intervention, Trial
from engine.telemetry.stats import Stats, known

MAC = "00:15:5d:00:00:01"
SCENARIO = """
[host]
name = "lab"
cpus = 2
[[adapter]]
name = "a"
[[adapter.queue]]
vm = "web"
cpu = 1
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
[[adapter]]
name = "b"
buffers = 2048
[[team]]
name = "t"
members = ["a", "b"]
[traffic]
[[traffic.mix]]
adapter = "t"
rate_pps = 20000
flow = [
  { mac = "00:15:5d:00:00:01" },
  { mac = "00:15:5d:00:00:01" },
]
"""


def seen(mode: str, *interventions: Intervention) -> Stats:
    text = SCENARIO.replace('name = "t"', f'name = "t"\nmode = "{mode}"')
    return Trial(loads(text, "test"), 0.1, interventions=interventions).run().stats


FREED = (
    Intervention(0.02, "clear_filter", {"adapter": "a", "queue_id": 1, "filter_id": 1}),
    Intervention(0.02, "free_queue", {"adapter": "a", "queue_id": 1}),
)
ELSEWHERE = (
    Intervention(
        0.02, "allocate_queue", {"adapter": "b", "vm": "web", "name": "web", "cpu": 0, "buffers": 64}
    ),
    Intervention(0.02, "set_filter", {"adapter": "b", "queue_id": 1, "mac": MAC}),
    Intervention(0.02, "complete_allocation", {"adapter": "b", "queue_ids": [1]}),
)


def test_in_sum_a_vm_without_its_queue_is_the_default_queues_on_the_member_of_its_port() -> None:
    stats = seen("sum", *FREED, *ELSEWHERE)
    first, second = stats.adapters["a"], stats.adapters["b"]
    assert first.port["offered_frames"] == 2000
    assert second.port["offered_frames"] == 0
    strays, freed = known([first.default_queue["no_queue"], first.freed["steered_frames"]])
    assert strays + freed == 2000
    assert strays >= 1500
    assert first.queues["switch_dropped_frames"] == [0]  # the VM gets them all the same


def test_in_min_a_vm_without_a_queue_on_a_member_gets_its_frames_by_the_default_queue() -> None:
    stats = seen("min")
    first, second = stats.adapters["a"], stats.adapters["b"]
    assert known(first.queues["steered_frames"])[1] > 0
    assert second.default_queue["no_queue"] == second.port["offered_frames"] != 0
    assert second.queues["switch_dropped_frames"] == [0]
    given = seen("min", *ELSEWHERE).adapters["b"]
    steered, strays = known([given.queues["steered_frames"][1], given.default_queue["no_queue"]])
    assert steered > strays > 0
