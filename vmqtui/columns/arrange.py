"""Filter rows by a query, then sort them by a column.

A query consists of words, ``key:word`` terms and comparisons. A term that can't be parsed is reported and
otherwise ignored:

    web drops>0            rows with "web" in any of their words that drop frames
    vm:sql load>=80%       a word in one column; k, M, G and % after numbers
    !state:running         negation: rows that don't match
    ~^web-\\d+$ vm:~sql     a regular expression, anywhere or in one column
    vm:"two words"         quotes keep blanks together

A key is a column's export name, its heading or title, one of these without its "/s", or the beginning of one.
"""

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, Protocol, TypeVar

from engine.view.rates import STEADY_NS
from vmqtui.columns.column import Column, ordered
from vmqtui.state.choices import TableChoice

SYNTAX = (
    ("web", "a name, an address or a state holds the word; an id is the number"),
    ("vm:web", "the word is in that column"),
    ("drops>0 load>=80% pps<1.5k", "comparisons: > >= < <= = !=; k, M, G and % after numbers"),
    ("!state:running", "the others"),
    (
        r"~^web-\d+$ vm:~^sql",
        "a regular expression is found in a name, an address or a state; in that column",
    ),
    ('vm:"a b"', "quotes keep blanks together"),
)
"""An example of each kind of term, and the rows that pass it."""
LIMIT = 200
"""Maximum length of a query in characters; the rest is ignored."""
_PATTERN_LIMIT_BYTES: Final = 1 << 20
"""Most memory of a compiled regular expression; RE2 searches in a time that grows linearly with the text."""
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": ge,
    "<=": le,
    "!=": ne,
    ">": gt,
    "<": lt,
    "=": eq,
    ":": eq,
}
_TERM = re.compile(r'(?P<key>[^\W\d][\w/]*)(?P<operator>>=|<=|!=|[><=:])(?P<value>~?"[^"]*"?|\S*)|\S+')
_SPLIT = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_NUMBER = re.compile(r"([+-]?(?:\d[\d,_]*\.?\d*|\.\d+))([kKMGT%]?)")
_ADDRESS = re.compile(r"[0-9a-f]{1,2}([:-][0-9a-f]{0,2})+", re.IGNORECASE)
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01}


class Field(Protocol):
    """The part of a column that a query reads."""

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def heading(self) -> str: ...
    @property
    def exported(self) -> bool: ...
    @property
    def fraction(self) -> bool: ...
    @property
    def words(self) -> bool: ...
    @property
    def is_rate(self) -> bool: ...
    @property
    def is_measure(self) -> bool: ...
    @property
    def value(self) -> Callable[[Any], Any]: ...


F = TypeVar("F", bound=Field)
Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Query:
    """A parsed query: a row passes if it passes every test. ``problem`` is a sentence about the first
    invalid term; the valid terms still apply. ``of_rates``: whether any test reads a rate."""

    tests: tuple[Test, ...] = ()
    problem: str = ""
    of_rates: bool = False

    def matches(self, row: Any) -> bool:
        return all(test(row) for test in self.tests)


def parse(text: str, fields: Sequence[Field]) -> Query:
    """Parse a query over the given columns."""
    tests: list[Test] = []
    problem, of_rates = "", False
    known = [field for field in fields if field.exported]
    for term in _SPLIT.findall(text[:LIMIT]):
        try:
            test, field = _test(term, known)
        except ValueError as error:
            problem = problem or str(error)
        else:
            tests.append(test)
            of_rates = of_rates or (field is not None and field.is_rate)
    return Query(tuple(tests), problem, of_rates)


