"""Run ``vmqtui ARGS…`` and send its process group SIGINT at the Nth audit event of the main process.

Usage: ``interrupted.py N FILE ARGS…``. Audit events are imports, files, processes and memory: moments that
matter, without a clock. N 0 sends none, and writes to FILE how many there were.
"""

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    moment, count = int(sys.argv[1]), Path(sys.argv[2])
    sys.argv = ["vmqtui", *sys.argv[3:]]
    own = os.getpid()
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if os.getpid() == own:
            seen += 1
            if seen == moment:
                os.killpg(0, signal.SIGINT)

    if not moment:
        atexit.register(lambda: count.write_text(str(seen)))
    from vmqtui.__main__ import main as program

    sys.addaudithook(hook)
    program()


if __name__ == "__main__":
    main()
