# ruff: noqa: E501 - a sentence that is compared stands on one line
"""Contract 3: what a scenario file may say, and the sentence for one that does not fit."""

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scenario import relations
from engine.scenario.keys import MAX_HOST_QUEUES, MAX_QUEUES
from engine.scenario.load import MAX_FILE_BYTES, ScenarioError, load, loads
from engine.scenario.model import AdapterSpec, QueueSpec, Scenario
from engine.scenario.relations import MisfitError, check_relations
from engine.telemetry.bounds import MAX_QUEUE_ROWS

FILTER = 'mac = "00:15:5d:00:00:01"'
UNICAST = '"00:15:5d:00:00:01"'
FLOW = f"flow = [{{ mac = {UNICAST} }}]"


def queue(lines: str = "", adapter: str = "") -> str:
    return f"[[adapter]]\n{adapter}\n[[adapter.queue]]\n{lines}\n"


def filters(*lines: str, adapter: str = "") -> str:
    return queue(adapter=adapter) + "".join(f"[[adapter.queue.filter]]\n{line}\n" for line in lines)


def mix(lines: str) -> str:
    return f"[[traffic.mix]]\n{lines}\n"


def flow(lines: str) -> str:
    return mix("rate_pps = 1000") + f"[[traffic.mix.flow]]\n{lines}\n"


def problem(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "lab.toml")
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert sentence.startswith("lab.toml: ")
    return sentence.removeprefix("lab.toml: ")


def test_empty_file_is_the_defaults() -> None:
    scenario = loads("", "lab.toml")
    assert scenario.adapter == [AdapterSpec()]
    assert scenario.host.cpus == 8
    assert scenario.traffic is None


def test_every_key_of_the_contract_arrives() -> None:
    scenario = loads(
        """
        [host]
        name = "hv01"
        cpus = 4
        hyperthreading = true
        numa_nodes = 2
        [[adapter]]
        name = "nic1"
        ndis_version = "6.20"
        link_gbps = 25
        max_queues = 4
        max_filters = 5
        max_frame_bytes = 9018
        vlan_filtering = true
        buffers = 4096
        default_queue_buffers = 99
        default_queue_cpu = 3
        min_lookahead_bytes = 64
        max_lookahead_bytes = 256
        numa_node = 1
        [[adapter.port]]
        vm = "db-01"
        mac = "00:15:5D:00:00:02"
        vlan = 20
        [[adapter.queue]]
        name = "web queue"
        vm = "web-01"
        cpu = 2
        buffers = 17
        lookahead_bytes = 128
        return_delay_us = 5
        [[adapter.queue.filter]]
        mac = "00-15-5D-00-00-01"
        vlan = "untagged"
        """,
        "lab.toml",
    )
    (adapter,) = scenario.adapter
    assert (scenario.host.name, scenario.host.cpus, scenario.host.hyperthreading) == ("hv01", 4, True)
    assert (adapter.name, adapter.ndis_minor, adapter.link_gbps, adapter.buffers) == ("nic1", 20, 25.0, 4096)
    assert isinstance(adapter.link_gbps, float)
    assert adapter.port[0].mac == "00:15:5d:00:00:02"
    (only,) = adapter.queue
    assert (only.name, only.vm, only.cpu, only.buffers) == ("web queue", "web-01", 2, 17)
    assert (only.lookahead_bytes, only.return_delay_us) == (128, 5)
    assert (only.filter[0].mac, only.filter[0].vlan) == ("00:15:5d:00:00:01", "untagged")


def test_left_out_names_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "büro pc.local" + "x" * 80)
    text = queue('vm = "web-01"') + "[[adapter.queue]]\n" + mix(f"rate_pps = 1\n{FLOW}")
    scenario = loads(text, "lab.toml")
    assert scenario.host.name == ("b-ro-pc.local" + "x" * 80)[:64]
    assert [q.name for q in scenario.adapter[0].queue] == ["web-01", "queue 2"]
    assert scenario.traffic is not None
    assert scenario.traffic.mix[0].adapter == "nic0"


