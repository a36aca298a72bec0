"""Files left by killed processes: announcements, shared memory, temporary directories.

When an engine is killed, its other processes remove its shared memory and sockets, unless they are killed
too. The locks of ``engine.files`` mark what is in use. On systems that don't show shared memory as files,
engines list their blocks in the runtime directory.
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
from engine.files import OWN_NAME, is_held, places

_LISTED: Final = "memory-"
_YOUNG_S: Final = 60.0


def leftovers() -> list[Path]:
    """Files that ended engines of this user have left, sorted."""
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
    """Return whether a file (shared memory) or temporary directory belongs to a process that has ended."""
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
    is_young = time.time() - found.st_ctime < _YOUNG_S  # its owner may not have locked it yet
    return not (is_young and lives)


def remove(path: Path) -> None:
    """Remove one path of ``leftovers``. Raises ``OSError``."""
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
    """Remove all leftovers that can be removed; return their paths."""
    removed = []
    for path in leftovers():
        with suppress(OSError):
            remove(path)
            removed.append(path)
    return removed


def enlist(block: str) -> Path | None:
    """Record this process's shared memory block for ``leftovers``; return the file that names it.

    None if the system shows shared memory as files, or if the file can't be written.
    """
    if SHOWN_IN.is_dir() or os.name != "posix":
        return None
    with suppress(OSError):
        path = runtime_directory() / f"{_LISTED}{block}"
        path.touch(mode=0o600)
        return path
    return None
