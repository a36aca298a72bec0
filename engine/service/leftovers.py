"""What processes left behind that were killed: announcements, shared memory, temporary directories.

An engine that is killed takes its shared memory and sockets with it, unless the processes that see to that
are killed too. ``engine.temporary`` tells which of them are in use. Where the system does not
show shared memory as files, engines list theirs in the runtime directory.
"""

import os
import shutil
import sys
import time
from contextlib import suppress
from multiprocessing import shared_memory
from pathlib import Path
from typing import Final

from engine.bus.discovery import left_behind, process_lives, runtime_directory
from engine.dataplane.memory import SHOWN_IN
from engine.temporary import OWN_NAME, is_held, places

_LISTED: Final = "memory-"
_YOUNG_S: Final = 60.0


def leftovers() -> list[Path]:
    """Files of engines that are no more, and of this user."""
    found: list[Path] = []
    with suppress(OSError):
        runtime = runtime_directory()
        found += left_behind(runtime)
        for path in runtime.glob(f"{_LISTED}*"):
            match = OWN_NAME.fullmatch(path.name.removeprefix(_LISTED))
            if match and not process_lives(int(match[1], 16)):
                found.append(path)
    for place in (SHOWN_IN, *places()):
        with suppress(OSError):
            found += filter(_is_left, place.glob("vmq-*"))
    return sorted(found)


def _is_left(path: Path) -> bool:
    """Whether a file is the shared memory, or a directory a temporary one, of a process that is no more."""
    match = OWN_NAME.fullmatch(path.name)
    if match is None:
        return False
    lives = process_lives(int(match[1], 16))
    if sys.platform == "win32":
        return not lives
    try:
        found = path.lstat()
        if found.st_uid != os.getuid() or is_held(path):
            return False
    except OSError:
        return False
    is_young = time.time() - found.st_ctime < _YOUNG_S  # it may be about to be locked
    return not (is_young and lives)


def remove(path: Path) -> None:
    """Remove one of ``leftovers``. Raises ``OSError``."""
    if path.name.startswith(_LISTED):
        with suppress(FileNotFoundError):
            memory = shared_memory.SharedMemory(path.name.removeprefix(_LISTED))
            memory.close()
            memory.unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clear() -> list[Path]:
    """Remove what there is; what that was."""
    removed = []
    for path in leftovers():
        with suppress(OSError):
            remove(path)
            removed.append(path)
    return removed


def enlist(block: str) -> Path | None:
    """Note this process's shared memory where a later start finds it only so; the file, if one is needed."""
    if SHOWN_IN.is_dir() or os.name != "posix":
        return None
    with suppress(OSError):
        path = runtime_directory() / f"{_LISTED}{block}"
        path.touch(mode=0o600)
        return path
    return None
