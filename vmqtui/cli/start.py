"""What commands that run frames do first, before anything that has kernels is imported."""

import sys
from collections.abc import Sequence

from vmqtui.cli.failures import failed


def prepare_kernels(*also: str, kernels: Sequence[str] = (), tell: bool = False) -> None:
    """Compile kernels where that is still to be done, those of ``kernels``, too, and let the workers' server
    load them meanwhile.

    It loads the modules ``also``. How far it is goes to stderr, on a terminal or with ``tell``. Ends the
    command where they don't compile.
    """
    from engine.kernels.prepare import KernelError, prepare, why_at_every_start
    from engine.workers.start import warm_up

    tell = tell or sys.stderr.isatty()

    def say(sentence: str) -> None:
        if tell:
            print(sentence, file=sys.stderr, flush=True)

    if why := why_at_every_start():
        say(why)
    try:
        prepare(say, kernels)
    except KernelError as error:
        failed(error)
    warm_up(*also)