@pytest.mark.parametrize(
    "text",
    [
        "[host]\ncpus = 256\nnuma_nodes = 256",
        "[[adapter]]\nmax_queues = 0\nmax_filters = 0",
        '[[adapter]]\nndis_version = "6.89"',
        '[[adapter]]\nname = "Ethernet 2"\n[[adapter]]\nname = "SLOT 3 Port 1"\n[[team]]\nname = "Both of them"\n'
        'members = ["Ethernet 2", "SLOT 3 Port 1"]\n[[traffic.mix]]\nadapter = "Both of them"\nrate_pps = 1\n'
        'flow = [{ kind = "broadcast" }]',
        queue(f'vm = "{"ü" * 256}"'),
        # NDIS divides what buffers there are among the queues; some may fail to complete.
        queue("buffers = 65536", "buffers = 1024"),
        filters(FILTER, 'mac = "00:15:5d:00:00:01"\nvlan = 10', FILTER + '\nvlan = "untagged"'),
        filters(FILTER + '\nvlan = "untagged"', adapter="vlan_filtering = false"),
        filters(FILTER + "\nvlan = 4094", adapter='ndis_version = "6.20"'),
        queue(
            "lookahead_bytes = 1", 'ndis_version = "6.20"\nmin_lookahead_bytes = 64\nmax_lookahead_bytes = 64'
        ),
        # The same MAC and VLAN on two adapters.
        filters(FILTER) + filters(FILTER, adapter='name = "nic1"'),
        "[traffic]\nseed = 7",
        flow('kind = "broadcast"\nmac = "ff:ff:ff:ff:ff:ff"\nvlan = 0'),
        flow('kind = "multicast"\nframe_bytes = 60'),
        flow('kind = "unknown"'),
        mix(f"rate_gbps = 1\n{FLOW}") + mix(f"rate_pps = 1\npattern = 'bursts'\n{FLOW}"),
    ],
)
def test_fits(text: str) -> None:
    assert isinstance(loads(text, "lab.toml"), Scenario)


