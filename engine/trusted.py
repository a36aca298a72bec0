"""Trusted files: those that only this user and root can have written.

Machine code, credentials and accounts are read from such files only. A file is trusted if it and every
directory on its path belong to this user or root, and no other user can write to them; in a sticky directory
(``/tmp``) other users can add files but not replace those of this user. Group write permission is allowed if
the group is the user's private one (same name, no other member), as Debian and Fedora set it up.

Not checked: access control lists, beyond the mode bits; and nothing on Windows, where other users have no
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
    """Another user can change a file; ``strerror`` is a sentence that names the part of the path and why."""

    def __init__(self, part: Path, why: str) -> None:
        super().__init__(errno.EPERM, f"{part} {why}")


def trusted_path(path: Path) -> Path:
    """The path without symbolic links, checked that no other user can change or replace it.

    Raises ``UntrustedError``, and OSError if there is no such path.
    """
    real = _stable_path(path)
    _check(real, real.lstat())
    return real


def make_trusted(directory: Path) -> Path:
    """Make a directory for this user only, with missing parents; return its path without links.

    Nothing is made if another user could replace it. Raises ``UntrustedError``, and OSError.
    """
    _stable_path(next(above for above in (directory, *directory.absolute().parents) if above.exists()))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return trusted_path(directory)


def _stable_path(path: Path) -> Path:
    """A path without symbolic links, no part of which another user can replace; its end may be a sticky
    directory. Raises as ``trusted_path``.
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
    """Open a trusted file for reading; the very file that was checked. A pipe of this user is trusted too.

    Raises ``UntrustedError``, and OSError if it can't be opened.
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
    """``shared``: a sticky directory, which others may write to."""
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
    """Whether a group is this user's private one."""
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