def _test(term: str, fields: Sequence[Field]) -> tuple[Test, Field | None]:
    """Return the test of a term and its column; None for a word, which searches all columns."""
    if term.startswith("!") and not term.startswith("!="):
        if len(term) == 1:
            raise ValueError("! wants something to leave out, like !web")
        inner, field = _test(term[1:], fields)
        if field is not None and field.is_measure:  # an unknown number is neither
            read = field.value
            return lambda row: read(row) is not None and not inner(row), field
        return lambda row: not inner(row), field
    if term.startswith("~"):
        return _found_in_words(_pattern(term[1:], "~"), fields), None
    found = None if _ADDRESS.fullmatch(term) else _TERM.fullmatch(term)
    if found is None or found["key"] is None:
        return _word(term.strip('"'), fields), None
    field = field_called(found["key"], fields)
    return _of_field(field, found["key"], found["operator"], found["value"]), field


def _of_field(field: Field, key: str, operator: str, value: str) -> Test:
    """Return the test of one column. Raises ValueError with a sentence for the user."""
    wanted = value.strip('"')
    if not wanted:
        raise ValueError(f"{key}{operator} wants a value, like {key}{operator}{_example(operator)}")
    if operator == ":":
        if value.startswith("~"):
            return _matches(field, key, _pattern(value[1:], f"{key}:~"))
        return _contains(field, wanted)
    number = _number(wanted, field)
    if operator in ("=", "!="):
        return _equals(field, wanted, number, operator == "=")
    if number is None:
        raise ValueError(f"{key}{operator}{wanted}: {wanted} is not a number (like 80, 1.5k or 80%)")
    return _compares(field, _OPERATORS[operator], number)


def _example(operator: str) -> str:
    return "web" if operator == ":" else "0"


def field_called(key: str, fields: Sequence[F]) -> F:
    """Return the column that a key names. Raises ValueError with a sentence for the user."""
    wanted = key.lower()
    for exactly in (wanted, f"{wanted}/s"):
        exact = [field for field in fields if exactly in _names(field)]
        if exact:
            return exact[0]
    begun = [field for field in fields if any(name.startswith(wanted) for name in _names(field))]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise ValueError(f"{key} could be {', '.join(field.key for field in begun[:4])}")
    near = get_close_matches(wanted, [field.key for field in fields], 1, 0.5)
    raise ValueError(f"no column {key}" + (f"; is it {near[0]}?" if near else ""))


def _names(field: Field) -> tuple[str, ...]:
    return tuple(name.lower() for name in (field.key, field.heading, field.title) if name)


def _number(text: str, field: Field) -> float | None:
    """Parse a number with an optional suffix; for a fraction, 80 means 80 %. None if it is no number."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    number = float(found[1].replace(",", "").replace("_", "")) * _SCALE[found[2]]
    return number / 100 if field.fraction and not found[2] and abs(number) > 1 else number


def _values(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return ["any" if part is None else part for part in value]
    return () if value is None else (value,)


Search = Callable[[str], bool]


def _pattern(text: str, after: str) -> Search:
    """Compile a regular expression in RE2's syntax, in which upper case equals lower case. Raises ValueError
    with a sentence for the user; ``after`` is what stands before the expression."""
    text = text.strip('"')
    if not text:
        raise ValueError(rf"{after} wants a regular expression, like {after}^web-\d+$")
    import re2  # takes a tenth of a second, which only those wait who use it

    options = re2.Options()
    options.case_sensitive, options.log_errors, options.max_mem = False, False, _PATTERN_LIMIT_BYTES
    try:
        pattern = re2.compile(text.encode(errors="replace"), options)
    except re2.error as error:
        raise ValueError(f"{after}{text}: {_wrong(text, error.args[0].decode(errors='replace'))}") from None
    return lambda value: pattern.search(value.encode(errors="replace")) is not None


def _wrong(pattern: str, error: str) -> str:
    """Return what is wrong with a regular expression, and where, from RE2's ``what: part``."""
    what, _, part = error.partition(": ")
    if what in ("missing )", "unexpected )"):
        at, part = _unpaired(pattern), ""
    else:
        at = len(pattern) - 1 if what == "trailing \\" else pattern.find(part) if part else -1
    where = f" at character {at + 1}" if at >= 0 else ""
    return f"{_WRONG.get(what, what)} {part if what in _NAMES_PART else ''}".rstrip() + where


