"""Temporary directories that a later start removes if their process was killed; locks on files; files that
are written completely or not at all.

A directory's name contains the process id, and its process holds a lock on it. Because of the lock a later
start is not misled by an id that was reused or that belongs to another container.
"""

import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

OWN_NAME: Final = re.compile(r"vmq-([0-9a-f]{1,8})-[0-9a-f]+")
"""Pattern of names from ``own_name``; the group is the process id in hexadecimal."""


_SHORT: Final = Path("/tmp")
_SHORT_BYTES: Final = 60
"""Longest path of a directory for sockets: a socket's path is limited to 108 bytes on Linux, 104 on macOS."""


def places() -> set[Path]:
    """Directories in which ``own_directory`` creates its directories."""
    return {Path(tempfile.gettempdir()), _SHORT}


def own_name() -> str:
    """Return a new name for a file, a directory or shared memory of this process."""
    return f"vmq-{os.getpid():x}-{secrets.token_hex(4)}"


def hold(path: Path) -> int | None:
    """Mark a file or directory as in use: take a shared lock until the returned descriptor is closed.

    None if it can't be locked: on Windows, and on file systems without locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Return whether a process has locked a file or directory with ``hold``. Raises ``OSError``."""
    if sys.platform == "win32":
        return False
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def own_directory(*, short: bool = False) -> Iterator[Path]:
    """Create a temporary directory that only this user can access; remove it at the end of the context.

    ``short``: in ``/tmp`` if the path of TMPDIR is too long for sockets. Raises ``OSError``.
    """
    place = Path(tempfile.gettempdir())
    directory = (_SHORT if short and len(os.fsencode(place)) > _SHORT_BYTES else place) / own_name()
    directory.mkdir(mode=0o700)
    held = None
    try:
        held = hold(directory)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if held is not None:
            os.close(held)


_PLACE = 0x7FFF_FFFE
"""Offset of the byte to lock on Windows: beyond the end of the file, as others can't read a locked byte."""


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; return False if another process or open file has the lock.

    Returns True on file systems without locks, too.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            place = file.tell()
            file.seek(_PLACE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                file.seek(place)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return sys.platform != "win32"  # msvcrt raises the same error if another process has the lock
    return True


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, delete it on failure."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
