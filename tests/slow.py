"""Cases that only CI's slow step runs."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def slow_but(quick: Sequence[Any], cases: Iterable[Any], *, unpack: bool = False) -> list[Any]:
    """Parameters of a test: those in ``quick`` run for everybody, the others are marked slow.

    ``unpack``: a case is a tuple of several arguments, not one argument.
    """
    return [
        case if case in quick else pytest.param(*(case if unpack else [case]), marks=pytest.mark.slow)
        for case in cases
    ]


def examples(number: int) -> int:
    """Examples that a search by hypothesis tries: all of them in CI, a quarter for everybody."""
    return number if os.environ.get("VMQTUI_NO_SKIPS") else number // 4
