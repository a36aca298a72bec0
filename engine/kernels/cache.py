"""The on-disk cache of compiled kernels; damaged or untrusted files are compiled again.

The directory's name is a hash of the kernel sources, their path, the Python, Numba and NumPy versions and the
processor. A file holds a digest, then the kernel; a damaged file counts as missing. The cached code is
executed, so the directory must be trusted (``engine.trusted``).
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

import platformdirs

from engine.trusted import UntrustedError, make_trusted, open_trusted

_PACKAGE: Final = Path(__file__).parent.parent
USED: Final = "used"
"""A file in the cache; its mtime is the last start."""

_KEPT_S: Final = 30 * 24 * 3600.0
_WRITING_S: Final = 3600.0
_NEW: Final = ".new-"
_SUFFIX: Final = ".kernel"
_DIGEST_BYTES: Final = 32
_SOURCES: Final = (
    "kernels/*.py",
    "ndis/counters.py",
    "ndis/steering.py",
    "traffic/*.py",
)


def _sources_hash() -> str:
    digest = hashlib.sha256(str(_PACKAGE).encode())
    for pattern in _SOURCES:
        for source in sorted(_PACKAGE.glob(pattern)):
            digest.update(source.relative_to(_PACKAGE).as_posix().encode())
            digest.update(source.read_bytes())
    versions = (platform.python_version(), metadata.version("numba"), metadata.version("numpy"))
    digest.update(" ".join((*versions, platform.machine(), _processor())).encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Return the processor's model and features, which may differ between machines that share a home."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        return "\n".join(line for line in first.splitlines() if line.startswith(names))
    return platform.processor()


def _cache_directory() -> tuple[Path | None, tuple[str, ...]]:
    """Return the cache directory, or None, and for each preferred directory the reason it is unusable."""
    refused = []
    name = f"kernels-{_sources_hash()}"
    for place in (_of_the_user(), _of_this_machine()):
        try:
            directory = make_trusted(make_trusted(place) / name)
            if not (directory / USED).exists():
                with tempfile.TemporaryFile(dir=directory):
                    pass
        except UntrustedError as error:
            refused.append(str(error.strerror))
        except OSError as error:
            refused.append(f"{place}: {error.strerror or error}")
        else:
            return directory, tuple(refused)
    return None, tuple(refused)


def _of_the_user() -> Path:
    return Path(platformdirs.user_cache_dir("vmqtui", appauthor=False))


def _of_this_machine() -> Path:
    """Return a directory below the temporary one, for users without a home directory."""
    user = "" if sys.platform == "win32" else f"-{os.getuid()}"
    return Path(tempfile.gettempdir()) / f"vmqtui{user}"


def load(directory: Path, name: str) -> bytes | None:
    """Return the cached kernel with that name, or None if it is missing, damaged or untrusted."""
    try:
        return _payload(directory / f"{name}{_SUFFIX}")
    except (OSError, _DamagedError):
        return None


def keep(directory: Path, name: str, payload: bytes) -> None:
    """Cache a kernel atomically: a crash leaves a complete file or none. Raises OSError."""
    _write(
        directory / f"{name}{_SUFFIX}", hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest() + payload
    )


def complete(directory: Path, module: str) -> None:
    """List the kernels of a module in a file with its name, which marks them as complete. Raises OSError."""
    names = sorted(path.name for path in directory.glob(f"{module}.*{_SUFFIX}"))
    _write(directory / module, json.dumps(names).encode())


def faults(directory: Path, module: str) -> list[str] | None:
    """Return a sentence for each damaged or unreadable kernel in the list of a module; None: no list."""
    done = directory / module
    try:
        with open_trusted(done) as file:
            names = json.loads(file.read())
        paths = [done.parent / name for name in names]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        return [f"{done} can't be read: {error}"]
    found = []
    for path in paths:
        try:
            _payload(path)
        except OSError as error:
            found.append(f"{path}: {error.strerror or error}")
        except _DamagedError:
            found.append(f"{path}: is damaged")
    return found


class _DamagedError(Exception):
    """A file's content does not match its digest."""


def _payload(path: Path) -> bytes:
    with open_trusted(path) as file:
        content = file.read()
    digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest() != digest:
        raise _DamagedError
    return payload


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically and sync it to disk."""
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=_NEW)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(new).unlink()
        raise


def forget_old(directory: Path) -> None:
    """Remove kernels of other sources unused for 30 days, and unfinished files older than an hour."""
    for new in directory.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):
            if time.time() - new.stat().st_mtime > _WRITING_S:
                new.unlink()
    for other in directory.parent.glob("kernels-*"):
        try:
            used = max(path.stat().st_mtime for path in (other, other / USED) if path.exists())
            if other != directory and time.time() - used > _KEPT_S:
                shutil.rmtree(other, ignore_errors=True)
        except (OSError, ValueError):  # another process removes it
            continue


CACHE_DIRECTORY, REFUSED = _cache_directory()
"""The kernel cache for these sources (None: no directory is usable), and why preferred ones are unusable."""
