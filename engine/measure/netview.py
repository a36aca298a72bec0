"""A folder or zip of Get-NetView, Microsoft's collector, read as the tables of a Windows host.

Files bear the name of a cmdlet and stand in folders by switch, adapter and virtual machine. Only
``Format-List`` blocks are read: tables for the screen cut names. ``Counters/CounterDetail.csv`` has five
seconds of rates as typeperf writes them, whose names are translated on a Windows of another language; nothing
counts by processor in it. Nothing is extracted: what is read is bounded, and links are not followed.
"""

import csv
import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.counted import counted
from engine.measure.host import SourceError
from engine.measure.windows_counters import ADAPTER_COUNTERS, PORT_COUNTERS, VNIC_COUNTERS
from engine.measure.windows_parts import PROCESSOR_COUNTERS
from engine.measure.windows_tables import (
    MAX_SAMPLES,
    Remarks,
    Sample,
    WindowsTables,
    decode_text,
    printable,
    tables_by_name,
)

MAX_ENTRIES: Final = 100_000
"""Limit of files of a folder or zip that are looked at."""
FILE_LIMIT_BYTES: Final = 16 << 20
"""Limit of a text that is read; of a larger one the beginning is."""
READ_LIMIT_BYTES: Final = 256 << 20
"""Limit of all texts together, as they are when unpacked."""
DIRECTORY_LIMIT_BYTES: Final = 32 << 20
"""Limit of a zip's own list of files."""
LINES_LIMIT: Final = 1 << 16
"""Limit of lines of a text."""
_TABLES: Final = (
    "Get-NetAdapter",
    "Get-NetAdapterAdvancedProperty",
    "Get-NetAdapterHardwareInfo",
    "Get-NetAdapterRss",
    "Get-NetAdapterVmq",
    "Get-NetAdapterVmqQueue",
    "Get-NetAdapterVPort",
    "Get-NetLbfoTeam",
    "Get-NetLbfoTeamNic",
    "Get-VM",
    "Get-VMHostNumaNode",
    "Get-VMNetworkAdapter",
    "Get-VMNetworkAdapterVlan",
    "Get-VMSwitch",
)
_FILES: Final = {f"{name}.txt".lower(): name for name in _TABLES}
_COUNTERS: Final = "counterdetail.csv"
_OTHERS: Final = ("environment.txt", "get-computerinfo.txt", "vmspregistry.txt")
_CELL: Final = re.compile(r"([A-Za-z_]\w*) *: ?(.*)")
_HOST: Final = re.compile(r"^\S.* @ ([A-Za-z0-9_.-]{1,64}):\s*$", re.MULTILINE)
_BUILD: Final = re.compile(r"\b(?:6\.[123]|10\.0)\.(\d{4,5})\b")
_BELOW_TEN: Final = re.compile(r"\bBelowTenGigVmqEnabled\s*:\s*(\d+)")
_MAC: Final = re.compile(r"(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}")
_VLAN: Final = re.compile(r"VlanID\s*[=:]\s*\"?(\d{1,4})")

COLUMNS_LIMIT: Final = 1 << 17
_HEADER: Final = re.compile(r"\\\\[^\\]*\\([^(\\]+)\((.*)\)\\([^\\]+)")
_TICKS: Final = 10_000_000
"""Ticks of 100 ns in a second."""
_VNIC: Final = "hyper-v virtual network adapter"
_ACTIVITY: Final = "per processor network interface card activity"
_RATES: Final = {
    ("hyper-v virtual network adapter", "packets received/sec"): (
        VNIC_COUNTERS,
        "PacketsReceivedPersec",
        1.0,
    ),
    (_VNIC, "bytes received/sec"): (VNIC_COUNTERS, "BytesReceivedPersec", 1.0),
    ("network adapter", "packets received unicast/sec"): (PORT_COUNTERS, "ReceivedUnicastPackets", 1.0),
    ("network adapter", "packets received non-unicast/sec"): (PORT_COUNTERS, "ReceivedMulticastPackets", 1.0),
    ("network adapter", "bytes received/sec"): (PORT_COUNTERS, "ReceivedBytes", 1.0),
    (_ACTIVITY, "received packets/sec"): (ADAPTER_COUNTERS, "ReceivedPacketsPersec", 1.0),
    (_ACTIVITY, "interrupts/sec"): (ADAPTER_COUNTERS, "InterruptsPersec", 1.0),
    (_ACTIVITY, "dpcs queued/sec"): (ADAPTER_COUNTERS, "DPCsQueuedPersec", 1.0),
    ("processor information", "% dpc time"): (PROCESSOR_COUNTERS, "PercentDPCTime", _TICKS / 100),
    ("processor information", "% interrupt time"): (PROCESSOR_COUNTERS, "PercentInterruptTime", _TICKS / 100),
}
"""Rates that are read: the table and property whose growth each is, and the factor per second."""
_COUNTS: Final = {
    ("network adapter", "packets received discarded"): (PORT_COUNTERS, "ReceivedDiscardedPackets")
}
"""Counters that are no rates."""

