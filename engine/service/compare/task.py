"""A run as bytes in and bytes out: what a process beside this one, or a worker of a cluster, is given.

As a program (``python -m engine.service.compare.task``) it reads a run from standard input and writes the
answer to standard output.
"""

import sys
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from engine import __version__
from engine.dataplane.memory import NotEnoughMemoryError
from engine.service.compare.runs import Progress, Result, Run, carry_out
from engine.service.sources import ChoiceError
from engine.traffic.capture import CaptureError
from engine.traffic.capture_file import CaptureFile
from engine.workers.pool import WorkerDiedError

_TELL_EVERY_S: Final = 0.2


class Failure(msgspec.Struct, frozen=True, tag=True):
    """A run that did not come to its end: why, as a kind and a sentence."""

    kind: Literal["unusable", "memory", "failed", "died"]
    sentence: str


class _Done(msgspec.Struct, frozen=True, tag=True):
    result: Result


class _Share(msgspec.Struct, frozen=True, tag=True):
    share: float


class _Order(msgspec.Struct, frozen=True):
    version: str
    run: Run


Answer = Result | Failure

_encode = msgspec.msgpack.encode


def encode_run(run: Run) -> bytes:
    """A run, with the version that is to carry it out."""
    return _encode(_Order(__version__, run))


def with_capture(order: bytes, path: str) -> bytes:
    """The same order, where the capture lies elsewhere."""
    read = msgspec.msgpack.decode(order, type=_Order)
    assert read.run.capture is not None
    run = msgspec.structs.replace(read.run, capture=CaptureFile(path, read.run.capture.name))
    return _encode(msgspec.structs.replace(read, run=run))


def decode_answer(words: bytes) -> Answer | float:
    """What ``answer`` returned, or told meanwhile: a share of the way."""
    said: _Done | _Share | Failure = msgspec.msgpack.decode(words, type=_Done | _Share | Failure)
    match said:
        case _Done():
            return said.result
        case _Share():
            return said.share
        case _:
            return said


def answer(order: bytes, tell: Callable[[bytes], None] = lambda words: None) -> bytes:
    """Carry out a run and encode what came of it; ``tell`` is told now and then how far it is."""
    try:
        read = msgspec.msgpack.decode(order, type=_Order)
    except (msgspec.MsgspecError, ValueError) as error:
        return _encode(Failure("failed", f"this is no order: {error}"))
    if read.version != __version__:
        return _encode(Failure("failed", f"vmqtui {__version__} is there, where {read.version} is wanted"))
    told = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_EVERY_S:
            told = now
            tell(_encode(_Share(share)))

    said = _carry_out(read.run, progress)
    if isinstance(said, Failure):
        return _encode(said)
    return _encode(_Done(said))


def _carry_out(run: Run, progress: Progress) -> Answer:
    try:
        return carry_out(run, progress)
    except (CaptureError, ChoiceError, ValueError) as error:
        return Failure("unusable", str(error))
    except NotEnoughMemoryError as error:
        return Failure("memory", str(error))
    except (WorkerDiedError, OSError) as error:
        return Failure("failed", str(error))


if __name__ == "__main__":
    from engine.kernels.prepare import prepare

    prepare(lambda sentence: None)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
