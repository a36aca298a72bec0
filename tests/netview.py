"""A folder of Get-NetView of a constructed Windows host, laid out as that collector does (2025.2.26).

Constructed from the documented properties, as ``tests.windows_hosts`` is. ``Format-List`` prints no cells of
a queue's filters, and the first four of a long list.
"""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

from tests.windows_hosts import VNICS, WindowsHostSample

USER = "admin"


def format_list(rows: list[dict[str, Any]]) -> str:
    """What ``Format-List -Property *`` prints."""
    blocks = []
    for row in rows:
        width = max(map(len, row), default=0)
        blocks.append("\n".join(f"{key:{width}} : {_shown(value)}".rstrip() for key, value in row.items()))
    return "\n\n".join(["", *blocks, "", ""])


def _shown(value: Any) -> str:
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "{" + ", ".join("MSFT_NetAdapter_VmqFilter" for _ in value) + "}"
        return "{" + ", ".join(map(str, value[:4])) + ("..." if len(value) > 4 else "") + "}"
    return "" if value is None else str(value)


def command(host: str, line: str, output: str) -> str:
    """A command as the collector writes it."""
    return f"{USER} @ {host}:\nPS C:\\> {line}\n{output}"


def netview(sample: WindowsHostSample) -> dict[str, str]:
    """The files of a folder, by name."""
    tables = sample.document()["tables"]
    switch = "VMSwitch.1.External.Converged"
    files: dict[str, str] = {}

    def put(folder: str, cmdlet: str, rows: list[dict[str, Any]]) -> None:
        text = command(sample.name, cmdlet, "\nName  A table for the screen\n----  ------\nx  : y\n\n")
        files[f"{folder}/{cmdlet}.txt"] = text + command(
            sample.name, f"{cmdlet} | Format-List -Property *", format_list(rows)
        )

    for index, row in enumerate(tables["Get-NetAdapter"]):
        name = row["Name"]
        folder = f"{switch}/pNIC.{index}.{name}.{row['InterfaceDescription']}"
        for cmdlet in (
            "Get-NetAdapter",
            "Get-NetAdapterVmq",
            "Get-NetAdapterVmqQueue",
            "Get-NetAdapterVPort",
        ):
            put(folder, cmdlet, [one for one in tables[cmdlet] if one["Name"] == name])
        for cmdlet in ("Get-NetAdapterHardwareInfo", "Get-NetAdapterAdvancedProperty", "Get-NetAdapterRss"):
            put(folder, cmdlet, [one for one in tables[cmdlet] if one["Name"] == name])
    put(switch, "Get-VMSwitch", tables["Get-VMSwitch"])
    for team in tables["Get-NetLbfoTeam"]:
        put(f"LBFO.{team['Name']}", "Get-NetLbfoTeam", [team])
        put(f"LBFO.{team['Name']}", "Get-NetLbfoTeamNic", tables["Get-NetLbfoTeamNic"])
    for number, (vnic, vlan) in enumerate(
        zip(tables["Get-VMNetworkAdapter"], tables["Get-VMNetworkAdapterVlan"], strict=True)
    ):
        folder = (
            f"{switch}/hNIC.{number}" if vnic["IsManagementOs"] else f"{switch}/VM.{number}.vm/VMNic.{number}"
        )
        put(folder, "Get-VMNetworkAdapter", [vnic])
        put(folder, "Get-VMNetworkAdapterVlan", [{key: vlan[key] for key in vlan if key != "AdapterId"}])
    for number, vm in enumerate(tables["Get-VM"]):
        put(f"{switch}/VM.{number + 1}.vm", "Get-VM", [vm])
    put("VMHost", "Get-VMHostNumaNode", tables["Get-VMHostNumaNode"])
    files["VMSwitch.Detail/VmspRegistry.txt"] = command(sample.name, "Get-ChildItem HKLM:\\SYSTEM", "\n")
    build = tables["Win32_OperatingSystem"][0]["BuildNumber"]
    version = "6.3" if int(build) < 10000 else "10.0"
    files["_Localhost/Environment.txt"] = command(
        sample.name,
        'Get-CimInstance "Win32_Processor" | Format-List -Property *',
        format_list(tables["Win32_Processor"]),
    ) + command(
        sample.name,
        "systeminfo",
        f"Host Name:  {sample.name}\nOS Version:  {version}.{build} N/A Build {build}\n",
    )
    files["Counters/CounterDetail.csv"] = counters(sample)
    return files


def counters(sample: WindowsHostSample) -> str:
    """What typeperf writes: rates of virtual adapters and of physical ones."""
    header = ["(PDH-CSV 4.0)"]
    values: list[str] = []
    for vm, row in enumerate(sample.sample(0)[VNICS]):
        header.append(
            f"\\\\{sample.name}\\Hyper-V Virtual Network Adapter({row['Name']})\\Packets Received/sec"
        )
        values.append(f"{sample.frames(vm):.6f}")
        header.append(
            f"\\\\{sample.name}\\Hyper-V Virtual Network Adapter({row['Name']})\\Bytes Received/sec"
        )
        values.append(f"{sample.frames(vm) * 100 * (vm + 1):.6f}")
    for number in (0, 1):
        total = 100 + sum(sample.frames(vm) for vm in range(sample.vms) if sample.adapter_of(vm) == number)
        described = sample.adapter(number)[1].replace("(", "[").replace(")", "]").replace("#", "_")
        for counter, value in (
            ("Packets Received Unicast/sec", total),
            ("Packets Received Non-Unicast/sec", 0),
            ("Bytes Received/sec", 1000 * total),
            ("Packets Received Discarded", 3),
            ("Packets Sent/sec", 1),
        ):
            header.append(f"\\\\{sample.name}\\Network Adapter({described})\\{counter}")
            values.append(f"{value:.6f}")
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(header)
    for second in range(sample.seconds):
        writer.writerow([f"09/21/2026 14:13:{20 + second:02}.125", *values])
    return out.getvalue()


def write_folder(folder: Path, files: dict[str, str], encoding: str = "cp1252") -> Path:
    """Write the files of a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding=encoding, newline="")
    return folder


def write_zip(path: Path, files: dict[str, str]) -> Path:
    """Write the files as a zip, as .NET Framework does on Windows: with backslashes in names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("/", "\\"), text)
    return path