Cells = dict[str, Any]
Sampled = tuple[int, dict[str, list[Cells]]]


def is_netview_zip(head: bytes) -> bool:
    """Whether a file begins as a zip does."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read_netview(path: Path) -> WindowsTables:
    """Read a folder or zip of Get-NetView. Raises ``SourceError``, and OSError if it can't be read."""
    remarks, reader = Remarks(), _Reader()
    texts = _of_folder(path, remarks) if path.is_dir() else _of_zip(path, remarks)
    for name, text in texts:
        reader.take(name, text, remarks)
    if not reader.files:
        kind = "a directory" if path.is_dir() else "a zip"
        raise SourceError(f"{path}: {kind} without a file of Get-NetView, such as Get-NetAdapterVmq.txt")
    return reader.tables(str(path), int(path.stat().st_mtime * 1e9), remarks)


# --- files ----------------------------------------------------------------------------------------------


def _is_wanted(name: str) -> bool:
    base = name.rpartition("/")[2].lower()
    return base in _FILES or base in _OTHERS or base == _COUNTERS


class _Budget:
    """What may still be read."""

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._left = READ_LIMIT_BYTES

    def text(self, name: str, data: bytes) -> str | None:
        """Decode a file's beginning; None if no more may be read."""
        if len(data) > FILE_LIMIT_BYTES:
            self._remarks.add(
                f"{printable(name)}: is larger than {FILE_LIMIT_BYTES >> 20} MiB: its beginning is read"
            )
            data = data[:FILE_LIMIT_BYTES]
        self._left -= len(data)
        if self._left < 0:
            self._remarks.add(f"files after the first {READ_LIMIT_BYTES >> 20} MiB are left out")
            return None
        try:
            return decode_text(data)
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")  # "default" of Out-File


def _of_folder(path: Path, remarks: Remarks) -> Iterator[tuple[str, str]]:
    budget, count = _Budget(remarks), 0
    for folder, folders, files in os.walk(path, followlinks=False):
        folders.sort()
        for file in sorted(files):
            count += 1
            if count > MAX_ENTRIES:
                remarks.add(f"files after the first {MAX_ENTRIES:,} are left out")
                return
            found = Path(folder, file)
            name = found.relative_to(path).as_posix()
            if not _is_wanted(name) or found.is_symlink() or not found.is_file():
                continue
            try:
                with found.open("rb") as opened:
                    data = opened.read(FILE_LIMIT_BYTES + 1)
            except OSError as error:
                remarks.add(f"{printable(name)}: {error.strerror or error}: it is left out")
                continue
            text = budget.text(name, data)
            if text is None:
                return
            yield name, text


