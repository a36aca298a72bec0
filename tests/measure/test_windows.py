"""Windows hosts from the JSON of the collecting script: what is known of them, how, and what is not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_powershell

from engine.measure.host import MeasuredHost, SourceError
from engine.measure.sources import read_measured
from engine.measure.twin import make_twin
from engine.measure.windows_tables import LIMIT_BYTES, MAX_ROWS, MAX_SAMPLES, script
from engine.telemetry.config import AdapterConfig
from tests.windows_hosts import ACTIVITY, BUILDS, PROCESSORS, VNICS, WindowsHostSample

QUEUES = "Get-NetAdapterVmqQueue"


def read(tmp_path: Path, document: Any, encoding: str = "ascii") -> MeasuredHost:
    path = tmp_path / "host.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding, errors="surrogatepass")
    return read_measured(path)


def received(measured: MeasuredHost, adapter: int) -> dict[str, int | None]:
    """What each queue of an adapter received until the last reading, by its name."""
    config = measured.config.adapters[adapter]
    queues = measured.readings[-1].adapters[config.name].queues
    return dict(zip((one.name for one in config.queues), queues["received_frames"], strict=True))


def source(measured: MeasuredHost, adapter: int, column: str = "received_frames") -> str | None:
    stats = measured.readings[-1].adapters[measured.config.adapters[adapter].name]
    return (stats.sources or {}).get(column)


def first_adapter(tmp_path: Path, document: Any) -> AdapterConfig:
    return read(tmp_path, document).config.adapters[0]


# --- what is known ----------------------------------------------------------------------------------


@pytest.mark.parametrize("release", BUILDS)
def test_a_host_of_each_release_is_read_without_a_remark(tmp_path: Path, release: str) -> None:
    host = WindowsHostSample(release)
    measured = read(tmp_path, host.document())
    config = measured.config
    assert (config.host, config.windows, config.system) == ("HV01", release, f"Windows Server {release}")
    assert measured.remarks == ()
    assert [one.name for one in config.adapters] == [
        "SLOT 3 Port 1",
        "SLOT 3 Port 2",
    ]  # and not the team's own
    assert config.hyperthreading
    assert [(cpu.name, cpu.core, cpu.numa_node) for cpu in config.cpus][6:9] == [
        ("0:6", 3, 0),
        ("0:7", 3, 0),
        ("0:8", 4, 1),
    ]
    first, second = config.adapters
    assert (first.team, first.team_mode) == ("Converged" if host.is_set else "Team1", "sum")
    assert (second.base_processor, second.max_processor, second.max_processors) == ("0:8", "0:15", 4)
    assert (second.preferred_numa_node, second.numa_node, second.link_gbps) == (None, 1, 10.0)
    assert second.nic_driver == "Intel(R) Ethernet Controller X540-AT2 #2, ixt63x64.sys 4.1.131.0"
    assert [(one.queue_id, one.name, one.vm, one.cpu) for one in first.queues] == [
        (0, "default", None, 0),
        (1, "vm-0", "vm-0", 2),
        (2, "vm-2", "vm-2", 4),
    ]
    assert [(one.queue_id, one.mac, one.vlan) for one in first.filters] == [
        (1, "00:15:5d:00:00:01", 10),
        (2, "00:15:5d:00:00:03", "untagged"),
    ]
    assert [(one.vm, one.management_os, one.vlan) for one in first.ports] == [
        ("Management", True, "untagged"),
        ("vm-0", False, 10),
        ("vm-2", False, "untagged"),
    ]
    assert [one.vm for one in second.ports] == ["vm-1", "vm-3"]


def test_a_queue_alone_on_its_processor_has_what_its_adapter_received_there(tmp_path: Path) -> None:
    measured = read(tmp_path, WindowsHostSample().document())
    assert received(measured, 0) == {"default": 200, "vm-0": 2000, "vm-2": 6000}
    assert source(measured, 0) == "exact"
    assert source(measured, 0, "interrupts") == "derived"
    first = measured.readings[0].adapters["SLOT 3 Port 1"]
    assert first.queues["received_frames"] == [0, 0, 0]
    assert measured.readings[-1].sim_time_ns == 2_000_000_000
    assert measured.readings[-1].adapters["SLOT 3 Port 1"].port["offered_frames"] == 8200


def test_bytes_are_frames_of_the_mean_size_that_the_virtual_adapters_received(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    for sample in document["samples"]:
        for row in sample["tables"][VNICS]:  # frames between VMs are counted there, too
            row |= {key: 3 * row[key] for key in ("PacketsReceivedPersec", "BytesReceivedPersec")}
    measured = read(tmp_path, document)
    bytes_ = [one.adapters["SLOT 3 Port 1"].queues["received_bytes"] for one in measured.readings]
    assert bytes_ == [[0, 0, 0], [None, 100_000, 900_000], [None, 200_000, 1_800_000]]
    assert source(measured, 0, "received_bytes") == "derived"


def test_what_virtual_adapters_without_a_queue_received_is_of_the_default_queue(tmp_path: Path) -> None:
    sample = WindowsHostSample(vms=6, weights={2: 0, 5: 100})
    document = sample.document()
    measured = read(tmp_path, document)
    stats = measured.readings[-1].adapters["SLOT 3 Port 1"]
    pairs = stats.default_queue_top
    assert pairs is not None
    assert (pairs.mac, pairs.vlan) == (["00:15:5d:00:00:06", "00:15:5d:00:00:03"], ["untagged"] * 2)
    assert (pairs.frames, {*pairs.reason}) == ([12_000, 6_000], {"no_queue"})
    assert source(measured, 0, "default_queue_top") == "guessed"  # by which member they came is not told
    weights = {port.vm: port.vmq_weight for port in measured.config.adapters[0].ports}
    assert (weights["vm-2"], weights["vm-5"], weights["vm-0"], weights["Management"]) == (0, 100, 100, None)
    document["tables"]["Get-VMSwitch"] = [
        {"Name": "Converged", "NetAdapterInterfaceDescriptions": [sample.adapter(0)[1]]}
    ]
    alone = read(tmp_path, document)
    pairs = alone.readings[-1].adapters["SLOT 3 Port 1"].default_queue_top
    assert pairs is not None
    assert pairs.frames == [6_200, 6_000]  # the default queue received no more than 6,200
    assert source(alone, 0, "default_queue_top") == "derived"
    flows = make_twin(alone).text
    assert re.search(r'mac = "00:15:5d:00:00:06", weight = .* # derived: default queue, 3,100', flows)


def test_queues_that_share_a_processor_have_what_their_virtual_adapters_received(tmp_path: Path) -> None:
    measured = read(tmp_path, WindowsHostSample(shared=1).document())
    assert received(measured, 0) == {"default": 200, "vm-0": 2000, "vm-2": 6000}
    assert source(measured, 0) == "derived"


def test_what_queues_that_share_a_processor_received_is_unknown_without_virtual_adapters(
    tmp_path: Path,
) -> None:
    document = WindowsHostSample(shared=1).document()
    for sample in document["samples"]:
        sample["tables"][VNICS] = []
    measured = read(tmp_path, document)
    assert received(measured, 0) == {"default": 200, "vm-0": None, "vm-2": None}
    assert source(measured, 0) == "exact"
    assert any(
        "SLOT 3 Port 1: what 2 of its 3 queues received is not known" in one for one in measured.remarks
    )


@pytest.mark.parametrize(
    ("table", "cells"),
    [
        ("Get-VMSwitch", {"DefaultQueueVmmqEnabled": True, "DefaultQueueVmmqQueuePairs": 16}),
        ("Get-VMNetworkAdapter", {"VmmqEnabled": True, "VmmqQueuePairs": 16}),
        ("Get-NetAdapterVPort", {"Name": "SLOT 3 Port 1", "VPortID": 0, "NumQueuePairs": 4}),
    ],
)
def test_with_vmmq_a_processor_tells_of_no_queue_alone(
    tmp_path: Path, table: str, cells: dict[str, Any]
) -> None:
    document = WindowsHostSample("2019").document()
    rows = document["tables"][table]
    rows.append({**(rows.pop() if rows else {}), **cells})
    measured = read(tmp_path, document)
    assert received(measured, 0) == {"default": None, "vm-0": 2000, "vm-2": 6000}
    assert source(measured, 0) == "derived"
    assert any("VMMQ may spread queues of SLOT 3 Port 1" in one for one in measured.remarks)


def test_one_queue_pair_is_a_queue_like_any(tmp_path: Path) -> None:
    document = WindowsHostSample("2019").document()
    for row in document["tables"]["Get-VMNetworkAdapter"]:
        row |= {"VmmqEnabled": True, "VmmqQueuePairs": 1}
    assert source(read(tmp_path, document), 0) == "exact"


def test_a_queue_that_moved_between_samples_has_what_its_virtual_adapter_received(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    for number, sample in enumerate(document["samples"]):
        rows = json.loads(json.dumps(document["tables"][QUEUES]))
        rows[1]["ProcessorAffinityMask"] = 1 << (2 if number < 2 else 6)
        sample["tables"][QUEUES] = rows
    measured = read(tmp_path, document)
    assert received(measured, 0)["vm-0"] == 2000
    assert source(measured, 0) == "derived"


def test_a_queue_of_several_processors_and_those_of_one_mac_on_two_adapters_are_unknown(
    tmp_path: Path,
) -> None:
    document = WindowsHostSample(lbfo="Lacp/Dynamic", release="2012 R2").document()
    rows = document["tables"][QUEUES]
    rows[1]["ProcessorAffinityMask"] = 0b10100
    rows[4]["FilterList"] = rows[1]["FilterList"]
    rows[4]["ProcessorAffinityMask"] = rows[3]["ProcessorAffinityMask"]
    measured = read(tmp_path, document)
    assert received(measured, 0)["vm-0"] is None
    assert received(measured, 1)["vm-0"] is None  # named by its filter's MAC
    assert (
        received(measured, 0)["vm-2"] == 6000
    )  # of its virtual adapter: vm-0's queue may be on its processor


def test_what_windows_has_no_counter_of_is_unknown_and_not_zero(tmp_path: Path) -> None:
    stats = read(tmp_path, WindowsHostSample().document()).readings[-1].adapters["SLOT 3 Port 1"]
    for name in ("steered_frames", "dropped_no_buffer", "pending", "free_buffers", "dpcs", "latency_p99_ns"):
        assert set(stats.queues[name]) == {None}, name
    assert set(stats.default_queue.values()) == {None}
    assert stats.interface is not None
    assert stats.interface["interface_dropped_frames"] == 0


def test_processors_are_busy_with_dpcs_and_interrupts(tmp_path: Path) -> None:
    stats = read(tmp_path, WindowsHostSample().document()).readings[-1]
    assert set(stats.cpus["busy_cycles"]) == {500_000_000}
    assert set(stats.cpus["budget_cycles"]) == {2_000_000_000}
    assert stats.cpus["indicated_frames"][2] == 2000
    assert stats.sources is not None
    assert stats.sources["busy_cycles"] == "exact"
    assert "down" not in stats.sources


def test_virtual_ports_are_queues_where_an_adapter_has_them(tmp_path: Path) -> None:
    document = WindowsHostSample("2022", vports=True).document()
    name = WindowsHostSample.adapter(0)[0]
    function = {"Name": name, "VPortID": 9, "FunctionID": 0, "FilterList": []}
    document["tables"]["Get-NetAdapterVPort"].append(function)
    measured = read(tmp_path, document)
    assert [(one.queue_id, one.vm, one.cpu) for one in measured.config.adapters[0].queues] == [
        (0, None, 0),
        (1, "vm-0", 2),
        (2, "vm-2", 4),
    ]
    assert received(measured, 0)["vm-2"] == 6000
    assert any("1 virtual port of SR-IOV functions" in one for one in measured.remarks)


@pytest.mark.parametrize(
    ("lbfo", "mode"),
    [
        ("SwitchIndependent/HyperVPort", "sum"),
        ("SwitchIndependent/Dynamic", "sum"),
        ("SwitchIndependent/TransportPorts", "primary"),
        ("SwitchIndependent/MacAddresses", "primary"),
        ("Static/Dynamic", "min"),
        ("Lacp/HyperVPort", "min"),
        ("1/4", "sum"),
        ("2/0", "min"),
    ],
)
def test_a_team_counts_queues_as_its_teaming_and_balancing_have_it(
    tmp_path: Path, lbfo: str, mode: str
) -> None:
    measured = read(tmp_path, WindowsHostSample("2012 R2", lbfo=lbfo).document())
    config = measured.config
    said = any("which member is the primary is not told" in one for one in measured.remarks)
    assert said == (mode == "primary")
    assert {one.team_mode for one in config.adapters} == {mode}
    ports = [[port.vm for port in one.ports] for one in config.adapters]
    everywhere = ["Management", "vm-0", "vm-1", "vm-2", "vm-3"]
    assert ports == (
        [["Management", "vm-0", "vm-2"], ["vm-1", "vm-3"]] if mode == "sum" else [everywhere] * 2
    )


def test_a_trunk_is_a_port_of_each_vlan_and_of_its_native_one(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    rows = document["tables"]["Get-VMNetworkAdapterVlan"]
    rows[1] |= {"OperationMode": "Trunk", "NativeVlanId": 0, "AllowedVlanIdListString": "5,20-22"}
    assert [one.vlan for one in first_adapter(tmp_path, document).ports if one.vm == "vm-0"] == [
        "untagged",
        5,
        20,
        21,
        22,
    ]
    rows[1] |= {"NativeVlanId": 5, "AllowedVlanIdListString": "1-4094"}
    measured = read(tmp_path, document)
    assert [one.vlan for one in measured.config.adapters[0].ports if one.vm == "vm-0"] == [None]
    assert any("a trunk of 4,094 VLANs" in one for one in measured.remarks)


def test_adapters_of_vms_that_do_not_run_are_no_ports(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    document["tables"]["Get-VM"][0]["State"] = "Off"
    document["tables"]["Get-VMNetworkAdapter"][3]["MacAddress"] = "000000000000"
    measured = read(tmp_path, document)
    assert [one.vm for one in measured.config.adapters[0].ports] == ["Management"]
    assert "1 adapter of VMs that do not run are left out" in measured.remarks


def test_a_link_below_ten_gigabits_has_no_queues_for_vms_unless_the_registry_says_so(tmp_path: Path) -> None:
    document = WindowsHostSample("2012 R2", link_gbps=1).document()
    assert any("BelowTenGigVmqEnabled" in one for one in read(tmp_path, document).remarks)
    document["tables"]["VMSMP"] = [{"BelowTenGigVmqEnabled": 1}]
    assert not any("BelowTenGigVmqEnabled" in one for one in read(tmp_path, document).remarks)


def test_a_host_of_two_groups_has_processors_of_both_and_its_frames_are_guessed(tmp_path: Path) -> None:
    """How counters number the processors of several groups is documented nowhere."""
    document = WindowsHostSample(cores=40, nodes=2).document()
    measured = read(tmp_path, document)
    names = [cpu.name for cpu in measured.config.cpus]
    assert (names[39], names[40], names[-1]) == ("0:39", "1:0", "1:39")
    assert [one.cpu for one in measured.config.adapters[1].queues] == [40, 42, 44]
    assert received(measured, 1) == {"default": 200, "vm-1": 4000, "vm-3": 8000}
    assert source(measured, 1) == "guessed"
    assert any("groups" in one for one in measured.remarks)


def test_the_twin_of_a_host_says_how_sizes_of_frames_are_known(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_bytes(WindowsHostSample().json())
    text = make_twin(read_measured(tmp_path / "host.json")).text
    (line,) = (line for line in text.splitlines() if "00:15:5d:00:00:03" in line and "weight" in line)
    assert "weight = 3000.0, frame_bytes = 300 }" in line
    assert "# derived: queue 2 (vm-2), 3,000 frames/s" in line
    assert "size: that of its virtual adapters' frames" in line


def test_numa_nodes_are_those_of_the_counters_where_the_cmdlet_tells_no_sizes(tmp_path: Path) -> None:
    document = WindowsHostSample(nodes=4).document()
    for row in document["tables"]["Get-VMHostNumaNode"]:
        row["ProcessorsAvailability"] = None
    measured = read(tmp_path, document)
    assert [cpu.numa_node for cpu in measured.config.cpus][3:5] == [0, 1]
    assert measured.remarks == ()
    for sample in document["samples"]:
        sample["tables"][PROCESSORS] = []
    measured = read(tmp_path, document)
    assert [cpu.numa_node for cpu in measured.config.cpus][3:5] == [0, 1]
    assert any("of 4 NUMA nodes is not told: even parts are assumed" in one for one in measured.remarks)


# --- what is missing, old or hostile ----------------------------------------------------------------


def test_a_configuration_without_samples_has_one_reading_of_unknown_counters(tmp_path: Path) -> None:
    document = {**WindowsHostSample().document(), "samples": []}
    measured = read(tmp_path, document)
    (reading,) = measured.readings
    assert reading.time_ns == 1_790_000_000_000_000_000
    assert set(reading.adapters["SLOT 3 Port 1"].queues["received_frames"]) == {None}
    assert any("no two samples" in one for one in measured.remarks)


@pytest.mark.parametrize("table", sorted(WindowsHostSample("2012 R2").configuration()))
def test_a_host_of_which_a_table_is_missing_is_read_all_the_same(tmp_path: Path, table: str) -> None:
    document = WindowsHostSample("2012 R2").document()
    del document["tables"][table]
    document["errors"] = [{"name": table, "message": "CommandNotFoundException (ObjectNotFound)"}]
    measured = read(tmp_path, document)
    assert len(measured.config.adapters) == 2
    assert f"{table} failed on the host: CommandNotFoundException (ObjectNotFound)" in measured.remarks


def test_a_cmdlet_that_found_no_object_did_not_fail(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    found_none = "CmdletizationQuery_NotFound,Get-NetAdapterVPort (ObjectNotFound)"
    document["errors"] = [{"name": "Get-NetAdapterVPort", "message": found_none}]
    assert read(tmp_path, document).remarks == ()


def test_nothing_but_a_schema_is_a_host_of_which_nothing_is_known(tmp_path: Path) -> None:
    measured = read(tmp_path, {"schema": "vmq.windows/1"})
    assert measured.config.adapters == []
    assert measured.config.windows is None
    assert measured.remarks


def test_properties_that_an_older_release_lacks_are_unknown(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    for key in ("MaxProcessors", "NumberOfReceiveQueues", "MaxProcessorNumber"):
        document["tables"]["Get-NetAdapterVmq"][0][key] = None
    del document["tables"]["Get-NetAdapter"][0]["DriverMajorNdisVersion"]
    document["tables"]["Get-NetAdapter"][0]["ReceiveLinkSpeed"] = (1 << 64) - 1
    adapter = first_adapter(tmp_path, document)
    assert (adapter.max_processors, adapter.max_queues, adapter.max_processor) == (None, None, None)
    assert (adapter.ndis_version, adapter.link_gbps) == (None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_json_is_read_in_each_encoding_that_powershell_writes(tmp_path: Path, encoding: str) -> None:
    document = WindowsHostSample(name="HV-Zürich").document()
    measured = read(tmp_path, json.dumps(document, ensure_ascii=False), encoding)
    assert measured.config.host == "HV-Z-rich"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "vmq.windows/1", "tables": {"Get-', "was cut off"),
        ('{"schema": "vmq.windows/2"}', "is JSON of schema 'vmq.windows/2'"),
        ('{"tables": {}}', "not of the script"),
        ('{"schema": "vmq.windows/1", "tables": 5}', "not of the script"),
        ('{"schema": "vmq.windows/1", "tables": {"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"schema": "vmq.windows/1",, }', "looks like damaged JSON"),
        ('{"schema": "vmq.windows/1", "samples": [' + "1," * (1 << 22), "values"),
        ('{"schema": "vmq.windows/1", "\ud800', "neither UTF-8 nor UTF-16"),
    ],
    ids=["cut", "schema", "other", "no tables", "deep", "damaged", "many values", "encoding"],
)
def test_a_file_that_is_no_such_json_is_refused_with_what_it_looks_like(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SourceError, match=re.escape(words)) as caught:
        read(tmp_path, text, "utf-8")
    assert "host.json" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_that_ends_within_a_character_was_cut_off(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "host.json"
    path.write_bytes('{"schema": "vmq.windows/1", "host": "Zü'.encode(encoding)[:-1])
    with pytest.raises(SourceError, match="was cut off"):
        read_measured(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no mark", "mark"])
def test_a_file_whose_encoding_is_damaged_within_a_character_is_refused(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "host.json"
    for before in range(7, 13):
        path.write_bytes(mark + b'{"schema": "vmq'[:before] + b"\xc2\x80\x80" + b'.windows/1", "host": 1}')
        with pytest.raises(SourceError, match=re.escape(str(path))):
            read_measured(path)


def test_cells_of_another_type_are_left_out_and_named(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    document["tables"]["Get-NetAdapterVmq"][0] |= {
        "MaxProcessors": "\x1b[31mmany",
        "Enabled": 7,
        "NumaNode": -1,
    }
    document["tables"][QUEUES][1] |= {"QueueID": [1], "FilterList": "\x07"}
    document["tables"][QUEUES][2]["FilterList"] = [
        5,
        {"MacAddress": "zz"},
        {"MacAddress": "00-00-00-00-00-00"},
    ]
    document["tables"]["Get-VMSwitch"] = 5
    document["tables"]["Get-VMNetworkAdapter"] = [None, "x", {"IsManagementOs": 9}]
    measured = read(tmp_path, document)
    adapter = measured.config.adapters[0]
    assert (adapter.vmq, adapter.max_processors, adapter.preferred_numa_node) == (None, None, None)
    assert [one.queue_id for one in adapter.queues] == [0, 2]
    assert adapter.filters == []
    said = "\n".join(measured.remarks)
    for words in ("MaxProcessors", "a Enabled is '7'", "a queue without an id", "Get-VMSwitch: is no table"):
        assert words in said
    assert said.isprintable() or set(said) - {"\n"} == {one for one in said if one.isprintable()}


def test_samples_out_of_order_and_counters_that_go_back_give_no_negative_rate(tmp_path: Path) -> None:
    document = WindowsHostSample(seconds=5).document()
    samples = document["samples"]
    samples[1]["time_ms"] = samples[0]["time_ms"]
    for sample in samples[3:]:
        for row in sample["tables"][ACTIVITY]:
            row["ReceivedPacketsPersec"] -= 5000
    for row in samples[3]["tables"][PROCESSORS]:
        row["PercentDPCTime"] = 0
    measured = read(tmp_path, document)
    assert len(measured.readings) == 4
    for before, now in zip(measured.readings, measured.readings[1:], strict=False):
        for name, cells in now.cpus.items():
            assert all(
                a is None or b is None or a <= b for a, b in zip(before.cpus[name], cells, strict=True)
            )
    assert received(measured, 0)["vm-0"] == 4000
    assert source(measured, 0) == "derived"


def test_tables_and_remarks_are_bounded(tmp_path: Path) -> None:
    document = WindowsHostSample().document()
    document["tables"]["Get-VM"] = [{}] * (MAX_ROWS + 1)
    document["tables"]["Get-VMSwitch"] = [
        {"Name": f"switch {n}", "NetAdapterInterfaceDescriptions": [f"none {n}"]} for n in range(500)
    ]
    measured = read(tmp_path, document)
    assert len(measured.remarks) == 101
    assert "more remarks are left out" in measured.remarks[-1]


def test_texts_and_samples_are_bounded(tmp_path: Path) -> None:
    document = WindowsHostSample(name="h" * 300).document()
    document["samples"] = [{"time_ms": 1 + number} for number in range(MAX_SAMPLES + 1)]
    document["errors"] = [{"name": "e" * 300, "message": ""}]
    measured = read(tmp_path, document)
    assert len(measured.readings) == MAX_SAMPLES
    assert measured.remarks[0] == "e" * 256 + " failed on the host: no message"
    assert f"samples after the first {MAX_SAMPLES} are left out" in measured.remarks


def test_a_json_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    with path.open("wb") as file:
        file.write(b'{"schema": "vmq.windows/1"}')
        file.truncate(LIMIT_BYTES + 1)
    with pytest.raises(SourceError, match="larger than 64 MiB"):
        read_measured(path)


# --- the script -------------------------------------------------------------------------------------

ALLOWED = {"ConvertTo-Json", "ForEach-Object", "New-Object", "Select-Object", "Start-Sleep", "Where-Object"}


def _nodes(node: Any) -> list[Any]:
    return [node, *(one for child in node.children for one in _nodes(child))]


@pytest.fixture(scope="module")
def parsed() -> list[Any]:
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return _nodes(tree_sitter.Parser(language).parse(script().encode("ascii")).root_node)


def test_the_script_parses_as_powershell(parsed: list[Any]) -> None:
    assert [(one.start_point, one.text[:60]) for one in parsed if one.type == "ERROR" or one.is_missing] == []


def test_the_script_only_gets_and_prints(parsed: list[Any]) -> None:
    commands = {one.text.decode() for one in parsed if one.type == "command_name"}
    assert {one for one in commands if not one.startswith("Get-")} <= ALLOWED
    for banned in ("Invoke", "Set-", "Add-Type", "iex", "Out-File", "IPAddress", "UserName", "Credential"):
        assert banned not in script(), banned


def test_the_script_collects_every_table_that_is_read(parsed: list[Any]) -> None:
    text = script()
    for table in [*WindowsHostSample("2012 R2").configuration(), *WindowsHostSample().sample(0)]:
        assert f"'{table}'" in text, table
    document = WindowsHostSample("2012 R2").document()
    for tables in (document["tables"], document["samples"][0]["tables"]):
        for rows in tables.values():
            for key in {key for row in rows for key in row}:
                assert f"'{key}'" in text, key
