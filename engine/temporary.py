"""What this process makes for as long as it runs, named and held so that a later start removes it.

A process that is killed removes nothing. The name holds its id, and while it lives it holds a lock, so that
neither an id that another process has by now, nor one of another container, can mislead.
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
from typing import Final

OWN_NAME: Final = re.compile(r"vmq-([0-9a-f]{1,8})-[0-9a-f]+")
"""Names of ``own_name``; the group is the process id, in hexadecimal."""


_SHORT: Final = Path("/tmp")
_SHORT_BYTES: Final = 60
"""Of a directory whose sockets have paths that fit: 108 bytes do on Linux, 104 on macOS."""


def places() -> set[Path]:
    """Directories that may hold directories of ``own_directory``."""
    return {Path(tempfile.gettempdir()), _SHORT}


def own_name() -> str:
    """A name for a file, a directory or shared memory of this process."""
    return f"vmq-{os.getpid():x}-{secrets.token_hex(4)}"


def hold(path: Path) -> int | None:
    """Lock a file or a directory for as long as the descriptor that this gives is open: it is in use.

    None where it can't be locked, as on file systems without locks.
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
    """Whether a process holds a file or a directory. Raises ``OSError``."""
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
    """A temporary directory of this user alone, until the end of the context. Raises ``OSError``.

    ``short``: in a place with a short path where TMPDIR is too long for sockets.
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
