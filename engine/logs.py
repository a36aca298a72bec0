"""Logs: one record per line, as JSON or text, limited in size and rate, without passwords.

A record is an event's name and fields: ``note(_log, WARNING, "broker_lost", url=url)``. Records are written
only after the program has called ``write_to_stderr``, ``write_to_file`` or ``write_beside``.
"""

import contextlib
import json
import logging
import logging.handlers
import os
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import platformdirs

Form = Literal["json", "text"]

DIRECTORY_VARIABLE: Final = "VMQTUI_LOG_DIR"
"""Environment variable that overrides the directory for logs."""

FILE_BYTES: Final = 1 << 20
OLDER_FILES: Final = 3
"""Number of rotated files that a process keeps in addition to its current one."""

PROCESSES_KEPT: Final = 8
"""Number of ended processes whose files are kept."""

RECORDS_A_SECOND: Final = 20
"""Limit of records per event and second; further ones are only counted."""

_TEXT_LIMIT: Final = 4096
_TRACE_LIMIT: Final = 16_384
_FIELDS: Final = "vmq_fields"
_PASSWORD: Final = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"']*):[^\s\"']*@")
_ROOMS: Final = ("engine", "vmqtui", "asyncio")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILE: Final = re.compile(r"[a-z]+-(\d{1,10})\.log(?:\.\d+)?")


def note(log: logging.Logger, level: int, event: str, /, **fields: Any) -> None:
    """Log an event; field values are numbers, short texts or None."""
    log.log(level, event, extra={_FIELDS: fields})


def without_passwords(text: str) -> str:
    """Return the text with the password of every URL replaced by ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)


def log_directory() -> Path:
    """The directory for logs; it may not exist yet."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named else platformdirs.user_log_path("vmqtui", appauthor=False)


def write_to_stderr(form: Form) -> None:
    """Log to standard error from now on."""
    _install(logging.StreamHandler(sys.stderr), form)


def write_to_file(path: Path, form: Form) -> None:
    """Log to a file from now on; it is rotated and only its user can read it. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", errors="backslashreplace"
    )
    _install(handler, form)


def write_beside(role: str, form: Form) -> Path | None:
    """Log to this process's own file in the log directory; return its path, None if it can't be written.

    Removes the oldest files of ended processes first.
    """
    path = log_directory() / f"{role}-{os.getpid()}.log"
    try:
        remove_old()
        write_to_file(path, form)
    except OSError:
        return None
    return path


def log_files() -> list[Path]:
    """The log files in the log directory, newest first."""
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for path in log_directory().iterdir():
            if _FILE.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def remove_old() -> None:
    """Remove the files of ended processes, except for the newest ``PROCESSES_KEPT`` processes."""
    import psutil

    kept: set[str] = set()
    for path in log_files():
        process = path.name.partition(".")[0]
        if psutil.pid_exists(int(process.rpartition("-")[2])):
            continue
        if len(kept) < PROCESSES_KEPT:
            kept.add(process)
        if process not in kept:
            path.unlink(missing_ok=True)


def _install(handler: logging.Handler, form: Form) -> None:
    handler.setFormatter(JsonForm() if form == "json" else TextForm())
    handler.addFilter(FloodFilter())
    for room in _ROOMS:
        logger = logging.getLogger(room)
        for other in logger.handlers[:]:
            logger.removeHandler(other)
            other.close()
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING if room == "asyncio" else logging.INFO)
    logging.raiseExceptions = False  # else logging prints to the screen when the disk is full


class FloodFilter(logging.Filter):
    """Passes ``RECORDS_A_SECOND`` records per event and second; the first record of a later second carries
    the number of dropped ones."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._second = 0
        self._seen: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            second = int(record.created)
            if second != self._second:
                self._second = second
                left_out = sum(max(0, seen - RECORDS_A_SECOND) for seen in self._seen.values())
                self._seen.clear()
                if left_out:
                    record.vmq_left_out = left_out
            key = (record.name, str(record.msg)[:64])
            seen = self._seen[key] = self._seen.get(key, 0) + 1
            return seen <= RECORDS_A_SECOND


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as names and values, with passwords removed and texts limited in length.

    Control characters are left to the formatters to escape.
    """
    facts: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "room": record.name,
        "pid": record.process,
        "event": _safe(record.getMessage()),
    }
    fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
    facts |= {
        name: _safe(value) for name, value in fields.items() if _NAME.fullmatch(name) and name not in facts
    }
    left_out = getattr(record, "vmq_left_out", 0)
    if left_out:
        facts["left_out"] = left_out
    if record.exc_info and record.exc_info[0] is not None:
        trace = logging.Formatter().formatException(record.exc_info)
        facts["trace"] = _safe(trace[-_TRACE_LIMIT:], _TRACE_LIMIT)
    return facts


def _safe(value: Any, limit: int = _TEXT_LIMIT) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = without_passwords(str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


class JsonForm(logging.Formatter):
    """One JSON object per line, in ASCII: text in a record can't move the cursor or end the line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(facts_of(record), ensure_ascii=True)


class TextForm(logging.Formatter):
    """One line per record: time, level, event, then ``name=value``; quotes texts with spaces or control
    characters."""

    def format(self, record: logging.LogRecord) -> str:
        facts = facts_of(record)
        head = [str(facts.pop(name)) for name in ("time", "level", "event")]
        head = [part if part.isascii() and part.isprintable() else _quoted(part) for part in head]
        facts.pop("room")
        return " ".join([*head, *(f"{name}={_quoted(value)}" for name, value in facts.items())])


def _quoted(value: Any) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else json.dumps(text, ensure_ascii=True)


class Relay(logging.Handler):
    """Sends records to another process as lines of JSON, without blocking the caller.

    At most ``waiting_limit`` lines wait to be sent; further records are dropped and counted.
    """

    def __init__(self, descriptor: int, waiting_limit: int = 256) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._limit = waiting_limit
        self._left_out = 0
        self._came = threading.Condition()
        threading.Thread(target=self._send, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        facts = facts_of(record)
        with self._came:
            if len(self._waiting) >= self._limit:
                self._left_out += 1
                return
            if self._left_out:
                facts["left_out"] = facts.get("left_out", 0) + self._left_out
                self._left_out = 0
            self._waiting.append(json.dumps(facts, ensure_ascii=True).encode() + b"\n")
            self._came.notify()

    def _send(self) -> None:
        while True:
            with self._came:
                while not self._waiting:
                    self._came.wait()
                lines, self._waiting = self._waiting, []
            try:
                os.write(self._descriptor, b"".join(lines))
            except OSError:
                return


def relayed(log: logging.Logger, line: bytes) -> None:
    """Log a line from a child's ``Relay`` with the logger ``log``; ignore a line that is not a record."""
    try:
        facts = dict(json.loads(line))
        level = logging.getLevelNamesMapping()[str(facts.pop("level")).upper()]
        event = str(facts.pop("event"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for known in ("time", "pid", "room"):
        facts.pop(known, None)
    note(log, level, event, **{str(name)[:64]: value for name, value in facts.items()})
