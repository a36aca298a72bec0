"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "failed"]
"""``note``: it works, and something could be better, or can't be told from here."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do ("": nothing)."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""
