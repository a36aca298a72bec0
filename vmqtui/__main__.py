"""``vmqtui``: the one program. Workers re-import this module, so it imports nothing heavy."""

import signal
import sys
from types import FrameType


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, cleaning up; an engine's end is status 0 (contract 4), also before it is up."""
    raise SystemExit(0 if sys.argv[1:2] == ["engine"] else 128 + number)


def main() -> None:
    """Run the command line of this process and end with its status."""
    signal.signal(signal.SIGTERM, _terminate)
    from vmqtui.cli.program import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
