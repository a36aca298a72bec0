"""An adapter's processor set, VMQ on and off, and the host's own vNICs in the control plane."""

from engine.ndis.effects import QueueGauges
from engine.ndis.host import Host
from engine.scenario.load import loads
from engine.scenario.model import AdapterSpec, HostSpec, QueueSpec, Scenario
from engine.telemetry.snapshot import config_of
from tests.ndis.lab import lab

OWN = """
[host]
windows = "2019"
[[adapter]]
[[adapter.port]]
management_os = true
mac = "00:15:5d:00:00:09"
[[adapter.queue]]
management_os = true
[[adapter.queue.filter]]
mac = "00:15:5d:00:00:01"
"""


def test_the_configuration_has_the_set_as_it_is_given_and_nothing_where_none_is() -> None:
    text = '[[adapter]]\nbase_processor = "0:02"\nmax_processors = 3\n[[adapter]]\nname = "nic1"\nvmq = false'
    known, unknown = config_of(Host(loads(text, "x"))).adapters
    assert (known.vmq, known.base_processor, known.max_processor) == (True, "0:2", None)
    assert (known.max_processors, known.preferred_numa_node) == (3, None)
    assert (unknown.vmq, unknown.base_processor, unknown.max_processors) == (False, None, None)


def test_queues_of_a_scenario_made_in_python_are_placed_in_the_set() -> None:
    adapter = AdapterSpec(base_processor="0:1", max_processor="0:2", queue=[QueueSpec()] * 3)
    host = Host(Scenario(host=HostSpec(name="h", cpus=4), adapter=[adapter]))
    host.start()
    assert [queue.cpu for queue in host.adapters[0].queues.values()] == [0, 1, 2, 1]


def test_an_adapter_without_vmq_has_no_queue_but_the_default_one() -> None:
    host = lab(vmq=False)
    status, message = host.refuse("allocate_queue", name="a", vm="b", cpu=0, buffers=1)
    assert status == "NOT_SUPPORTED"
    assert message.startswith('vmq: false on adapter "nic0"')


def test_a_vnic_of_the_host_has_a_port_and_a_queue_and_is_no_vm() -> None:
    host = Host(loads(OWN, "x"))
    host.start()
    config = config_of(host)
    adapter = config.adapters[0]
    assert config.windows == "2019"
    assert [(one.vm, one.management_os) for one in adapter.queues] == [(None, False), ("management OS", True)]
    assert [(one.mac[-1], one.vm, one.management_os) for one in adapter.ports] == [
        ("9", "management OS", True),
        ("1", "management OS", True),
    ]
    for op in ("pause_vm", "migrate_vm", "remove_vm"):
        answer = host.apply(op, {"vm": "management OS"}, _NoFrames())
        assert answer.message == 'vm: "management OS" is the host itself (a VM fits)'


class _NoFrames:
    def gauges(self, adapter: int, queue_id: int) -> QueueGauges:
        return QueueGauges(0, 0, 0)
