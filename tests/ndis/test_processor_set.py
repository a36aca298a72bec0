"""An adapter's processor set, VMQ on and off, and the host's own vNICs in the control plane."""

from engine.ndis.effects import QueueGauges
from engine.ndis.host import Host
from engine.scenario.load import loads
from engine.scenario.model import AdapterSpec, HostSpec, QueueSpec, Scenario
from engine.telemetry.snapshot import config_of
from tests.ndis.lab import OTHER_MAC, lab

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


def test_a_new_set_moves_no_queue_and_names_those_that_stay_outside() -> None:
    host = lab(max_queues=8)
    for cpu in (0, 1, 2, 3, 3):
        host.allocate(cpu=cpu)

    asked = {"base_processor": "0:1", "max_processors": 2}
    foreseen = host.accept("set_adapter", **asked, what_if=True)
    outcome = host.accept("set_adapter", **asked)

    assert outcome.message == (
        'adapter "nic0" has processors 0:1, 0:2; 3 queues stay outside until they are moved:'
        " queue 1 (web) on 0:0, queue 4 (web) on 0:3, queue 5 (web) on 0:3"
    )
    assert foreseen.message == f"what if: {outcome.message}"
    assert (outcome.result["processor_set"], outcome.result["outside"]) == ([1, 2], [1, 4, 5])
    assert config_of(host.host).adapters[0].base_processor == "0:1"
    assert [queue.cpu for queue in host.host.adapters[0].queues.values()] == [0, 0, 1, 2, 3, 3]


def test_none_takes_a_key_of_the_set_away() -> None:
    host = lab(base_processor="0:1", max_processors=2)
    assert host.accept("set_adapter", max_processors=None).result["processor_set"] == [1, 2, 3]
    gone = host.accept("set_adapter", base_processor=None)
    assert gone.result["processor_set"] is None
    assert gone.message == 'adapter "nic0" has no processor set that is known'
    assert not host.accept("set_adapter", base_processor=None).changed


def test_a_set_that_the_host_does_not_have_changes_nothing() -> None:
    host = lab(base_processor="0:1")
    status, message = host.refuse("set_adapter", base_processor="0:4", max_processors=1)
    assert status == "INVALID_PARAMETER"
    assert message == 'base_processor: "0:4" is not a processor of the host (0:0..0:3 fits)'
    assert host.refuse("set_adapter", max_processor="0:0")[0] == "INVALID_PARAMETER"
    assert host.refuse("set_adapter", base_processor=1)[0] == "INVALID_PARAMETER"
    assert config_of(host.host).adapters[0].max_processors is None


def test_vmq_off_frees_all_queues_but_the_default_one_and_on_gives_none_back() -> None:
    host = lab()
    first, second = host.running(), host.running(mac=OTHER_MAC)
    host.plane.take(second, 1)

    outcome = host.accept("set_adapter", vmq=False)

    assert outcome.message == 'adapter "nic0" has VMQ off, and frees 2 queues'
    adapter = host.host.adapters[0]
    assert first not in adapter.queues
    assert adapter.freeing == {second}
    assert len(adapter.ports) == 2
    host.plane.give_back(second, 1)
    host.returned(second)
    assert list(adapter.queues) == [0]
    assert host.refuse("allocate_queue", name="a", vm="b", cpu=0, buffers=1)[0] == "NOT_SUPPORTED"
    assert host.accept("set_adapter", vmq=True).message == 'adapter "nic0" has VMQ on'
    host.allocate()
