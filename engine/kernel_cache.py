"""Where compiled kernels are kept.

Numba's own cache misses edits in imported files and fails on read-only installs, so the directory is
ours, named by a hash of every kernel source and of the versions that shape the machine code.
"""

import getpass
import hashlib
import platform
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

import platformdirs

_PACKAGE: Final = Path(__file__).parent
_SOURCES: Final = ("jit.py", "ndis/counters.py", "ndis/steering.py", "traffic/*.py", "dataplane/*.py")


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for source in sorted(_PACKAGE.glob(pattern)):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    versions = (platform.python_version(), metadata.version("numba"), metadata.version("numpy"))
    digest.update(" ".join((*versions, platform.machine())).encode())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    root = Path(platformdirs.user_cache_dir("vmqtui", appauthor=False))
    for base in (root, Path(tempfile.gettempdir()) / f"vmqtui-{getpass.getuser()}"):
        directory = base / f"kernels-{_sources_hash()}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return None


CACHE_DIRECTORY: Final = _cache_directory()
"""The kernel cache of these sources; None where no directory can be written."""