_NAMES_PART: Final = (
    "no argument for repetition operator", "bad repetition operator", "invalid repetition size",
    "invalid perl operator", "invalid escape sequence", "invalid character class range",
)  # fmt: skip
_WRONG: Final = {
    "missing )": "( has no )",
    "unexpected )": ") has no (",
    "missing ]": "[ has no ]",
    "trailing \\": "\\ wants a character after it",
    "no argument for repetition operator": "nothing to repeat before",
    "bad repetition operator": "a repetition is repeated:",
    "invalid repetition size": "these repetitions don't fit:",
    "invalid perl operator": "RE2 has no",
    "invalid escape sequence": "RE2 has no",
    "invalid character class range": "no such characters:",
    "pattern too large - compile failed": "it is too large",
}
"""RE2's words for what is wrong, in ours."""


def _unpaired(pattern: str) -> int:
    """Return the place of the first ) without a (, else of the last ( without a )."""
    opened: list[int] = []
    escaped = within = False
    for at, character in enumerate(pattern):
        if escaped or character == "\\":
            escaped = not escaped
        elif within or character == "[":
            within = character != "]"
        elif character == "(":
            opened.append(at)
        elif character == ")":
            if not opened:
                return at
            opened.pop()
    return opened[-1] if opened else -1


def _found_in_words(search: Search, fields: Sequence[Field]) -> Test:
    reads = [field.value for field in fields if field.words]
    return lambda row: any(search(str(part)) for read in reads for part in _values(read(row)))


def _matches(field: Field, key: str, search: Search) -> Test:
    """Return a test that searches the text of a column. Raises ValueError for a column of measures."""
    if field.is_measure:
        raise ValueError(f"{key} is a number: compare it, like {key}>0")
    read = field.value
    return lambda row: any(search(str(part)) for part in _values(read(row)))


def _word(word: str, fields: Sequence[Field]) -> Test:
    wanted = word.lower()
    reads = [field.value for field in fields if field.words]

    def test(row: Any) -> bool:
        for read in reads:
            value = read(row)
            if isinstance(value, str):
                if wanted in value.lower():
                    return True
            elif any(
                wanted in part.lower() if isinstance(part, str) else str(part) == wanted
                for part in _values(value)
            ):
                return True
        return False

    return test


def _contains(field: Field, word: str) -> Test:
    """Text has to contain the word; a number has to equal it."""
    wanted, number, read = word.lower(), _number(word, field), field.value

    def test(row: Any) -> bool:
        return any(
            wanted in part.lower() if isinstance(part, str) else part == number for part in _values(read(row))
        )

    return test


def _equals(field: Field, word: str, number: float | None, same: bool) -> Test:
    wanted, read = word.lower(), field.value

    def test(row: Any) -> bool:
        parts = _values(read(row))
        found = any(part.lower() == wanted if isinstance(part, str) else part == number for part in parts)
        return found if same else bool(parts) and not found

    return test


def _compares(field: Field, operator: Callable[[Any, Any], bool], number: float) -> Test:
    """Return a test that compares numbers; an unknown value fails it."""
    read = field.value

    def test(row: Any) -> bool:
        return any(not isinstance(part, str) and operator(part, number) for part in _values(read(row)))

    return test


_NOTHING = Query()
OWN_ORDER: Final[Mapping[str, tuple[str, bool]]] = {"top": ("pps", True)}
"""The orders of tables that have one by a rate of their own, before the user sorts them."""
_SAME: Final = 0.1
"""A rate that changes by at most this fraction does not move its row."""
_CHANCE: Final = 3.0
"""Nor does one of frames that changes by at most this many times the square root of their number."""
_FEW: Final = 0.25
"""In a table's own order, rates of which chance makes more than this fraction are equal."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """The filtered rows in order, and the number of rows before the filter. ``problem`` and ``of_rates``
    are the query's."""

    rows: list[Any]
    total: int
    problem: str = ""
    of_rates: bool = False


