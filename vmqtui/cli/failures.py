"""How a command ends: its exit status, and one line with the reason."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Final, NoReturn

from vmqtui.printable import printable

DONE: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2
INTERRUPTED: Final = 130

_log = logging.getLogger(__name__)

TRACEBACK_VARIABLE: Final = "VMQTUI_TRACEBACK"
"""Environment variable; if set, an internal error prints a traceback."""


class CommandError(Exception):
    """Ends a command with ``status``; ``sentences`` are lines for stderr: one, or one for each mistake in a
    file."""

    def __init__(self, *sentences: str, status: int) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences
        self.status = status


def unusable(sentence: object) -> NoReturn:
    """End with status 2: the arguments, scenario or capture are invalid."""
    raise CommandError(str(sentence), status=UNUSABLE)


def failed(sentence: object) -> NoReturn:
    """End with status 1: the command ran and failed."""
    raise CommandError(str(sentence), status=FAILED)


def not_one_of(given: str, fitting: Sequence[str], what: str) -> str:
    """Return a message for an unknown name: it suggests the nearest known name, or lists all."""
    nearest = get_close_matches(given, fitting, n=1, cutoff=0.5)
    hint = f"(did you mean {nearest[0]}?)" if nearest else f"({', '.join(fitting)} fit)"
    return f"{given!r} is not {what} {hint}"


def warn(sentence: object) -> None:
    """Print a warning on stderr; the command continues."""
    print(f"warning: {printable(str(sentence))}", file=sys.stderr)


def say_error(sentence: object) -> None:
    """Print the error that ended a command on stderr, and log it if a log is open."""
    print(f"error: {printable(str(sentence))}", file=sys.stderr)
    with suppress(ImportError, OSError):  # without descriptors no module can be read
        from engine.logs import note

        note(_log, logging.ERROR, "command_failed", why=sentence)


@contextmanager
def sentences() -> Iterator[None]:
    """Translate exceptions of the engine and the preferences into ``CommandError``."""
    from engine.bus.errors import BadAccounts, BadName, BadTls, BadUrl, BusError
    from engine.scenario.load import ScenarioError
    from vmqtui.preferences.file import PreferencesError

    try:
        yield
    except PreferencesError as error:
        raise CommandError(*error.mistakes, status=UNUSABLE) from None
    except (BadAccounts, BadUrl, BadName, BadTls, ScenarioError) as error:
        unusable(error)
    except BusError as error:
        failed(error)


@contextmanager
def engine_sentences(scenario: str) -> Iterator[None]:
    """Like ``sentences``, for commands that run frames; ``scenario`` names the file in its errors."""
    from engine.dataplane.memory import NotEnoughMemoryError
    from engine.kernels.prepare import KernelError
    from engine.service.sources import ChoiceError
    from engine.traffic.capture import CaptureError
    from engine.traffic.libpcap import InterfaceError
    from engine.traffic.plan_placement import NoProcessorError
    from engine.workers.pool import WorkerDiedError

    with sentences():
        try:
            yield
        except (CaptureError, ChoiceError, NoProcessorError) as error:
            unusable(error)
        except InterfaceError as error:  # it names the argument, and the user typed the option
            unusable(f"--{error}")
        except NotEnoughMemoryError as error:
            unusable(f"{scenario}: {error}")
        except (KernelError, WorkerDiedError) as error:
            failed(error)


def conclude(command: Callable[[], int]) -> int:
    """Run a command; return its exit status. Users see sentences, not tracebacks."""
    try:
        return command()
    except CommandError as error:
        for sentence in error.sentences:
            say_error(sentence)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader of our output has gone
            return DONE
        raise
    except BrokenPipeError:  # the same
        return DONE
    except OSError as error:
        say_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return FAILED
    except Exception as error:
        return internal(error)


def internal(error: BaseException) -> int:
    """Report an unexpected error and return its status; reraise it if ``TRACEBACK_VARIABLE`` is set."""
    if TRACEBACK_VARIABLE in os.environ:
        raise error
    _log.error("internal_error", exc_info=error)
    say_error(f"internal error: {type(error).__name__}: {error} (set {TRACEBACK_VARIABLE}=1 to see where)")
    return FAILED
