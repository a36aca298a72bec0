"""Trusted files: files that only this user and root can have written.

Machine code, credentials and accounts are read only from trusted files. A file is trusted if it and every
directory on its path belong to this user or root, and no other user can write to them. A sticky directory
(``/tmp``) on the path is allowed: other users can add files to it, but not replace this user's. Group write
permission is allowed if the group is the user's private one (same name, no other member), as Debian and
Fedora set it up.

Access control lists are not checked, only mode bits. On Windows nothing is checked: there other users have no
access to a profile directory by default.
"""

import errno
import os
import stat
import sys
from functools import cache
from pathlib import Path
from typing import BinaryIO

_ROOT = 0


class UntrustedError(PermissionError):
    """Another user can change a file; ``strerror`` is a sentence with the part of the path and the reason."""

    def __init__(self, part: Path, why: str) -> None:
        super().__init__(errno.EPERM, f"{part} {why}")


def trusted_path(path: Path) -> Path:
    """Resolve symbolic links; check that no other user can change or replace the path; return it.

    Raises ``UntrustedError``, OSError if the path does not exist.
    """
    real = _stable_path(path)
    _check(real, real.lstat())
    return real


def make_trusted(directory: Path) -> Path:
    """Create a directory that only this user can access, with missing parents; return its resolved path.

    Checks first that no other user could replace it. Raises ``UntrustedError``, OSError.
    """
    _stable_path(next(above for above in (directory, *directory.absolute().parents) if above.exists()))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return trusted_path(directory)


def _stable_path(path: Path) -> Path:
    """Resolve symbolic links; check that no other user can replace any part of the path; return it.

    The path itself may be a sticky directory. Raises the errors of ``trusted_path``.
    """
    if sys.platform == "win32":
        return path
    path = path.absolute()
    for part in (path, *path.parents):
        link = part.lstat()
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in _owners():
            raise UntrustedError(part, f"is a link of {_user(link.st_uid)}")
    real = path.resolve(strict=True)
    for part in (real, *real.parents):
        found = part.lstat()
        shared = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
        _check(part, found, shared=shared)
    return real


def open_trusted(path: Path) -> BinaryIO:
    """Open a trusted file for reading, without a race between check and open.

    A pipe that only this user or root can write to is trusted too. Raises ``UntrustedError``, OSError if it
    can't be opened.
    """
    file = path.open("rb")
    try:
        if sys.platform != "win32":
            found = os.fstat(file.fileno())
            if stat.S_ISFIFO(found.st_mode):
                _check(path, found)
            elif not os.path.samestat(trusted_path(path).lstat(), found):
                raise UntrustedError(path, "was replaced while it was opened")
    except BaseException:
        file.close()
        raise
    return file


def check_private(path: Path, file: BinaryIO) -> None:
    """Check that no other user can read an open file. Raises ``UntrustedError``."""
    if sys.platform != "win32" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
        raise UntrustedError(path, f"can be read by other users (chmod 600 {path})")


def _check(part: Path, found: os.stat_result, *, shared: bool = False) -> None:
    """Check a path's owner and mode. ``shared``: a sticky directory, to which other users may write."""
    if found.st_uid not in _owners():
        raise UntrustedError(part, f"belongs to {_user(found.st_uid)}")
    if found.st_mode & stat.S_IWOTH and not shared:
        raise UntrustedError(part, "can be written by every user")
    if found.st_mode & stat.S_IWGRP and not shared and not (_is_own(found) and _is_private(found.st_gid)):
        raise UntrustedError(part, f"can be written by {_group(found.st_gid)}")


def _owners() -> tuple[int, int]:
    return _ROOT, os.getuid()


def _is_own(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid()


@cache
def _is_private(gid: int) -> bool:
    """Return whether a group is this user's private one: same name, no other member."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (group.gr_gid, group.gr_name) == (user.pw_gid, user.pw_name) and {*group.gr_mem} <= {user.pw_name}


def _user(uid: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return f"group {grp.getgrgid(gid).gr_name}"
    except KeyError:
        return f"group {gid}"
