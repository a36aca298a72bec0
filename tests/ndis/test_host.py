"""A host as a scenario sets it up, and what others read of it."""

import msgspec
import pytest

from engine.ndis import resources
from engine.ndis.effects import NewFilter, OpenQueue, SetBuffers, SteeringChanged
from engine.ndis.host import Host
from engine.ndis.queue import OPERATIONAL, OperationalState, State
from engine.scenario.model import AdapterSpec, FilterSpec, HostSpec, PortSpec, QueueSpec, Scenario
from engine.telemetry.config import AdapterConfig
from engine.telemetry.snapshot import config_of
from tests.ndis.lab import MAC, OTHER_MAC, start

SCENARIO = Scenario(
    host=HostSpec(name="hv", cpus=4),
    adapter=[
        AdapterSpec(
            name="nic0",
            port=[PortSpec(vm="db", mac=OTHER_MAC, vlan=20)],
            queue=[
                QueueSpec(name="first", vm="web", cpu=2, buffers=64, filter=[FilterSpec(mac=MAC, vlan=10)]),
                QueueSpec(vm="db", return_delay_us=7, filter=[]),
                QueueSpec(filter=[FilterSpec(mac=MAC), FilterSpec(mac=OTHER_MAC, vlan="untagged")]),
            ],
        ),
        AdapterSpec(name="nic1", default_queue_cpu=3, queue=[QueueSpec(filter=[FilterSpec(mac=MAC)])]),
    ],
)


def test_a_scenario_comes_up_in_file_order_with_one_table_an_adapter() -> None:
    host = Host(SCENARIO)

    assert host.start() == (
        OpenQueue(0, 0, 1, 0, 0, None, 1518),
        SetBuffers(0, 0, 1024),
        OpenQueue(0, 1, 2, 2, 0, 1, 1518),
        NewFilter(0, 1),
        OpenQueue(0, 2, 3, 0, 7000, 0, 1518),
        OpenQueue(0, 3, 4, 0, 0, None, 1518),
        NewFilter(0, 2),
        NewFilter(0, 3),
        SetBuffers(0, 1, 64),
        SetBuffers(0, 2, 512),
        SetBuffers(0, 3, 512),
        SteeringChanged(0),
        OpenQueue(1, 0, 1, 3, 0, None, 1518),
        SetBuffers(1, 0, 1024),
        OpenQueue(1, 1, 2, 0, 0, None, 1518),
        NewFilter(1, 1),
        SetBuffers(1, 1, 512),
        SteeringChanged(1),
    )


def test_an_adapter_describes_itself_with_the_keys_of_the_config_message() -> None:
    host = start(SCENARIO).host

    config = msgspec.convert(host.adapters[0].describe(), AdapterConfig, strict=True)

    assert [(q.queue_id, q.name, q.vm, q.state, q.driver) for q in config.queues] == [
        (0, "default", None, "running", "vsp"),
        (1, "first", "web", "running", "vsp"),
        (2, "db", "db", "paused", "vsp"),
        (3, "queue 3", None, "running", "vsp"),
    ]
    assert [(f.filter_id, f.queue_id, f.mac, f.vlan) for f in config.filters] == [
        (1, 1, MAC, 10),
        (2, 3, MAC, None),
        (3, 3, OTHER_MAC, "untagged"),
    ]
    assert [(p.vm, p.mac, p.vlan) for p in config.ports] == [("db", OTHER_MAC, 20), ("web", MAC, 10)]
    assert config.buffers == 1024 + 64 + 512 + 512 + 8192
    of_others = {"team", "team_mode", "nic_driver", "link_up"}  # no adapter of the model knows of them
    assert set(host.adapters[0].describe()) | of_others == set(AdapterConfig.__struct_fields__)


def test_a_scenario_with_too_few_buffers_balances_them_and_leaves_the_rest_without() -> None:
    spec = AdapterSpec(
        buffers=100,
        default_queue_buffers=40,
        queue=[QueueSpec(buffers=50, filter=[FilterSpec(mac=mac)]) for mac in (MAC, OTHER_MAC)]
        + [QueueSpec(buffers=50)],
    )
    host = start(Scenario(adapter=[spec]))

    queues = host.accept("enum_queues").result["queues"]
    assert [(queue["state"], queue["total_buffers"]) for queue in queues] == [
        ("running", 40),
        ("running", 30),
        ("running", 30),
        ("allocated", 0),
    ]


