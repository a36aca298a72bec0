"""Folders and zips of Get-NetView: what they tell of a host, and what hostile ones do not do."""

import struct
import zipfile
from pathlib import Path

import msgspec
import pytest

from engine.measure import netview as reading
from engine.measure.host import MeasuredHost, SourceError
from engine.measure.netview import format_lists
from engine.measure.sources import read_measured
from tests.netview import netview, write_folder, write_zip
from tests.windows_hosts import BUILDS, WindowsHostSample


def read(tmp_path: Path, files: dict[str, str], encoding: str = "cp1252") -> MeasuredHost:
    return read_measured(write_folder(tmp_path / "msdbg.HV01", files, encoding))


def received(measured: MeasuredHost, adapter: int) -> dict[str, int | None]:
    config = measured.config.adapters[adapter]
    queues = measured.readings[-1].adapters[config.name].queues
    return dict(zip((one.name for one in config.queues), queues["received_frames"], strict=True))


@pytest.mark.parametrize("release", BUILDS)
def test_a_folder_tells_what_the_json_of_the_same_host_does(tmp_path: Path, release: str) -> None:
    sample = WindowsHostSample(release)
    (tmp_path / "host.json").write_bytes(sample.json())
    of_json = read_measured(tmp_path / "host.json").config
    measured = read(tmp_path, netview(sample))
    assert msgspec.to_builtins(measured.config) == msgspec.to_builtins(of_json)
    assert set(measured.remarks) >= {
        "SLOT 3 Port 1: filters are cut off; those of a VM's only adapter are assumed for its queue",
        "counters are rates, in 3 samples; times are the host's local ones",
    }


def test_a_zip_with_backslashes_in_its_names_is_the_same_as_its_folder(tmp_path: Path) -> None:
    files = netview(WindowsHostSample())
    of_folder = read(tmp_path, files)
    of_zip = read_measured(write_zip(tmp_path / "msdbg.zip", files))
    assert msgspec.to_builtins(of_zip.config) == msgspec.to_builtins(of_folder.config)
    assert of_zip.readings[-1].adapters.keys() == of_folder.readings[-1].adapters.keys()


def test_queues_have_the_rates_of_their_virtual_adapters_and_nothing_counts_by_processor(
    tmp_path: Path,
) -> None:
    measured = read(tmp_path, netview(WindowsHostSample()))
    assert received(measured, 0) == {"default": None, "vm-0": 2000, "vm-2": 6000}
    stats = measured.readings[-1].adapters["SLOT 3 Port 1"]
    assert stats.sources == {
        "received_frames": "derived",
        "received_bytes": "derived",
        "offered_frames": "derived",
        "offered_bytes": "derived",
        "interface_dropped_frames": "derived",
    }
    assert stats.queues["received_bytes"] == [None, 200_000, 1_800_000]
    assert stats.port["offered_frames"] == 8200
    assert stats.interface is not None
    assert stats.interface["interface_dropped_frames"] == 0
    assert set(measured.readings[-1].cpus["busy_cycles"]) == {None}
    assert measured.readings[-1].sim_time_ns == 2_000_000_000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_files_are_read_in_each_encoding_that_powershell_writes(tmp_path: Path, encoding: str) -> None:
    measured = read(tmp_path, netview(WindowsHostSample()), encoding)
    assert [one.name for one in measured.config.adapters] == ["SLOT 3 Port 1", "SLOT 3 Port 2"]


def test_names_beyond_ascii_are_read_as_windows_writes_them(tmp_path: Path) -> None:
    files = {
        name: text.replace("SLOT 3 Port 1", "Büro 1") for name, text in netview(WindowsHostSample()).items()
    }
    assert read(tmp_path, files).config.adapters[0].name == "Büro 1"


def test_a_block_of_format_list_is_names_and_values_and_lines_that_go_on() -> None:
    text = "Header\n------\n\nName    : Ethernet 2\nMembers : {a,\n          b}\nEmpty   :\n\nName : x : y\n"
    assert format_lists(text) == [
        {"Name": "Ethernet 2", "Members": "{a,b}", "Empty": ""},
        {"Name": "x : y"},
    ]


def test_filters_are_read_where_the_text_has_their_macs(tmp_path: Path) -> None:
    files = netview(WindowsHostSample())
    name = next(name for name in files if "pNIC.0" in name and name.endswith("VmqQueue.txt"))
    shown = '{MSFT_NetAdapter_VmqFilter (MacAddress = "00-15-5D-00-00-09", VlanID = 7)}'
    files[name] = files[name].replace("{MSFT_NetAdapter_VmqFilter}", shown, 1)
    filters = read(tmp_path, files).config.adapters[0].filters
    assert [(one.mac, one.vlan) for one in filters] == [
        ("00:15:5d:00:00:09", 7),
        ("00:15:5d:00:00:03", "untagged"),
    ]


# --- missing, cut, hostile --------------------------------------------------------------------------


