"""The scenario that the live tests share: three adapters on four processors, small numbers."""

MAC = {
    name: f"00:15:5d:00:00:{k:02x}"
    for k, name in enumerate(["none", "web", "slow", "port", "spare", "other", "more"])
}

QUEUES = f"""
[[adapter.port]]
vm = "port"
mac = "{MAC["port"]}"
vlan = 20
[[adapter.queue]]
name = "web"
vm = "web"
cpu = 1
buffers = 256
[[adapter.queue.filter]]
mac = "{MAC["web"]}"
vlan = 10
[[adapter.queue]]
name = "slow"
vm = "slow"
cpu = 2
buffers = 64
return_delay_us = 1_000_000
[[adapter.queue.filter]]
mac = "{MAC["slow"]}"
"""

FLOWS = f"""[
  {{ mac = "{MAC["web"]}", vlan = 10, weight = 10, frame_bytes = 60 }},
  {{ mac = "{MAC["web"]}", vlan = 11, frame_bytes = 60 }},
  {{ mac = "{MAC["spare"]}", weight = 4, frame_bytes = 60 }},
  {{ mac = "{MAC["port"]}", vlan = 20, frame_bytes = 60 }},
  {{ mac = "{MAC["slow"]}", weight = 0.02, frame_bytes = 60 }},
  {{ kind = "broadcast", frame_bytes = 60 }},
  {{ kind = "multicast", frame_bytes = 60 }},
  {{ kind = "unknown", vlan = 10, frame_bytes = 60 }},
]"""

LAB = f"""
[host]
name = "lab"
cpus = 4
[[adapter]]
name = "nic0"
max_queues = 8
max_filters = 8
buffers = 4096
{QUEUES}
[[adapter]]
name = "nic1"
max_queues = 8
default_queue_buffers = 100
buffers = 200
[[adapter]]
name = "old"
ndis_version = "6.20"
min_lookahead_bytes = 64
max_lookahead_bytes = 256
buffers = 2048
[[traffic.mix]]
adapter = "nic0"
rate_pps = 10_000
flow = {FLOWS}
"""

HOT = f"""
[host]
name = "hot"
cpus = 4
[cpu]
clock_ghz = 1000
[[adapter]]
name = "nic0"
buffers = 8192
{QUEUES}
[[adapter]]
name = "nic1"
buffers = 8192
{QUEUES}
[[traffic.mix]]
adapter = "nic0"
rate_pps = 500_000
flow = {FLOWS}
[[traffic.mix]]
adapter = "nic1"
rate_pps = 500_000
pattern = "random"
flow = {FLOWS}
"""


def small(host: str) -> str:
    """One adapter, one processor, a little traffic."""
    return f"""
[host]
name = "{host}"
cpus = 1
[[adapter]]
[[traffic.mix]]
rate_pps = 1000
flow = [{{ kind = "broadcast" }}]
"""
