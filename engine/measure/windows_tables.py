"""The tables of a Windows host: what cmdlets returned, as the collecting script writes it in one JSON.

    {"schema": "vmq.windows/1", "host": "HV01", "tables": {"Get-NetAdapterVmq": [{"Name": ..., ...}], ...},
     "samples": [{"time_ms": ..., "tables": {...}}, ...], "errors": [{"name": ..., "message": ...}]}

Tables bear the names of cmdlets and CIM classes, cells those of their properties, so that a folder of
Get-NetView becomes the same. Nothing in a file is trusted: a cell of another type than documented is left
out, with a remark.
"""

import codecs
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.measure.host import SourceError

SCHEMA: Final = "vmq.windows/1"
SCRIPT: Final = Path(__file__).with_name("collect_windows.ps1")
LIMIT_BYTES: Final = 64 << 20
"""Limit of a JSON. A minute of a host with 256 processors and 16 adapters is about 20 MiB."""
LIMIT_VALUES: Final = 1 << 22
"""Limit of values in a JSON; a decoded value takes up to 100 bytes."""
MAX_ROWS: Final = 1 << 16
"""Limit of rows of a table; more are left out."""
MAX_SAMPLES: Final = 1024
_MAX_REMARKS: Final = 100
_NONE_FOUND: Final = "CmdletizationQuery_NotFound"
"""The error of a cmdlet that found no object: an answer, and no failure."""
_MAX_TEXT: Final = 256
_CUT_OFF: Final = "looks like JSON that was cut off; run the script again"
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Remarks:
    """Sentences for users, each once, of limited number."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}
        self._more = 0

    def add(self, sentence: str) -> None:
        if sentence in self._sentences:
            return
        if len(self._sentences) < _MAX_REMARKS:
            self._sentences[sentence] = None
        else:
            self._more += 1

    def __iter__(self) -> Iterator[str]:
        yield from self._sentences
        if self._more:
            yield f"{self._more} more remarks are left out"


def printable(text: str) -> str:
    """Return text without characters that a terminal would obey, at most 256 characters long."""
    return _UNPRINTABLE.sub(" ", text[: 4 * _MAX_TEXT]).strip()[:_MAX_TEXT]


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells by the name of their property, in lower case."""

    table: str
    cells: Mapping[str, Any]
    remarks: Remarks

    def text(self, key: str) -> str:
        """The cell as a printable text; empty if it is unknown."""
        value = self.cells.get(key.lower())
        if isinstance(value, str):
            return printable(value)
        if type(value) in (int, float, bool):
            return str(value)
        self._expect(key, value is None, "a text", value)
        return ""

    def number(self, key: str, most: int = (1 << 64) - 1) -> int | None:
        """The cell as a whole number of 0 to ``most``; None if it is unknown or does not fit."""
        value = self.cells.get(key.lower())
        if isinstance(value, str) and len(text := value.strip()) < 32:
            digits = text.replace(",", "")
            value = int(digits) if digits.isascii() and digits.isdigit() else (text or None)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        fits = type(value) is int and 0 <= value <= most
        self._expect(key, fits or value is None, f"a number of 0 to {most}", value)
        return value if fits else None

    def flag(self, key: str) -> bool | None:
        """The cell as true or false; None if it is unknown."""
        value = self.cells.get(key.lower())
        if isinstance(value, str):
            value = {"true": True, "false": False, "": None}.get(value.strip().lower(), value)
        if type(value) is int and value in (0, 1):
            value = bool(value)
        self._expect(key, value is None or isinstance(value, bool), "true or false", value)
        return value if isinstance(value, bool) else None

    def texts(self, key: str) -> list[str]:
        """The cell as a list of texts: a list, or what Format-List prints of one: ``{a, b}``."""
        value = self.cells.get(key.lower())
        if isinstance(value, str):
            inner = value.strip()
            listed = inner.startswith("{") and inner.endswith("}")
            inner = inner[1:-1].removesuffix("...").removesuffix("\u2026") if listed else inner
            value = [part.strip() for part in inner.split(",")] if listed else [inner]
        if type(value) is int:
            value = [value]
        self._expect(key, value is None or isinstance(value, list), "a list", value)
        if not isinstance(value, list):
            return []
        texts = (printable(str(one)) for one in value[:MAX_ROWS] if type(one) in (str, int))
        return [text for text in texts if text]

    def rows(self, key: str) -> list["Row"]:
        """The cell as a list of rows."""
        value = _unwrapped(self.cells.get(key.lower()))
        self._expect(key, value is None or isinstance(value, list | str), "a list", value)
        if not isinstance(value, list):
            return []
        return list(_rows(f"{self.table}.{key}", value, self.remarks))

    def _expect(self, key: str, fits: bool, wanted: str, value: Any) -> None:
        if not fits:
            shown = (
                printable(str(value)[:40]) if isinstance(value, str | int | float) else type(value).__name__
            )
            self.remarks.add(f"{self.table}: a {key} is {shown!r}, not {wanted}: it is left out")


