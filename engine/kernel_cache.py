"""Where compiled kernels are kept.

Numba's own cache misses edits in imported files and fails on read-only installs, so the directory is
ours, named by a hash of every kernel source, of where they are (Numba keeps what it compiles apart by path),
and of the versions that shape the machine code.
"""

import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

import platformdirs

_PACKAGE: Final = Path(__file__).parent
COMPLETE: Final = "complete"
"""A file in the cache: every kernel is there; its time is that of the last start."""

_KEPT_S: Final = 30 * 24 * 3600.0
_SOURCES: Final = ("jit.py", "ndis/counters.py", "ndis/steering.py", "traffic/*.py", "dataplane/*.py")


def _sources_hash() -> str:
    digest = hashlib.sha256(str(_PACKAGE).encode())
    for pattern in _SOURCES:
        for source in sorted(_PACKAGE.glob(pattern)):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    versions = (platform.python_version(), metadata.version("numba"), metadata.version("numpy"))
    digest.update(" ".join((*versions, platform.machine())).encode())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    for place in (_of_the_user, _of_this_machine):
        try:
            directory = place() / f"kernels-{_sources_hash()}"
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


def _of_the_user() -> Path:
    return Path(platformdirs.user_cache_dir("vmqtui", appauthor=False))


def _of_this_machine() -> Path:
    """For those without a home: a directory of temporary files that nobody else can write to.

    Machine code is loaded from it, so one that somebody else made, or may change, is not used.
    """
    if sys.platform == "win32":
        return Path(tempfile.gettempdir()) / "vmqtui"  # this user's own already
    directory = Path(tempfile.gettempdir()) / f"vmqtui-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    made = directory.lstat()
    if not stat.S_ISDIR(made.st_mode) or made.st_uid != os.getuid() or made.st_mode & 0o022:
        raise PermissionError(f"{directory} is not this user's alone")
    return directory


def forget_old(directory: Path) -> None:
    """Remove what was compiled from other sources and not used for a month."""
    for other in directory.parent.glob("kernels-*"):
        try:
            used = max(path.stat().st_mtime for path in (other, other / COMPLETE) if path.exists())
            if other != directory and time.time() - used > _KEPT_S:
                shutil.rmtree(other, ignore_errors=True)
        except (OSError, ValueError):  # somebody else removes it
            continue


CACHE_DIRECTORY: Final = _cache_directory()
"""The kernel cache of these sources; None where no directory can be written."""
