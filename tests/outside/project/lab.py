"""The host that the tests of this project start: two VMs with a queue each, 10,000 frames a second to one."""

import time

import psutil

WEB = "00:15:5d:00:00:01"
DB = "00:15:5d:00:00:02"

SCENARIO = f"""
[host]
name = "lab"
cpus = 2

[[adapter]]
name = "nic0"

[[adapter.queue]]
vm = "web-01"
cpu = 1
buffers = 1000
[[adapter.queue.filter]]
mac = "{WEB}"
vlan = 10

[[adapter.queue]]
vm = "db-01"
cpu = 1
buffers = 100
return_delay_us = 50_000
[[adapter.queue.filter]]
mac = "{DB}"

[[traffic.mix]]
rate_pps = 10_000
flow = [{{ mac = "{WEB}", vlan = 10, frame_bytes = 200 }}]
"""

QUIET = SCENARIO[: SCENARIO.index("[[traffic.mix]]")]
"""The same host without traffic of its own."""


def cpu_s() -> float:
    """Seconds of processor time that this process and its children have used; a busy machine adds none."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(one.cpu_times()[:2]) for one in children)