def _of_zip(path: Path, remarks: Remarks) -> Iterator[tuple[str, str]]:
    budget = _Budget(remarks)
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda one: one.filename)
            if len(entries) > MAX_ENTRIES:
                raise SourceError(f"{path}: a zip of more than {MAX_ENTRIES:,} files")
            for entry in entries:
                name = entry.filename.replace("\\", "/")
                if entry.is_dir() or not _is_wanted(name):
                    continue
                try:
                    with archive.open(entry) as opened:
                        data = opened.read(FILE_LIMIT_BYTES + 1)
                except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
                    remarks.add(
                        f"{printable(name)}: can't be unpacked ({printable(str(error))}): it is left out"
                    )
                    continue
                text = budget.text(name, data)
                if text is None:
                    return
                yield name, text
    except (zipfile.BadZipFile, struct.error, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: looks like a zip that was cut off or damaged ({error})") from None


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of files is so long that reading it alone takes much memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and len(tail) >= at + 16:
        (length,) = struct.unpack_from("<I", tail, at + 12)
        if length == 0xFFFFFFFF:  # then the real length is in a record of zip64 before it
            record = tail.rfind(b"PK\x06\x06", 0, at)
            length = (
                struct.unpack_from("<Q", tail, record + 40)[0] if 0 <= record <= len(tail) - 48 else length
            )
        if length > DIRECTORY_LIMIT_BYTES:
            raise SourceError(f"{path}: a zip with a list of files of {length >> 20} MiB")


# --- texts ----------------------------------------------------------------------------------------------


class _Reader:
    """Collects the tables of one host from texts."""

    def __init__(self) -> None:
        self.files = 0
        self._rows: dict[str, list[Cells]] = {}
        self._host = ""
        self._samples: list[tuple[int, dict[str, list[Cells]]]] = []

    def take(self, name: str, text: str, remarks: Remarks) -> None:
        """Add what a file tells."""
        folder, _, base = name.rpartition("/")
        base = base.lower()
        if base == _COUNTERS:
            self._samples = self._samples or _counters(name, text, remarks)
            return
        if not self._host and (found := _HOST.search(text[: 1 << 16])):
            self._host = found[1]
        if base == "vmspregistry.txt":
            below = _BELOW_TEN.search(text)
            self._rows["VMSMP"] = [{"BelowTenGigVmqEnabled": below[1]}] if below else [{}]
        elif base == "environment.txt":
            build = _BUILD.search(text)
            if build:
                self._rows.setdefault("Win32_OperatingSystem", [{}])[0].setdefault("BuildNumber", build[1])
            self._add("Win32_Processor", [one for one in format_lists(text) if "NumberOfCores" in one])
        elif base == "get-computerinfo.txt":
            for cells in format_lists(text):
                system = self._rows.setdefault("Win32_OperatingSystem", [{}])[0]
                for key, of_info in (("BuildNumber", "OsBuildNumber"), ("Caption", "OsName")):
                    if cells.get(of_info):
                        system[key] = cells[of_info]
        else:
            self._of_cmdlet(_FILES[base], folder, text, remarks)

    def _of_cmdlet(self, table: str, folder: str, text: str, remarks: Remarks) -> None:
        self.files += 1
        if "\n[Failed]" in text:
            remarks.add(f"{table} failed on the host for some of its objects")
        rows = format_lists(text)
        for cells in rows:
            if table == "Get-VMNetworkAdapterVlan":
                cells["AdapterId"] = folder  # replaced by the adapter's own id
            elif table == "Get-VMNetworkAdapter":
                cells["Folder"] = folder
            elif "FilterList" in cells:
                cells["FilterList"] = _filters(cells["FilterList"])
        self._add(table, rows)

    def _add(self, table: str, rows: list[Cells]) -> None:
        if rows:
            self._rows.setdefault(table, []).extend(rows)

    def tables(self, origin: str, time_ns: int, remarks: Remarks) -> WindowsTables:
        """The tables of everything that was taken. Without counters, the time is that of the file."""
        ids = {cells["Folder"]: cells.get("Id", "") for cells in self._rows.get("Get-VMNetworkAdapter", ())}
        for cells in self._rows.get("Get-VMNetworkAdapterVlan", ()):
            cells["AdapterId"] = ids.get(cells["AdapterId"], "")
        for table in ("Get-NetAdapterVmq", "Get-NetAdapter"):
            if table not in self._rows:
                remarks.add(f"no file {table}.txt has a list")
        samples = [Sample(at_ns, tables_by_name(tables, remarks)) for at_ns, tables in self._samples]
        if samples:
            remarks.add(
                f"counters are rates, in {counted(len(samples), 'sample')}; times are the host's local ones"
            )
        return WindowsTables(
            origin,
            printable(self._host),
            tables_by_name(self._rows, remarks),
            samples or [Sample(time_ns, {})],
            averaged=True,
            remarks=remarks,
        )


def format_lists(text: str) -> list[Cells]:
    """Read the objects that ``Format-List`` printed in a text: ``Name : value`` lines, a blank line between.

    A value goes on in lines that begin with blanks. Of an object, the first of a name's values counts.
    """
    found: list[Cells] = []
    cells: Cells = {}
    last = ""
    for number, line in enumerate(text.splitlines()):
        if number >= LINES_LIMIT:
            break
        match = _CELL.fullmatch(line.rstrip())
        if match:
            last = match[1]
            cells.setdefault(last, match[2].strip())
        elif line[:1] in (" ", "\t") and line.strip() and last:
            cells[last] += line.strip()
        else:
            if cells:
                found.append(cells)
            cells, last = {}, ""
    return [*found, cells] if cells else found


def _filters(text: str) -> list[Mapping[str, Any]]:
    """The filters of a queue, where the text has their MACs."""
    found: list[Mapping[str, Any]] = []
    macs = list(_MAC.finditer(text))
    for number, mac in enumerate(macs):
        end = macs[number + 1].start() if number + 1 < len(macs) else len(text)
        vlan = _VLAN.search(text, mac.end(), end)
        found.append({"MacAddress": mac[0], "VlanID": vlan[1] if vlan else None})
    return found


# --- counters -------------------------------------------------------------------------------------------


def _counters(name: str, text: str, remarks: Remarks) -> list[Sampled]:
    """Read samples, each with its time and the counters that grew at the rates of the file since the first.

    Times are local ones of the host, taken for UTC. Whatever is missing or does not fit is in ``remarks``.
    """
    rows = csv.reader(io.StringIO(text))
    try:
        header = next(rows, [])
        wanted = _wanted(header[:COLUMNS_LIMIT])
        if not wanted:
            remarks.add(
                f"{printable(name)}: none of its {max(0, len(header) - 1):,} counters is one that is read;"
                " their names are translated on a Windows of another language"
            )
            return []
        return _samples(name, rows, len(header), wanted, remarks)
    except csv.Error as error:
        remarks.add(f"{printable(name)}: is no CSV ({error}): it is left out")
        return []


def _wanted(header: list[str]) -> dict[int, tuple[str, str, str, float]]:
    """For each column that is read: its table, instance, property and factor; 0 for a count."""
    found: dict[int, tuple[str, str, str, float]] = {}
    for column, title in enumerate(header):
        match = _HEADER.fullmatch(title.strip())
        key = (match[1].strip().lower(), match[3].strip().lower()) if match else ("", "")
        if match and key in _RATES:
            table, prop, factor = _RATES[key]
            found[column] = (table, match[2], prop, factor)
        elif match and key in _COUNTS:
            found[column] = (*_COUNTS[key][:1], match[2], _COUNTS[key][1], 0.0)
    return found


def _samples(
    name: str, rows: Any, width: int, wanted: dict[int, tuple[str, str, str, float]], remarks: Remarks
) -> list[Sampled]:
    samples: list[Sampled] = []
    totals: dict[int, float | None] = dict.fromkeys(wanted, 0.0)
    for row in rows:
        at_ns = _time_ns(row[0]) if row else None
        if len(row) < width or at_ns is None:
            remarks.add(f"{printable(name)}: a line that is cut or has no time is left out")
            continue
        if samples and at_ns <= samples[-1][0]:
            remarks.add(f"{printable(name)}: a line that is not after the one before is left out")
            continue
        if len(samples) >= MAX_SAMPLES:
            remarks.add(f"{printable(name)}: lines after the first {MAX_SAMPLES} are left out")
            break
        seconds = (at_ns - samples[-1][0]) / 1e9 if samples else 0.0
        tables: dict[str, dict[str, dict[str, Any]]] = {}
        for column, (table, instance, prop, factor) in wanted.items():
            value, total = _value(row[column]), totals[column]
            if factor and samples:
                totals[column] = total = (
                    None if total is None or value is None else total + value * factor * seconds
                )
            cell = total if factor else value
            cells = tables.setdefault(table, {}).setdefault(instance, _first_cells(table, instance))
            cells[prop] = None if cell is None else round(cell)
        for cells in tables.get(PROCESSOR_COUNTERS, {}).values():
            cells["Timestamp_Sys100NS"] = at_ns // 100
        samples.append((at_ns, {table: list(found.values()) for table, found in tables.items()}))
    return samples


def _first_cells(table: str, instance: str) -> dict[str, Any]:
    if table == PORT_COUNTERS:  # non-unicast is one counter here
        return {"InterfaceDescription": instance, "ReceivedBroadcastPackets": 0}
    return {"Name": instance}


def _time_ns(text: str) -> int | None:
    try:
        at = datetime.strptime(text.strip()[:32], "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    nanoseconds = int(at.timestamp() * 1000) * 1_000_000
    return nanoseconds if nanoseconds > 0 else None


def _value(text: str) -> float | None:
    try:
        value = float(text[:64])
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e15 else None