@lru_cache(maxsize=64)
def _query(text: str, columns: tuple[Column[Any], ...]) -> Query:
    return parse(text, columns)


def sorted_by(column: Column[Any], now: tuple[str, bool] | None) -> tuple[str, bool] | None:
    """Return the sort order after a column is chosen. The first time: its default direction; the second
    time: reversed; the third time: None, the rows' own order (for findings: worst first)."""
    if now is None or now[0] != column.key:
        return column.key, column.largest_first
    return (column.key, not now[1]) if now[1] == column.largest_first else None


Steady = Callable[[], Mapping[Hashable, Any]]
"""Returns the rows by identity, with rates measured over a longer time."""


class SteadyOrder:
    """Sort keys with hysteresis for one table: a value that changed by at most the fraction ``_SAME``, or by
    what chance does to so few frames, keeps its old key, so rows with similar rates don't swap places. A new
    sort order resets it."""

    def __init__(self) -> None:
        self._sort: tuple[str, bool] | None = None
        self._kept: dict[Hashable, float] = {}

    def keys(
        self, rows: Sequence[Any], column: Column[Any], sort: tuple[str, bool], own: bool = False
    ) -> list[tuple[bool, int, Any]]:
        """Return the sort key of each row. With ``own``, that of the table's own order: rates that are mostly
        chance, or unknown, are equal, and above 0."""
        kept = self._kept if sort == self._sort else {}
        self._sort, self._kept = sort, {}
        keys = []
        frames = column.unit == "frames/s"
        for row in rows:
            unknown, kind, value = column.sort_key(row)
            if not unknown and kind == 0:
                old = kept.get(row.identity)
                if old is not None and abs(value - old) <= _moves(old, frames):
                    value = old
                self._kept[row.identity] = value
            if own and (unknown or (value > 0 and _moves(value, frames) > _FEW * value)):
                unknown, kind, value = False, 0, math.ulp(0.0)
            keys.append((unknown, kind, value))
        return keys


def _moves(value: float, frames: bool) -> float:
    """Return the change from which on a rate moves its row; ``frames``: it is of frames a second."""
    chance = _CHANCE * math.sqrt(abs(value) * 1e9 / STEADY_NS) if frames else 0.0
    return max(_SAME * abs(value), chance)


def arrange(
    rows: Sequence[Any],
    columns: tuple[Column[Any], ...],
    choice: TableChoice,
    steady: Steady | None = None,
    order: SteadyOrder | None = None,
    own_order: tuple[str, bool] | None = None,
) -> Arranged:
    """Filter and sort rows; an unknown sort column is ignored.

    If the filter or the sort order reads a rate, it reads it from the ``steady`` rows; ``order`` then keeps
    rows with similar rates in place. ``own_order`` is the order before the user chooses one.
    """
    query = _query(choice.filter, columns) if choice.filter else _NOTHING
    sort = choice.sort or own_order
    column = None if sort is None else next((one for one in columns if one.key == sort[0]), None)
    by_rate = column is not None and column.is_rate
    steadily = steady() if steady is not None and (by_rate or query.of_rates) else {}
    kept = list(rows)
    if query.tests:
        kept = [row for row in rows if query.matches(steadily.get(row.identity, row))]
    if column is not None and sort is not None:
        keys = None
        if by_rate and order is not None:
            own = choice.sort is None
            if own and any(map(column.knows, kept)):  # else all are equal, and come as they are
                kept.sort(key=lambda row: repr(row.identity))
            keys = order.keys([steadily.get(row.identity, row) for row in kept], column, sort, own)
        kept = ordered(kept, column, sort[1], keys)
    return Arranged(kept, len(rows), query.problem, query.of_rates)
