"""What one member of a team knows of the ports of another."""

import pytest

from engine.ndis.host import Host
from engine.ndis.queue import describe_key
from engine.scenario.load import loads

QUEUE = (
    '[[adapter.queue]]\nvm = "{vm}"\n[[adapter.queue.filter]]\nmac = "00:15:5d:00:00:0{mac}"\nvlan = {vlan}\n'
)
PORT = '[[adapter.port]]\nvm = "{vm}"\nmac = "00:15:5d:00:00:0{mac}"\n'


def ports(mode: str) -> list[list[tuple[str, str, object]]]:
    """By adapter its ports: VM, the MAC's last digit, VLAN."""
    text = (
        '[[adapter]]\nname = "a"\n'
        + PORT.format(vm="app", mac=3)
        + QUEUE.format(vm="web", mac=1, vlan=10)
        + '[[adapter]]\nname = "b"\n'
        + QUEUE.format(vm="sql", mac=2, vlan=20)
        + QUEUE.format(vm="other", mac=1, vlan=10)
        + f'[[adapter]]\nname = "alone"\n[[team]]\nmembers = ["a", "b"]\nmode = "{mode}"\n'
    )
    host = Host(loads(text, "test"))
    host.start()
    return [
        sorted(
            (port.vm, key["mac"][-1], key["vlan"])
            for port in adapter.ports
            for key in [describe_key(port.key)]
        )
        for adapter in host.adapters
    ]


@pytest.mark.parametrize("mode", ["min", "primary"])
def test_in_min_and_primary_every_member_knows_the_ports_of_all_and_its_own_count(mode: str) -> None:
    first, second, alone = ports(mode)
    assert first == [("app", "3", None), ("sql", "2", 20), ("web", "1", 10)]
    assert second == [("app", "3", None), ("other", "1", 10), ("sql", "2", 20)]
    assert alone == []


def test_in_sum_a_port_is_on_one_member() -> None:
    first, second, _ = ports("sum")
    assert first == [("app", "3", None), ("web", "1", 10)]
    assert second == [("other", "1", 10), ("sql", "2", 20)]
