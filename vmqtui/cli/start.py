"""What commands that run frames do first, before anything that has kernels is imported."""

import sys

from vmqtui.cli.failures import failed


def prepare_kernels(*also: str, tell: bool = False) -> None:
    """Compile kernels where that is still to be done, and let the workers' server load them meanwhile.

    It loads the modules ``also``. How far it is goes to stderr, on a terminal or with ``tell``. Ends the
    command where they don't compile.
    """
    from engine.dataplane.start import warm_up
    from engine.kernels import KernelError, prepare

    tell = tell or sys.stderr.isatty()
    try:
        prepare(lambda sentence: print(sentence, file=sys.stderr, flush=True) if tell else None)
    except KernelError as error:
        failed(error)
    warm_up(*also)