def test_a_folder_of_which_files_are_missing_or_cut_is_read_all_the_same(tmp_path: Path) -> None:
    files = netview(WindowsHostSample("2012 R2"))
    for kind in sorted({Path(name).name for name in files}):
        without = {name: text for name, text in files.items() if Path(name).name != kind}
        assert read(tmp_path / f"without {kind}", without).config.adapters, kind
        cut = {name: text if name in without else text[: len(text) * 2 // 3] for name, text in files.items()}
        assert read(tmp_path / f"cut {kind}", cut).config.adapters, kind


def test_counters_of_another_language_are_named_as_such(tmp_path: Path) -> None:
    files = netview(WindowsHostSample())
    translated = files["Counters/CounterDetail.csv"].replace("Packets Received", "Empfangene Pakete")
    files["Counters/CounterDetail.csv"] = translated.replace("Bytes Received", "Empfangene Bytes")
    measured = read(tmp_path, files)
    assert any("translated on a Windows of another language" in one for one in measured.remarks)
    assert received(measured, 0) == {"default": None, "vm-0": None, "vm-2": None}


def test_a_csv_that_is_cut_or_odd_gives_what_is_whole(tmp_path: Path) -> None:
    files = netview(WindowsHostSample(seconds=5))
    lines = files["Counters/CounterDetail.csv"].splitlines()
    lines[2] = lines[2].replace('"1000.000000"', '" "')
    lines[3] = "no time" + lines[3][3:]
    lines[5] = lines[5][:60]
    files["Counters/CounterDetail.csv"] = "\r\n".join(lines)
    measured = read(tmp_path, files)
    assert received(measured, 0) == {"default": None, "vm-0": None, "vm-2": 9000}
    assert sum("a line that is cut or has no time" in one for one in measured.remarks) == 1


def test_a_folder_or_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a directory without a file of Get-NetView"):
        read_measured(write_folder(tmp_path / "other", {"notes.txt": "x"}))
    with pytest.raises(SourceError, match="a zip without a file of Get-NetView"):
        read_measured(write_zip(tmp_path / "other.zip", {"notes.txt": "x"}))


def test_a_zip_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", netview(WindowsHostSample()))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="looks like a zip that was cut off"):
        read_measured(path)


def test_a_file_of_a_zip_that_is_damaged_or_encrypted_is_left_out(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", netview(WindowsHostSample()))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        damaged, encrypted = archive.infolist()[0], archive.infolist()[1]
    data[damaged.header_offset + 30 + len(damaged.filename) + 5] ^= 0xFF
    at = data.rfind(encrypted.filename.encode())
    data[at - 38] |= 1
    data[encrypted.header_offset + 6] |= 1
    path.write_bytes(data)
    remarks = read_measured(path).remarks
    assert sum("can't be unpacked" in one for one in remarks) == 2


def test_a_zip_bomb_is_read_as_far_as_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILE_LIMIT_BYTES", 1 << 16)
    monkeypatch.setattr(reading, "READ_LIMIT_BYTES", 1 << 18)
    files = netview(WindowsHostSample())
    bombs = {f"{n}/Get-VM.txt": "\0" * (1 << 22) for n in range(8)}
    measured = read_measured(write_zip(tmp_path / "bomb.zip", {**files, **bombs}))
    assert any("is larger than 0 MiB" in one for one in measured.remarks)
    assert any("files after the first" in one for one in measured.remarks)


def test_a_zip_with_an_endless_list_of_files_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, 1 << 30, 0, 0)
    path.write_bytes(b"PK\x03\x04" + bytes(100) + end)
    with pytest.raises(SourceError, match="a zip with a list of files of 1024 MiB"):
        read_measured(path)


def test_no_file_outside_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = WindowsHostSample()
    outside = write_folder(tmp_path / "outside", netview(sample))
    inside = write_folder(tmp_path / "inside", {"a/Get-NetAdapterVmq.txt": "Name : Ethernet\n"})
    (inside / "linked").symlink_to(outside)
    (inside / "a/Get-VMHostNumaNode.txt").symlink_to(outside / "VMHost/Get-VMHostNumaNode.txt")
    assert [one.name for one in read_measured(inside).config.adapters] == ["Ethernet"]
    monkeypatch.chdir(tmp_path)
    traversing = write_zip(tmp_path / "a.zip", {"../../Get-NetAdapterVmq.txt": "Name : Ethernet\n"})
    before = sorted(tmp_path.rglob("*"))
    assert [one.name for one in read_measured(traversing).config.adapters] == ["Ethernet"]
    assert sorted(tmp_path.rglob("*")) == before


def test_files_and_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LINES_LIMIT", 4)
    assert len(format_lists("a : 1\n\n" * 10)) == 2
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3)
    files = netview(WindowsHostSample())
    assert any("files after the first 3" in one for one in read(tmp_path, files).remarks)
    with pytest.raises(SourceError, match="more than 3 files"):
        read_measured(write_zip(tmp_path / "a.zip", files))


def test_columns_of_counters_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COLUMNS_LIMIT", 2)
    measured = read(tmp_path, netview(WindowsHostSample()))
    assert received(measured, 0) == {"default": None, "vm-0": 2000, "vm-2": None}