MISFITS = [
    # One value.
    (
        "[cpu]\nclock_ghz = 2.3333333333333335\nquota = 65536",
        "cpu.clock_ghz: a clock of 2.3333333333333335 GHz can't be kept exactly for a DPC of up to 6,835,572,640"
        " cycles (fewer digits fit, or a lower quota or lower costs)",
    ),
    (
        "[cpu]\nclock_ghz = 2.33333333\nsmt_share = 0.6666666666666666",
        "cpu.smt_share: a clock of 1.5555555533333332 GHz can't be kept exactly for a DPC of up to 6,679,360"
        " cycles (fewer digits fit, or a lower quota or lower costs)",
    ),
    (
        "[cpu]\ncycles_per_byte = 0.3333333333333333",
        "cpu.cycles_per_byte: 0.3333333333333333 cycles per byte has too many digits to be kept exactly"
        " (fewer digits fit, or a lower quota or lower costs)",
    ),
    (
        "[cpu]\ncycles_per_byte = 0.333333\nremote_copy_factor = 1.3333333",
        "cpu.remote_copy_factor: 0.4444439888889 cycles per byte has too many digits to be kept exactly"
        " (fewer digits fit, or a lower quota or lower costs)",
    ),
    ("[host]\ncpus = 0", "host.cpus: 0 is not a whole number in 1..256"),
    ("[host]\ncpus = 257", "host.cpus: 257 is not a whole number in 1..256"),
    ("[host]\ncpus = true", "host.cpus: true is not a whole number in 1..256"),
    ("[host]\ncpus = 2.0", "host.cpus: 2.0 is not a whole number in 1..256"),
    ('[host]\ncpus = "8"', 'host.cpus: "8" is not a whole number in 1..256'),
    ("[host]\ncpus = [8]", "host.cpus: an array is not a whole number in 1..256"),
    ("[host]\ncpus = 1979-05-27", "host.cpus: 1979-05-27 is not a whole number in 1..256"),
    ("[host]\nhyperthreading = 1", "host.hyperthreading: 1 is not true or false"),
    ('[host]\nname = ""', 'host.name: "" is not a name (1..64 of A-Z a-z 0-9 _ . -)'),
    ('[host]\nname = "hv/01"', 'host.name: "hv/01" is not a name (1..64 of A-Z a-z 0-9 _ . -)'),
    ('[host]\nname = "a\\nb"', 'host.name: "a\\nb" is not a name (1..64 of A-Z a-z 0-9 _ . -)'),
    (f'[host]\nname = "{"a" * 65}"', f'host.name: "{"a" * 65}" is not a name (1..64 of A-Z a-z 0-9 _ . -)'),
    *(
        (
            f'[[adapter]]\nname = "{name}"',
            f'adapter[0].name: "{name}" is not a name (1..256 printable characters, no blank at either end)',
        )
        for name in ("", " nic0", "nic0 ")
    ),
    ("[[adapter]]\nlink_gbps = 0", "adapter[0].link_gbps: 0 is not a number in 0.001..10000"),
    ("[[adapter]]\nlink_gbps = nan", "adapter[0].link_gbps: nan is not a number in 0.001..10000"),
    ("[[adapter]]\nlink_gbps = inf", "adapter[0].link_gbps: inf is not a number in 0.001..10000"),
    ("[[adapter]]\nlink_gbps = true", "adapter[0].link_gbps: true is not a number in 0.001..10000"),
    ("[[adapter]]\nndis_version = 6.30", 'adapter[0].ndis_version: 6.3 is not an NDIS version with VMQ ("6.20" to "6.99")'),
    ('[[adapter]]\nndis_version = "6.1"', 'adapter[0].ndis_version: "6.1" is not an NDIS version with VMQ ("6.20" to "6.99")'),
    ('[[adapter]]\nndis_version = "6.19"', 'adapter[0].ndis_version: "6.19" is not an NDIS version with VMQ ("6.20" to "6.99")'),
    ("[[adapter]]\nmax_queues = 4097", "adapter[0].max_queues: 4097 is not a whole number in 0..4096"),
    ("[[adapter]]\nmax_filters = 65537", "adapter[0].max_filters: 65537 is not a whole number in 0..65536"),
    ("[[adapter]]\nmax_frame_bytes = 59", "adapter[0].max_frame_bytes: 59 is not a whole number in 60..65535"),
    ("[[adapter]]\nmax_frame_bytes = 65536", "adapter[0].max_frame_bytes: 65536 is not a whole number in 60..65535"),
    (queue("buffers = 0"), "adapter[0].queue[0].buffers: 0 is not a whole number in 1..65536"),
    (queue("buffers = 65537"), "adapter[0].queue[0].buffers: 65537 is not a whole number in 1..65536"),
    (queue('vm = ""'), 'adapter[0].queue[0].vm: "" is not a name (1..256 printable characters)'),
    (queue("return_delay_us = -1"), "adapter[0].queue[0].return_delay_us: -1 is not a whole number in 0..60000000"),
    (
        filters(FILTER + "\nvlan = 4095"),
        'adapter[0].queue[0].filter[0].vlan: 4095 is not a VLAN id (1..4094, "untagged", or left out)',
    ),
    (
        filters(FILTER + "\nvlan = 0"),
        'adapter[0].queue[0].filter[0].vlan: 0 is not a VLAN id (1..4094, "untagged", or left out)',
    ),
    (
        filters(FILTER + "\nvlan = true"),
        'adapter[0].queue[0].filter[0].vlan: true is not a VLAN id (1..4094, "untagged", or left out)',
    ),
    (
        filters(FILTER + "\nvlan = 'none'"),
        'adapter[0].queue[0].filter[0].vlan: "none" is not a VLAN id (1..4094, "untagged", or left out)',
    ),
    (
        filters('mac = "00:00:00:00:00:00"'),
        'adapter[0].queue[0].filter[0].mac: "00:00:00:00:00:00" is the zero address'
        ' (a unicast MAC fits, like "00:15:5d:00:00:01")',
    ),
    (
        filters('mac = "01:00:5e:00:00:01"'),
        'adapter[0].queue[0].filter[0].mac: "01:00:5e:00:00:01" is a group address'
        ' (a unicast MAC fits, like "00:15:5d:00:00:01")',
    ),
    (
        filters('mac = "00:15-5d:00:00:01"'),
        'adapter[0].queue[0].filter[0].mac: "00:15-5d:00:00:01" is not a MAC address (like "00:15:5d:00:00:01")',
    ),
    (filters("vlan = 10"), "adapter[0].queue[0].filter[0].mac: missing (unicast MAC, colons or dashes)"),
    ("[[adapter]]\n[[adapter.port]]\nmac = " + UNICAST, "adapter[0].port[0].vm: missing (1..256 printable characters, or management_os = true)"),
    ("[cpu]\nquota = 0", "cpu.quota: 0 is not a whole number in 1..65536"),
    ("[cpu]\nclock_ghz = 0", "cpu.clock_ghz: 0 is not a number in 0.001..1000000"),
    ("[cpu]\nsmt_share = 1.5", "cpu.smt_share: 1.5 is not a number in 0.01..1"),
    ("[traffic]\nseed = -1", "traffic.seed: -1 is not a whole number in 0..9223372036854775807"),
    (flow('kind = "anycast"'), 'traffic.mix[0].flow[0].kind: "anycast" is not one of "unicast", "broadcast", "multicast", "unknown"'),
    (flow(f"mac = {UNICAST}\nweight = 0"), "traffic.mix[0].flow[0].weight: 0 is not a number in 1e-06..1000000"),
    (flow(f"mac = {UNICAST}\nvlan = 4095"), "traffic.mix[0].flow[0].vlan: 4095 is not a whole number in 0..4094"),
    (
        flow(f"mac = {UNICAST}\nframe_bytes = 59"),
        'traffic.mix[0].flow[0].frame_bytes: 59 is not a frame size (60..65531 bytes, or "imix")',
    ),
    # Tables.
    ("host = 3", "host: 3 is not a table"),
    ("[[host]]\ncpus = 1", "host: an array is not a table"),
    ("[adapter]\nname = 'nic0'", "adapter: a table is not an array of tables ([[adapter]])"),
    ("adapter = []", "adapter: 0 tables, where 1..256 fit"),
    ("adapter = [1]", "adapter[0]: 1 is not a table"),
    ("[[adapter]]\n[adapter.queue]", "adapter[0].queue: a table is not an array of tables ([[adapter.queue]])"),
    # Unknown keys.
    ("[host]\ncpu = 8", 'host.cpu: unknown key (did you mean "cpus"?)'),
    ("[hosts]", 'hosts: unknown key (did you mean "host"?)'),
    ("[host]\nzzz = 8", "host.zzz: unknown key (known here: name, cpus, hyperthreading, numa_nodes, windows, group_sizes)"),
    (queue("bufers = 5"), 'adapter[0].queue[0].bufers: unknown key (did you mean "buffers"?)'),
    ('[host]\n"a\\u001bb.c" = 8', 'host."a\\x1bb.c": unknown key (known here: name, cpus, hyperthreading, numa_nodes, windows, group_sizes)'),
    # Values against each other.
    ("[host]\ncpus = 3\nhyperthreading = true", "host.cpus: 3 is odd, and hyper-threads come in pairs (an even number fits)"),
    ("[host]\ncpus = 6\nnuma_nodes = 4", "host.numa_nodes: 4 does not divide the 6 processors (1, 2, 3, 6 fits)"),
    (
        "[[adapter]]\n[[adapter]]",
        'adapter[1].name: "nic0" is the name of adapter[0] already (a name of its own fits)',
    ),
    ("[host]\nwindows = '2012R2'", 'host.windows: "2012R2" is not one of "2008 R2", "2012", "2012 R2", "2016"'
     ', "2019", "2022", "2025"'),
    ("[host]\ngroup_sizes = 8", "host.group_sizes: 8 is not an array of 1..256 groups' sizes"),
    ("[host]\ngroup_sizes = [65]", "host.group_sizes: 65 is not a whole number in 1..64"),
    ("[host]\ncpus = 80\nnuma_nodes = 2\ngroup_sizes = [64, 8]",
     "host.group_sizes: the groups have 72 processors, and the host has 80 ([40, 40] fits, or left out)"),
    ("[host]\nhyperthreading = true\ngroup_sizes = [5, 3]",
     "host.group_sizes[0]: 5 is odd, and a group has whole cores of two hyper-threads (an even number fits)"),
    ("[[adapter]]\nbase_processor = 2",
     'adapter[0].base_processor: 2 is not a processor as group:number (like "0:2")'),
    ("[[adapter]]\nbase_processor = '1:0'",
     'adapter[0].base_processor: "1:0" is not a processor of the host (0:0..0:7 fits)'),
    ("[host]\ncpus = 80\nnuma_nodes = 2\n[[adapter]]\nbase_processor = '0:40'",
     'adapter[0].base_processor: "0:40" is not a processor of the host (0:0..0:39, 1:0..1:39 fits)'),
    ("[host]\nhyperthreading = true\n[[adapter]]\nbase_processor = '0:3'",
     'adapter[0].base_processor: "0:3" is odd, and with hyper-threading VMQ uses processors of even number only'
     ' ("0:2" fits)'),
    ("[[adapter]]\nbase_processor = '0:3'\nmax_processor = '0:2'",
     'adapter[0].max_processor: "0:2" does not end a set that begins with 0:3 (0:3..0:63 fits: a set lies in'
     ' one group)'),
    ("[host]\ncpus = 80\nnuma_nodes = 2\n[[adapter]]\nmax_processor = '1:4'",
     'adapter[0].max_processor: "1:4" does not end a set that begins with 0:0 (0:0..0:63 fits: a set lies in'
     ' one group)'),
    ("[[adapter]]\nmax_processor = '0:64'",
     'adapter[0].max_processor: "0:64" does not end a set that begins with 0:0 (0:0..0:63 fits: a set lies in'
     ' one group)'),
    ("[[adapter]]\nmax_processors = 0", "adapter[0].max_processors: 0 is not a whole number in 1..256"),
    ("[host]\nnuma_nodes = 2\n[[adapter]]\npreferred_numa_node = 2",
     "adapter[0].preferred_numa_node: 2 is not a NUMA node of the host (0..1)"),
    (queue("buffers = 4", adapter="vmq = false"),
     "adapter[0].queue[0]: a queue, but VMQ is off (none fits, or vmq = true)"),
    (queue("vm = 'a'\nmanagement_os = true"),
     "adapter[0].queue[0].management_os: true beside a vm (one of the two fits: a VM's name, or the host itself)"),
    ("[[adapter]]\n[[adapter.port]]\nmac = '00:15:5d:00:00:01'",
     "adapter[0].port[0].vm: missing (1..256 printable characters, or management_os = true)"),
    ("[[adapter]]\nnuma_node = 1", "adapter[0].numa_node: 1 is not a NUMA node of the host (0..0)"),
    ("[[adapter]]\ndefault_queue_cpu = 8", "adapter[0].default_queue_cpu: 8 is not a processor of the host (0..7)"),
    (queue("cpu = -1"), "adapter[0].queue[0].cpu: -1 is not a processor of the host (0..7)"),
    (queue("cpu = 1.5"), "adapter[0].queue[0].cpu: 1.5 is not a whole number"),
    (queue("cpu = 8"), "adapter[0].queue[0].cpu: 8 is not a processor of the host (0..7)"),
    (
        "[[adapter]]\nbuffers = 1023",
        "adapter[0].buffers: 1023 is less than the default queue's 1024 (1024 or more fits)",
    ),
    (
        queue(adapter="max_queues = 1") + "[[adapter.queue]]",
        "adapter[0].queue[1]: one queue more than the adapter has (max_queues = 1)",
    ),
    (
        filters(FILTER, FILTER + "\nvlan = 1", adapter="max_filters = 1"),
        "adapter[0].queue[0].filter[1]: one filter more than the adapter has (max_filters = 1)",
    ),
    (
        filters(FILTER + "\nvlan = 9") + '[[adapter.queue]]\n[[adapter.queue.filter]]\nmac="00-15-5D-00-00-01"\nvlan=9',
        "adapter[0].queue[1].filter[0]: 00:15:5d:00:00:01 with VLAN 9 is set by queue[0].filter[0] already"
        " (an adapter takes each MAC and VLAN test once)",
    ),
    (
        filters(FILTER, FILTER),
        "adapter[0].queue[0].filter[1]: 00:15:5d:00:00:01 with no VLAN test is set by queue[0].filter[0] already"
        " (an adapter takes each MAC and VLAN test once)",
    ),
    (
        filters(FILTER, adapter='ndis_version = "6.20"'),
        'adapter[0].queue[0].filter[0].vlan: NDIS 6.20 sets no filter without a VLAN test (1..4094 or "untagged" fits)',
    ),
    (
        filters(FILTER + "\nvlan = 7", adapter="vlan_filtering = false"),
        'adapter[0].queue[0].filter[0].vlan: 7 needs vlan_filtering, which is off ("untagged" or left out fits)',
    ),
    (
        "[[adapter]]\nmax_lookahead_bytes = 1",
        "adapter[0].max_lookahead_bytes: 1 asks for a lookahead split, which NDIS 6.30 does not have"
        ' (0 fits, or an ndis_version before "6.30")',
    ),
    (
        '[[adapter]]\nndis_version = "6.20"\nmin_lookahead_bytes = 9\nmax_lookahead_bytes = 8',
        "adapter[0].min_lookahead_bytes: 9 is above max_lookahead_bytes, 8 (0..8 fits)",
    ),
    (
        queue("lookahead_bytes = 1"),
        "adapter[0].queue[0].lookahead_bytes: 1 asks for a lookahead split, which NDIS 6.30 does not have (0 fits)",
    ),
    (
        queue("lookahead_bytes = 9", 'ndis_version = "6.20"\nmax_lookahead_bytes = 8'),
        "adapter[0].queue[0].lookahead_bytes: 9 is above the adapter's max_lookahead_bytes (0..8 fits)",
    ),
    (mix("rate_pps = 1"), "traffic.mix[0].flow: missing (a mix needs at least one flow)"),
    (mix(FLOW), "traffic.mix[0]: neither of rate_pps and rate_gbps given (exactly one fits)"),
    (mix(f"rate_pps = 1\nrate_gbps = 1\n{FLOW}"), "traffic.mix[0]: both of rate_pps and rate_gbps given (exactly one fits)"),
    (mix(f"adapter = 'nic9'\nrate_pps = 1\n{FLOW}"), 'traffic.mix[0].adapter: "nic9" is not an adapter of this scenario ("nic0")'),
    (
        "[[adapter]]\n[[adapter]]\nname = 'nic1'\n" + mix(f"rate_pps = 1\n{FLOW}"),
        'traffic.mix[0].adapter: missing, and the host has several adapters ("nic0", "nic1")',
    ),
    (flow("weight = 1"), "traffic.mix[0].flow[0].mac: missing (a unicast flow needs its destination MAC)"),
    (
        flow(f'kind = "multicast"\nmac = {UNICAST}'),
        'traffic.mix[0].flow[0].mac: "00:15:5d:00:00:01" is not a multicast address (the first byte odd, not broadcast),'
        ' as kind "multicast" needs',
    ),
    (
        flow(f'kind = "broadcast"\nmac = {UNICAST}'),
        'traffic.mix[0].flow[0].mac: "00:15:5d:00:00:01" is not the broadcast address (or left out),'
        ' as kind "broadcast" needs',
    ),
    (
        flow('kind = "unknown"\nmac = "ff:ff:ff:ff:ff:ff"'),
        'traffic.mix[0].flow[0].mac: "ff:ff:ff:ff:ff:ff" is not a unicast address (the first byte even, not all zero),'
        ' as kind "unknown" needs',
    ),
    # Not TOML at all.
    ("[host]\ncpus = ", "not TOML: Invalid value (at line 2, column 8, the end of the file)"),
    ("[host]\ncpus : 8\n", "not TOML: Expected '=' after a key in a key/value pair (at line 2, column 6)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), MISFITS, ids=[sentence[:60] for _, sentence in MISFITS])
def test_misfit_names_key_value_and_what_would_fit(text: str, sentence: str) -> None:
    assert problem(text) == sentence


def host_of(queues: list[int]) -> Scenario:
    """A host whose adapters have so many queues each, beside the default queue."""
    return Scenario(
        adapter=[
            AdapterSpec(name=f"nic{index}", max_queues=MAX_QUEUES, queue=[QueueSpec()] * count)
            for index, count in enumerate(queues)
        ]
    )


def test_a_host_has_as_many_queues_as_a_reader_takes() -> None:
    check_relations(host_of([MAX_QUEUES - 1] * 8))
    assert 8 * MAX_QUEUES == MAX_HOST_QUEUES == MAX_QUEUE_ROWS


def test_more_queues_than_a_reader_takes_are_refused_at_the_adapter_that_has_one_too_many() -> None:
    with pytest.raises(MisfitError) as refused:
        check_relations(host_of([MAX_QUEUES - 1] * 7 + [MAX_QUEUES, 1]))
    assert refused.value.path == ("adapter", 7, "queue")
    assert str(refused.value) == (
        "4,096 queues make 32,769 on the host, each adapter's default queue included"
        " (32,768 of all adapters fit)"
    )


def test_a_file_with_more_queues_than_a_reader_takes_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relations, "MAX_HOST_QUEUES", 3)
    assert problem('[[adapter]]\nname = "a"\n' + queue(adapter='name = "b"') + "[[adapter.queue]]") == (
        "adapter[1].queue: 2 queues make 4 on the host, each adapter's default queue included"
        " (3 of all adapters fit)"
    )


def test_endless_nesting_is_refused() -> None:
    assert problem("a = " + "[" * 100_000).startswith("not ")


def test_first_problem_in_file_order_is_reported() -> None:
    text = queue("buffers = 0\nname = ''", "max_queues = -1") + "[host]\ncpus = 0"
    assert problem(text).startswith("adapter[0].max_queues: ")


def test_long_values_are_cut() -> None:
    assert problem(f'[host]\nname = "{"a" * 1_000_000}"').startswith(f'host.name: "{"a" * 80}…" is not')
    assert len(problem("[host]\ncpus = 0x" + "f" * 100_000)) < 200
    assert problem("[host]\ncpus = " + "9" * 5000).startswith("not TOML: ")


@given(st.text())
def test_any_text_loads_or_is_refused_on_one_line(text: str) -> None:
    sentence = ""
    try:
        loads(text, "lab.toml")
    except ScenarioError as error:
        sentence = str(error)
    assert sentence.isprintable()


def test_file_is_named_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text("[host]\ncpus = 0\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"^lab\.toml: host\.cpus: 0 is not"):
        load("lab.toml")
    Path("good.toml").write_bytes(b"\xef\xbb\xbf[host]\r\ncpus = 3\r\n")
    assert load(Path("good.toml")).host.cpus == 3


def test_unreadable_files_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("latin.toml").write_bytes(b"# ok\n# caf\xe9\n")
    with Path("big.toml").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for name, sentence in [
        ("none.toml", "none.toml: no such file"),
        ("folder", "folder: a directory, not a scenario file"),
        ("latin.toml", "latin.toml: not UTF-8 text (line 2, byte 10)"),
        ("big.toml", f"big.toml: larger than {MAX_FILE_BYTES} bytes, the most a scenario file may have"),
    ]:
        with pytest.raises(ScenarioError) as caught:
            load(name)
        assert str(caught.value) == sentence
    with pytest.raises(ScenarioError, match=r"^a\\x00b: cannot be read: "):
        load("a\0b")


def placed(adapter: str, cpus: list[str], host: str = "cpus = 8\nhyperthreading = true") -> list[int | None]:
    queues = "".join(f"[[adapter.queue]]\n{cpu}\n" for cpu in cpus)
    return [
        queue.cpu
        for queue in loads(f"[host]\n{host}\n[[adapter]]\n{adapter}\n{queues}", "x").adapter[0].queue
    ]


def test_queues_without_a_processor_are_placed_in_the_set_in_turn() -> None:
    assert placed("base_processor = '0:2'\nmax_processors = 2", ["", "cpu = 7", "", ""]) == [2, 7, 4, 2]
    assert placed("base_processor = '1:0'", ["", "", ""], "cpus = 80\nnuma_nodes = 2") == [40, 41, 42]


def test_queues_without_a_processor_are_on_processor_0_if_no_set_is_known() -> None:
    assert placed("", ["", ""]) == [0, 0]
