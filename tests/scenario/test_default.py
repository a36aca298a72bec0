"""The scenario that ships with the package has something true to show on every panel."""

from engine.scenario.load import default_scenario, machine_name
from engine.scenario.values import parse_mac


def test_default_scenario_is_a_host_as_the_issue_describes_it() -> None:
    scenario = default_scenario()
    (adapter,) = scenario.adapter
    assert scenario.host.name == machine_name()
    assert scenario.host.cpus == 8
    assert adapter.link_gbps == 10
    vms = {queue.vm for queue in adapter.queue} | {port.vm for port in adapter.port}
    assert 14 <= len(vms) <= 18
    assert len({spec.vlan for queue in adapter.queue for spec in queue.filter}) >= 4
    assert {port.vm for port in adapter.port} - {queue.vm for queue in adapter.queue}
    assert any(queue.return_delay_us for queue in adapter.queue)
    asked = adapter.default_queue_buffers + sum(queue.buffers for queue in adapter.queue)
    assert adapter.total_buffers >= 2 * asked


def test_default_traffic_is_uneven_and_not_all_of_it_has_a_queue() -> None:
    scenario = default_scenario()
    (adapter,) = scenario.adapter
    assert scenario.traffic is not None
    rate = sum(mix.rate_pps or 0 for mix in scenario.traffic.mix)
    assert 300_000 <= rate <= 400_000
    flows = [flow for mix in scenario.traffic.mix for flow in mix.flow]
    assert {flow.kind for flow in flows} == {"unicast", "broadcast", "multicast", "unknown"}
    cpu_of = {(parse_mac(spec.mac), spec.vlan): queue.cpu for queue in adapter.queue for spec in queue.filter}
    ports = {(parse_mac(port.mac), port.vlan) for port in adapter.port}
    load = [0.0] * scenario.host.cpus
    no_queue = mismatch = 0.0
    for flow in scenario.traffic.mix[0].flow:
        if flow.kind != "unicast" or flow.mac is None:
            continue
        key = (parse_mac(flow.mac), flow.vlan or "untagged")
        if key in cpu_of:
            load[cpu_of[key] or 0] += flow.weight
        elif key in ports:
            no_queue += flow.weight
        else:
            assert flow.mac in {spec.mac for queue in adapter.queue for spec in queue.filter}
            mismatch += flow.weight
    hottest, second = sorted(load, reverse=True)[:2]
    assert hottest > 3 * second
    assert no_queue > 0
    assert mismatch > 0