@dataclass(frozen=True)
class Sample:
    """Counters at a moment, in Unix time; tables by name."""

    time_ns: int
    tables: Mapping[str, list[Row]]

    def rows(self, table: str) -> list[Row]:
        return self.tables.get(table.lower(), [])


@dataclass(frozen=True)
class WindowsTables:
    """Everything that a source tells of a Windows host. ``tables`` are by name, in lower case."""

    origin: str
    host: str
    tables: Mapping[str, list[Row]]
    samples: list[Sample]
    """In order of time; at least one, which may be without counters."""
    averaged: bool = False
    """Whether the samples were made of rates, so that their counters are no exact ones."""
    remarks: Remarks = field(default_factory=Remarks)

    def rows(self, *tables: str) -> list[Row]:
        """The rows of the first of ``tables`` that has any."""
        return next((rows for name in tables if (rows := self.tables.get(name.lower(), []))), [])

    @cached_property
    def _by_name(self) -> dict[str, dict[str, list[Row]]]:
        return {}

    def named(self, table: str, name: str) -> list[Row]:
        """The rows of a table with that ``Name``."""
        found = self._by_name.get(table)
        if found is None:
            found = self._by_name[table] = {}
            for row in self.rows(table):
                found.setdefault(row.text("Name"), []).append(row)
        return found.get(name, [])

    def first(self, table: str) -> Row:
        """The first row of a table; one without cells if there is none."""
        return next(iter(self.rows(table)), Row(table, {}, self.remarks))


class _Document(msgspec.Struct, kw_only=True):
    schema: str
    host: Any = None
    time_ms: Any = None
    tables: dict[str, Any] = {}
    samples: list[Any] = []
    errors: list[Any] = []


def script() -> str:
    """The script in PowerShell that collects such a JSON on a Windows host."""
    return SCRIPT.read_text("ascii")


