"""How a command ends: statuses, and the one line that says why."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
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
"""Set to anything: an internal error shows where it came from."""


class CommandError(Exception):
    """A command ends with ``status``; ``sentences`` are the lines on stderr: one, or a file's mistakes."""

    def __init__(self, *sentences: str, status: int) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences
        self.status = status


def unusable(sentence: object) -> NoReturn:
    """End with status 2: arguments, scenario or capture can't be used."""
    raise CommandError(str(sentence), status=UNUSABLE)


def failed(sentence: object) -> NoReturn:
    """End with status 1: it ran and failed."""
    raise CommandError(str(sentence), status=FAILED)


def not_one_of(given: str, fitting: Sequence[str], what: str) -> str:
    """What to say of a name that is not known: the nearest that is, or all that are."""
    nearest = get_close_matches(given, fitting, n=1, cutoff=0.5)
    hint = f"(did you mean {nearest[0]}?)" if nearest else f"({', '.join(fitting)} fit)"
    return f"{given!r} is not {what} {hint}"


def warn(sentence: object) -> None:
    """A line on stderr that ends nothing."""
    print(f"warning: {printable(str(sentence))}", file=sys.stderr)


def say_error(sentence: object) -> None:
    """The one line on stderr that says why a command ended; the log, where there is one, has it too."""
    print(f"error: {printable(str(sentence))}", file=sys.stderr)
    with suppress(ImportError, OSError):  # without descriptors no module can be read
        from engine.logs import note

        note(_log, logging.ERROR, "command_failed", why=sentence)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what the engine's rooms raise into the end of a command."""
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
    """The same for commands that run frames; ``scenario`` names the file in errors that are about it."""
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
        except (CaptureError, ChoiceError, InterfaceError, NoProcessorError) as error:
            unusable(error)
        except NotEnoughMemoryError as error:
            unusable(f"{scenario}: {error}")
        except (KernelError, WorkerDiedError) as error:
            failed(error)


def internal(error: BaseException) -> int:
    """The status of an error that nobody foresaw; the traceback only for who asks for it."""
    if TRACEBACK_VARIABLE in os.environ:
        raise error
    _log.error("internal_error", exc_info=error)
    say_error(f"internal error: {type(error).__name__}: {error} (set {TRACEBACK_VARIABLE}=1 to see where)")
    return FAILED
