"""What a target is, and what its function may use: files to read from, and the rule for sentences."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.fuzz.mutate import Form


@dataclass(frozen=True)
class Target:
    """A decoder: ``run`` raises findings; ``seeds`` are inputs it takes, for mutations to start from.

    ``form`` is how its input can be taken apart and changed; ``words`` are what it is likely to hold.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    form: Form | None = None
    words: Callable[[], Iterable[str]] = tuple


@cache
def _room() -> tuple["tempfile.TemporaryDirectory[str]", Path]:
    directory = tempfile.TemporaryDirectory(prefix="vmq-fuzz-")
    return directory, Path(directory.name)


def room() -> Path:
    """A directory that goes with the process."""
    return _room()[1]


def written(data: bytes, name: str) -> Path:
    """A file with that content."""
    path = room() / name
    path.write_bytes(data)
    return path


def check_sentence(error: Exception | str) -> None:
    """Whether a refusal can be shown to a person as it is."""
    sentence = str(error)
    assert sentence, "a refusal without a word"
    assert sentence.isprintable(), f"a sentence that could move a cursor: {sentence!r}"
    assert len(sentence) < 4096, "a sentence without an end"
