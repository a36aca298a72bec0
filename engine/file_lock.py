"""A lock on an open file, which ends with the file or with the process, however that ends."""

import sys
from typing import IO, Any

_PLACE = 0x7FFF_FFFE
"""Windows locks bytes and keeps others from reading them: these are beyond the end of the file."""


def try_lock(file: IO[Any]) -> bool:
    """Lock a file; False where another process, or another open file of this one, has the lock.

    True also on file systems without locks.
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
        return sys.platform != "win32"  # msvcrt has the same error for a lock that is held
    return True