@pytest.mark.parametrize(
    ("adapter", "place"),
    [
        (AdapterSpec(queue=[QueueSpec(cpu=9)]), "adapter[0].queue[0].cpu: 9"),
        (AdapterSpec(max_queues=1, queue=[QueueSpec(), QueueSpec()]), "adapter[0].queue[1]"),
        (
            AdapterSpec(queue=[QueueSpec(filter=[FilterSpec(mac=MAC), FilterSpec(mac=MAC)])]),
            "adapter[0].queue[0].filter[1].mac",
        ),
        (AdapterSpec(buffers=5), "adapter[0].buffers: 5"),
    ],
)
def test_a_scenario_that_can_not_be_names_the_key(adapter: AdapterSpec, place: str) -> None:
    with pytest.raises(ValueError, match=r"^adapter\[0\]") as error:
        Host(Scenario(adapter=[adapter])).start()
    assert str(error.value).startswith(place)


def test_two_adapters_keep_their_ids_filters_and_requests_apart() -> None:
    host = start(SCENARIO)

    host.accept("clear_filter", adapter="nic1", queue_id=1, filter_id=1)

    assert 1 in host.host.adapters[0].filters
    assert host.accept("query_queue", adapter="nic1", queue_id=1).result["state"] == "paused"
    assert host.accept("query_queue", adapter="nic0", queue_id=1).result["state"] == "running"


def test_processors_are_named_group_and_number() -> None:
    cpus = config_of(Host(Scenario(host=HostSpec(cpus=80, numa_nodes=2)))).cpus
    assert [cpus[cpu].name for cpu in (0, 17, 39, 40, 79)] == ["0:0", "0:17", "0:39", "1:0", "1:39"]


def test_processors_share_cores_in_pairs_and_split_evenly_among_nodes() -> None:
    plain = config_of(Host(Scenario(host=HostSpec(cpus=6, numa_nodes=3)))).cpus
    paired = config_of(Host(Scenario(host=HostSpec(cpus=4, hyperthreading=True, numa_nodes=2)))).cpus

    assert [(p.core, p.numa_node) for p in plain] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert [(p.core, p.numa_node) for p in paired] == [(0, 0), (0, 0), (1, 1), (1, 1)]


def test_the_operational_state_is_ndis_own_of_four() -> None:
    assert [state.value for state in OperationalState] == [0, 1, 2, 3]
    assert {str(state): str(OPERATIONAL[state]) for state in State} == {
        "undefined": "undefined",
        "allocated": "paused",
        "set": "paused",
        "running": "running",
        "paused": "paused",
        "dma_stopped": "dma_stopped",
        "freeing": "dma_stopped",
    }


def test_a_host_allocates_no_more_queues_than_a_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MAX_HOST_QUEUES", 5)
    host = start(Scenario(adapter=[AdapterSpec(name="nic0"), AdapterSpec(name="nic1")]))
    queue = {"name": "web", "vm": None, "cpu": 0, "buffers": 8}
    first = host.accept("allocate_queue", adapter="nic0", **queue).result["queue_id"]
    for adapter in ("nic0", "nic1"):
        assert host.accept("allocate_queue", adapter=adapter, what_if=True, **queue).result["queue_id"] > 0
        host.accept("allocate_queue", adapter=adapter, **queue)
    sentence = "no queue is left: all 5 of the host are in use, each adapter's default queue included"
    for adapter in ("nic0", "nic1"):
        assert host.refuse("allocate_queue", adapter=adapter, **queue) == ("RESOURCES", sentence)
        assert host.refuse("allocate_queue", adapter=adapter, what_if=True, **queue)[0] == "RESOURCES"
    host.accept("free_queue", adapter="nic0", queue_id=first)
    host.accept("allocate_queue", adapter="nic1", **queue)
    assert host.refuse("allocate_queue", adapter="nic0", **queue)[0] == "RESOURCES"


def test_a_refused_queue_takes_no_place_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MAX_HOST_QUEUES", 2)
    monkeypatch.setattr("engine.ndis.adapter.VMS_REMEMBERED", 0)
    host = start(Scenario(adapter=[AdapterSpec(max_queues=1)]))
    host.accept("allocate_queue", name="web", vm="web", cpu=0, buffers=8)
    host.accept("free_queue", queue_id=1)
    assert host.refuse("allocate_queue", name="db", vm="db", cpu=0, buffers=8)[0] == "RESOURCES"  # VMs
    host.accept("allocate_queue", name="web", vm="web", cpu=0, buffers=8)
