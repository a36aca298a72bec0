"""Passwords on the command line, which every user of the machine can read in the process list.

A broker's URL may stand there. Its password is overwritten as soon as we run, where the system lets a process
do that (Linux); the better ways are the environment and files.
"""

import ctypes
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PASSWORD: Final = re.compile(rb"\bmqtts?://[^\s/:@]*:([^\s]+)@", re.IGNORECASE)
_ARG_START: Final = 45  # field 48 of /proc/PID/stat (proc_pid_stat(5)), counted from the third


def has_password(arguments: Iterable[str]) -> bool:
    """Whether there is a broker's password among the arguments."""
    return any(_PASSWORD.search(argument.encode(errors="surrogateescape")) for argument in arguments)


def conceal() -> bool:
    """Overwrite the passwords of brokers in this process's arguments; whether none is left there."""
    if sys.platform != "linux":
        return False
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    except (OSError, ValueError, IndexError):
        return False
    if not 0 < start < end:
        return False
    at = 0
    for argument in ctypes.string_at(start, end - start).split(b"\0"):
        if (password := _PASSWORD.search(argument)) is not None:
            ctypes.memset(start + at + password.start(1), ord("x"), len(password[1]))
        at += len(argument) + 1
    return True