def decode_text(data: bytes, errors: str = "strict") -> str:
    """Decode what PowerShell writes: UTF-8, or UTF-16 with or without a mark. Raises UnicodeDecodeError if
    ``errors`` is "strict"."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors)
    if data[1:2] == b"\0":
        return data.decode("utf-16-le", errors)
    if data[:1] == b"\0":
        return data.decode("utf-16-be", errors)
    return data.decode("utf-8-sig", errors)


def read_json(origin: str, data: bytes) -> WindowsTables:
    """Read the JSON of the collecting script. Raises ``SourceError``."""
    if len(data) > LIMIT_BYTES:
        raise SourceError(f"{origin}: is larger than {LIMIT_BYTES >> 20} MiB")
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        if error.reason in ("truncated data", "unexpected end of data"):
            raise SourceError(f"{origin}: {_CUT_OFF}") from None
        raise SourceError(f"{origin}: looks like JSON, but is neither UTF-8 nor UTF-16") from None
    if sum(text.count(mark) for mark in ",[{") > LIMIT_VALUES:
        raise SourceError(f"{origin}: has more than {LIMIT_VALUES:,} values")
    try:
        document = msgspec.json.decode(text.strip(), type=_Document)
    except msgspec.ValidationError as error:
        raise SourceError(
            f"{origin}: is JSON, but not of the script of `vmqtui import --script windows` ({error})"
        ) from None
    except RecursionError:
        raise SourceError(f"{origin}: is JSON that is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        if "truncated" in str(error):
            raise SourceError(f"{origin}: {_CUT_OFF}") from None
        raise SourceError(f"{origin}: looks like damaged JSON ({error})") from None
    if document.schema != SCHEMA:
        raise SourceError(
            f"{origin}: is JSON of schema {printable(document.schema)!r}; this program reads {SCHEMA!r}"
        )
    return _tables_of(origin, document)


def _tables_of(origin: str, document: _Document) -> WindowsTables:
    remarks = Remarks()
    for error in document.errors[:_MAX_REMARKS]:
        cells = error if isinstance(error, dict) else {}
        name, message = (printable(str(cells.get(key, ""))) for key in ("name", "message"))
        if message.startswith(_NONE_FOUND):
            continue
        remarks.add(f"{name or 'a cmdlet'} failed on the host: {message or 'no message'}")
    samples: list[Sample] = []
    for sample in document.samples:
        time_ms = _time_of(sample.get("time_ms") if isinstance(sample, dict) else None)
        if time_ms is None:
            remarks.add("a sample without a time is left out")
        elif samples and time_ms * 1_000_000 <= samples[-1].time_ns:
            remarks.add("a sample that is not after the one before is left out")
        elif len(samples) >= MAX_SAMPLES:
            remarks.add(f"samples after the first {MAX_SAMPLES} are left out")
        else:
            tables = sample.get("tables")
            samples.append(
                Sample(
                    time_ms * 1_000_000, tables_by_name(tables if isinstance(tables, dict) else {}, remarks)
                )
            )
    if not samples:
        samples = [Sample((_time_of(document.time_ms) or 0) * 1_000_000, {})]
    host = document.host if isinstance(document.host, str) else ""
    tables = tables_by_name(document.tables, remarks)
    return WindowsTables(origin, printable(host), tables, samples, remarks=remarks)


def _time_of(time_ms: Any) -> int | None:
    return time_ms if type(time_ms) is int and 0 < time_ms < 1 << 43 else None


def tables_by_name(tables: Mapping[str, Any], remarks: Remarks) -> dict[str, list[Row]]:
    """Make rows of decoded tables: lists of objects, or one object where PowerShell unrolled a list."""
    found: dict[str, list[Row]] = {}
    for name, value in tables.items():
        table, listed = printable(name), _unwrapped(value)
        if not isinstance(listed, list | None):
            remarks.add(f"{table}: is no table: it is left out")
            continue
        found[table.lower()] = list(_rows(table, listed or [], remarks))
    return found


def _unwrapped(value: Any) -> Any:
    """The list that a value stands for: PowerShell unrolls one of one, and may write ``{value, Count}``."""
    if isinstance(value, dict) and set(value) == {"value", "Count"} and isinstance(value["value"], list):
        return value["value"]
    return [value] if isinstance(value, dict) else value


def _rows(table: str, listed: Iterable[Any], remarks: Remarks) -> Iterator[Row]:
    for number, cells in enumerate(listed):
        if number >= MAX_ROWS:
            remarks.add(f"{table}: rows after the first {MAX_ROWS:,} are left out")
            return
        if isinstance(cells, dict):
            yield Row(table, {str(key).lower(): value for key, value in cells.items()}, remarks)
        else:
            remarks.add(f"{table}: a row that is no object is left out")
