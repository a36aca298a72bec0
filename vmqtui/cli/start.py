"""What commands that run frames do first."""

import sys


def prepare_kernels() -> None:
    """Compile kernels where that is still to be done, and let the workers' server load them meanwhile."""
    from engine.dataplane.start import warm_up
    from engine.kernels import prepare

    on_terminal = sys.stderr.isatty()
    prepare(lambda sentence: print(sentence, file=sys.stderr) if on_terminal else None)
    warm_up()
