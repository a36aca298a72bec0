"""The entry point of ``vmqtui``. Worker processes import this module too, so its imports are light."""

import gc
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

_PATIENCE_S = 5.0


class _Terminate:
    """A SIGTERM handler that raises SystemExit, so that cleanup runs as on Ctrl-C.

    The exit status of an engine or agent is 0, even while it starts (contract 4). ``came`` records the signal
    for the handler installed later: a library that catches every exception during its import swallows
    SystemExit.
    """

    came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise SystemExit(0 if sys.argv[1:2] in (["engine"], ["agent"]) else 128 + number)


class _Interrupt:
    """A SIGINT handler that raises KeyboardInterrupt, and ignores impatient repetitions.

    They would break off the cleanup, which removes processes, shared memory and files.
    """

    def __init__(self) -> None:
        self._came_s = -_PATIENCE_S

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._came_s >= _PATIENCE_S:
            self._came_s = now
            raise KeyboardInterrupt


def _conceal_passwords() -> None:
    from vmqtui.cli.startup import conceal, has_password

    if has_password(sys.argv[1:]) and (not conceal() or sys.stderr.isatty()):
        from vmqtui.cli.failures import warn

        warn(
            "--broker: other users of this machine can read a password on the command line;"
            " put the URL in VMQTUI_BROKER, or the password in a file (--password-file)"
        )


def _import_nothing_from_here() -> None:
    """Remove the working directory from the import path of child processes: other users may write there.

    ``python -m`` and ``python -c`` would import a ``json.py`` from it instead of the standard library's.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    root = str(Path(__file__).resolve().parent.parent)
    if root not in sys.path[1:]:  # started from a source folder: children need it too
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def main() -> None:
    """Run the command line of this process and exit with its status; it is 130 after Ctrl-C at any moment."""
    try:
        signal.signal(signal.SIGINT, _Interrupt())
        status = _run()
    except KeyboardInterrupt:  # while modules were imported
        status = 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the interpreter ends, and would print where it was
    sys.exit(status)


def _run() -> int:
    gc.set_threshold(20_000, 20, 50)  # imports make many objects and hardly any garbage: search it less often
    signal.signal(signal.SIGTERM, _Terminate())
    from vmqtui.cli.startup import prepare_streams

    prepare_streams()
    _import_nothing_from_here()
    if any("@" in argument for argument in sys.argv[1:]):
        _conceal_passwords()
    match sys.argv[1:]:
        case ["engine", "--tied", options]:
            from vmqtui.cli.engine import run_tied as run_engine

            return run_engine(options)
        case ["agent", "--tied", options]:
            from vmqtui.cli.measured import run_tied as run_agent

            return run_agent(options)
        case [] if not any("VMQTUI_" in name for name in os.environ):  # there is nothing to read
            from vmqtui.cli.private import bare_engine

            with bare_engine() as private:  # it starts while the rest is imported
                from vmqtui.cli.dashboard import run_bare

                return run_bare(private)
        case arguments:
            from vmqtui.cli.program import run

            return run(arguments)


if __name__ == "__main__":
    main()
