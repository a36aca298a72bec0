"""How commands find a running engine: a file in the user's runtime directory holds its broker's URLs.

Each URL contains the password of one of ``accounts.USERS``, so that a command uses only the rights it needs.
"""

import contextlib
import json
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from engine.bus.urls import BrokerUrl, is_loopback
from engine.trusted import make_trusted, open_trusted

ENVIRONMENT_VARIABLE = "VMQTUI_BROKER"

_PREFIX = "engine-"
_SUFFIX = ".json"
_LIMIT_BYTES = 64 << 10


def runtime_directory() -> Path:
    """Return the user's runtime directory for vmqtui; create it with mode 0700 if it is missing.

    Raises ``OSError`` if no directory is private to the user.
    """
    reasons = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns when XDG_RUNTIME_DIR is not set
        own = platformdirs.user_runtime_path("vmqtui", appauthor=False)
    for directory in (own, platformdirs.user_state_path("vmqtui", appauthor=False) / "run"):
        try:
            _make_own(directory)
        except OSError as error:
            reasons.append(f"{directory}: {error.strerror or error}")
        else:
            return directory
    raise OSError(f"no runtime directory of one's own: {'; '.join(reasons)}")


def announce(
    urls: Mapping[str, BrokerUrl], host: str, *, found: bool = True, directory: Path | None = None
) -> Path:
    """Write the URLs of this process's broker, by user, to a file private to the user; return its path.

    Without ``found``, only commands that name the broker use it. Raises ``OSError``.
    """
    directory = runtime_directory() if directory is None else directory
    path = directory / f"{_PREFIX}{os.getpid()}{_SUFFIX}"
    texts = {user: url.with_password() for user, url in urls.items()}
    text = json.dumps(
        {"url": texts["owner"], "urls": texts, "host": host, "pid": os.getpid(), "found": found}
    )
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def withdraw(path: Path) -> None:
    """Remove the file that ``announce`` wrote."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def find_url(explicit: str | None = None, *, user: str, directory: Path | None = None) -> BrokerUrl | None:
    """Return the URL to connect to: ``explicit``, else ``VMQTUI_BROKER``, else the newest running engine's.

    If the broker belongs to an engine of this user, the URL has the credentials of ``user``, one of
    ``accounts.USERS``. Raises ``BadUrl`` for the first two sources; an unreadable file is skipped.
    """
    text = explicit or os.environ.get(ENVIRONMENT_VARIABLE)
    if text:
        return own_url(BrokerUrl.parse(text), user=user, directory=directory)
    for announced in _read_all(directory):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            if announced["found"]:
                return BrokerUrl.parse(announced["urls"][user])
    return None


def unlisted_url(*, user: str, directory: Path | None = None) -> BrokerUrl | None:
    """Return the URL of this user's newest running engine that was announced without ``found``."""
    for announced in _read_all(directory):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            if not announced["found"]:
                return BrokerUrl.parse(announced["urls"][user])
    return None


def own_url(url: BrokerUrl, *, user: str, directory: Path | None = None) -> BrokerUrl:
    """Return the URL for ``user`` if ``url`` points to an engine of this user and has either no user or valid
    credentials; otherwise return ``url``.
    """
    if url.tls or not is_loopback(url.host):
        return url
    for announced in _read_all(directory):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            urls = {name: BrokerUrl.parse(text) for name, text in announced["urls"].items()}
            same = [each for each in urls.values() if (each.port, each.tls) == (url.port, False)]
            if same and (url.user is None or replace(url, host=same[0].host) in same):
                return replace(urls[user], host=url.host)
    return url


def left_behind(directory: Path) -> list[Path]:
    """Return the files of engines that have ended."""
    return [path for path, lives in _files(directory) if not lives]


def _announced(directory: Path) -> Iterator[Path]:
    """Yield the files of running engines; remove those of ended ones."""
    for path, lives in _files(directory):
        if lives:
            yield path
        else:
            withdraw(path)


def _files(directory: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file that an engine wrote, and whether that engine's process runs."""
    for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        pid = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if pid.isascii() and pid.isdigit() and len(pid) <= 10:
            yield path, process_lives(int(pid))


def _read_all(directory: Path | None) -> Iterator[dict[str, Any]]:
    """Yield the contents of the files of running engines, newest first."""
    try:
        directory = runtime_directory() if directory is None else directory
        paths = sorted(_announced(directory), key=_written, reverse=True)
    except OSError:
        return
    for path in paths:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            yield _read(path)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> dict[str, Any]:
    with open_trusted(path) as file:
        content: dict[str, Any] = json.loads(file.read(_LIMIT_BYTES))
    return content


def process_lives(pid: int) -> bool:
    """Return whether a process with this id runs, under any user."""
    if sys.platform == "win32":
        import ctypes

        query, still_active = 0x1000, 259  # PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel32.OpenProcess(query, False, pid))
        if not process:
            return ctypes.get_last_error() == 5  # ERROR_ACCESS_DENIED: another user's
        code = ctypes.c_ulong()
        read = kernel32.GetExitCodeProcess(process, ctypes.byref(code))
        kernel32.CloseHandle(process)
        return bool(read) and code.value == still_active
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _make_own(directory: Path) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(FileNotFoundError):
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(0, "it is not a directory of this user")
            if found.st_mode & 0o077:
                directory.chmod(0o700)
    make_trusted(directory)
