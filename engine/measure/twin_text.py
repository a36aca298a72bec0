"""Scenario text in which each value has a comment that says how it is known: measured, derived or assumed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.scenario.values import one_line
from engine.telemetry.stats import Source

Known = Literal["measured", "derived", "assumed"]
MEANINGS: Final[dict[Known, str]] = {
    "measured": "read from the host",
    "derived": "computed from what was read",
    "assumed": "not known of the host: a default, or a guess that is described",
}
OF_SOURCE: Final[dict[Source, Known]] = {"exact": "measured", "derived": "derived", "guessed": "assumed"}
"""How a value is known that comes from a column of this source."""

Plain = str | int | float | bool | Sequence[int] | Sequence[str]


@dataclass(frozen=True)
class Value:
    """A value of a scenario, how it is known, and why it is as it is ("" if there is nothing to add)."""

    value: Plain
    known: Known
    why: str = ""


def whole(
    raw: int | None, default: int, low: int, high: int, *, known: Known = "measured", why: str = ""
) -> Value:
    """Return a whole number as measured, moved into ``low``..``high`` if it is outside; else the default."""
    if raw is None:
        return Value(default, "assumed")
    if low <= raw <= high:
        return Value(raw, known, why)
    return Value(min(max(raw, low), high), known, f"{raw} does not fit; {low}..{high} does")


def number(raw: float | None, default: float, low: float, high: float, *, why: str = "") -> Value:
    """Return a number like ``whole``."""
    if raw is None:
        return Value(default, "assumed")
    if low <= raw <= high:
        return Value(float(raw), "measured", why)
    return Value(
        min(max(float(raw), low), high), "measured", f"{raw:.12g} does not fit; {low:g}..{high:g} does"
    )


def toml(value: Plain) -> str:
    """Write a value in TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            escaped = one_line(value.replace("\\", "\\\\").replace('"', '\\"'))
            return f'"{escaped}"'
        case _:
            return f"[{', '.join(toml(one) for one in value)}]"


class Sheet:
    """The lines of a scenario file, with the number of values of each kind in ``counts``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: Counter[Known] = Counter()

    def comments(self, sentences: Iterable[str], indent: int = 0) -> None:
        """Add comments, a line for each sentence."""
        self.lines += [f"{' ' * indent}# {one_line(sentence)}" for sentence in sentences]

    def table(self, heading: str, comment: str = "", indent: int = 0) -> None:
        """Begin a table, ``[host]`` or ``[[adapter]]``."""
        after = f"  # {one_line(comment)}" if comment else ""
        self.lines += [*([""] if indent < 4 else []), f"{' ' * indent}{heading}{after}"]

    def put(self, key: str, value: Value, indent: int = 0) -> None:
        """Add a key with its value, and the comment that says how it is known."""
        self.counts[value.known] += 1
        why = f": {one_line(value.why)}" if value.why else ""
        self.lines.append(f"{' ' * indent}{key} = {toml(value.value)}  # {value.known}{why}")

    def inline(self, pairs: dict[str, Plain], known: Known, why: str, indent: int = 0) -> None:
        """Add an inline table as an element of an array, with one comment for all of its values."""
        self.counts[known] += len(pairs)
        inner = ", ".join(f"{key} = {toml(value)}" for key, value in pairs.items())
        self.lines.append(f"{' ' * indent}{{ {inner} }},  # {known}{': ' + one_line(why) if why else ''}")

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.lines).lstrip("\n") + "\n"
