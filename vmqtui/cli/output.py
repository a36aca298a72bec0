"""Output of commands: documents, tables, responses, and progress on a terminal."""

import codecs
import io
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from engine.counted import counted
from vmqtui.cli.failures import not_one_of, unusable
from vmqtui.numbers import age
from vmqtui.printable import as_json, printable, shown

if TYPE_CHECKING:
    from engine.bus.messages import Response
    from engine.telemetry.stats import Source
    from vmqtui.columns import Column


def print_json(document: Any) -> None:
    """Print one JSON document on a line of its own."""
    print(as_json(document, ascii_only=not is_utf8()), flush=True)


def print_csv(text: str) -> None:
    """Print CSV; on a terminal, control characters in names are made printable."""
    write_in_utf8()
    lines = text.split("\r\n")  # standard output ends lines as its system does
    sys.stdout.write("\n".join(map(shown, lines) if sys.stdout.isatty() else lines))


def write_in_utf8() -> None:
    """Switch standard output to UTF-8, for TOML and CSV, regardless of the locale. A terminal keeps its own
    encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def is_utf8() -> bool:
    """Whether standard output is in UTF-8 and can encode every character."""
    return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"


def terminal_columns() -> int | None:
    """Return the width of the terminal on standard output; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def folded(text: str, hang: int = 4) -> list[str]:
    """Return a line as it is printed: on a terminal in lines that fit its width, broken between words, all
    but the first ``hang`` blanks in; elsewhere as one."""
    room = terminal_columns()
    if room is None or len(text) <= room:
        return [text]
    begin = len(text) - len(text.lstrip())
    lines = wrap(
        text.lstrip(),
        max(hang + 20, room),
        initial_indent=" " * begin,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [text]


def chosen_columns(known: "Sequence[Column[Any]]", names: str | None) -> "Sequence[Column[Any]]":
    """Return a table's exported columns, or those listed in ``names``, in that order. ``names`` are JSON keys
    or headings, separated by commas. Ends with status 2 if a name is neither."""
    columns = [column for column in known if column.exported]
    if names is None:
        return columns
    by_key = {column.key: column for column in columns}
    by_heading = {column.heading: column for column in columns}
    folded = {heading.lower(): column for heading, column in by_heading.items()}
    # Case matters first: "name" is the key of a queue's name, "Name" the heading of its adapter.
    by_name = folded | by_heading | by_key
    chosen = []
    for name in filter(None, map(str.strip, names.split(","))):
        column = by_name.get(name) or by_name.get(name.lower())
        if column is None:
            unusable(f"--columns: {not_one_of(name, [column.key for column in columns], 'a column')}")
        chosen.append(column)
    if not chosen:
        unusable(f"--columns: names none of {', '.join(column.key for column in columns)}")
    return chosen


def print_table(
    columns: "Sequence[Column[Any]]",
    rows: Sequence[Any],
    *,
    all_of_them: bool = False,
    sources: "Mapping[str, Source] | None" = None,
    always: frozenset[str] = frozenset(),
    see: str = "--json or a wider terminal shows all",
) -> list[str]:
    """Print a table; return the keys of the columns it leaves out. ``sources`` of columns, by key, mark their
    headings.

    Without ``all_of_them`` it leaves out columns that are unknown in every row (except those of priority 0,
    for scripts), and, on a terminal that is too narrow, those too, then the least important ones, last those
    in ``always``. It then says on stderr, if that is a terminal, which ones, and with ``see`` what shows
    them.
    """
    from dataclasses import replace

    from vmqtui.columns.layout import Layout, lay_out
    from vmqtui.columns.sources import marked
    from vmqtui.draw import cells_of, fit

    columns = [column for column in columns if column.exported]
    known = {
        column.key for column in columns if not rows or any(column.value(row) is not None for row in rows)
    }
    if not all_of_them:
        columns = [column for column in columns if column.priority == 0 or column.key in known]
    headings = {one.key: marked(one, one.heading, (sources or {}).get(one.key)) for one in columns}
    texts = {column.key: [headings[column.key], *(column.text(row) for row in rows)] for column in columns}
    needs = {key: max(map(cells_of, of_column)) for key, of_column in texts.items()}
    layout = Layout([(column, needs[column.key]) for column in columns], gap=2)
    room = None if all_of_them else terminal_columns()
    if room is not None and sum(needs.values()) + layout.gap * (len(columns) - 1) > room:
        narrow = [  # headings are never cut
            replace(column, width=max(column.width, cells_of(headings[column.key])))
            for column in columns
            if column.key in known
        ]
        layout = lay_out(narrow, room, needs, always=always)
    for line in range(len(rows) + 1):
        cells = (fit(texts[column.key][line], width, right=column.right) for column, width in layout.columns)
        print((" " * layout.gap).join(cells).rstrip())
    sys.stdout.flush()
    shown = {column.key for column, _ in layout.columns}
    left_out = [column.key for column in columns if column.key not in shown]
    if left_out and sys.stderr.isatty():
        note = f"({counted(len(left_out), 'column')} left out for room; {see}: {', '.join(left_out)})"
        print("\n".join(folded(note, 1)), file=sys.stderr, flush=True)
    return left_out


def print_texts(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts by the rules of ``print_table``: the first column has names, the others have
    numbers, the last of which are the least important."""
    from operator import itemgetter

    from vmqtui.columns import Column

    print_table(
        [
            Column[Sequence[str]](
                key=head,
                title=head,
                heading=head,
                width=max(len(head), *(len(row[place]) for row in rows)),
                help=head,
                value=itemgetter(place),
                right=place > 0,
                priority=place,
            )
            for place, head in enumerate(heads)
        ],
        rows,
    )


def print_result(response: "Response") -> None:
    """Print a response: its status and message, then each value of its result on a line."""
    print(f"{printable(response.ndis_status)}: {printable(response.message)}")
    for name, value in response.result.items():
        if value is None or (name == "ndis_status" and value == response.ndis_status):
            continue
        for text in _texts(value):
            print(f"  {printable(str(name))}: {text}")
    sys.stdout.flush()


def _texts(value: Any) -> list[str]:
    """Return the lines of a value: one for each element of a list, or each change that --what-if predicts."""
    if isinstance(value, list):
        return [_text(one) for one in value]
    if isinstance(value, dict) and isinstance(changes := value.get("changes"), list):
        more = value.get("total_changes", 0) - len(changes)
        sentence = _text(value.get("sentence"))
        return [sentence, *map(_text, changes), *([f"and {more} more"] if more > 0 else [])]
    return [_text(value)]


def _text(value: Any) -> str:
    if value is None:
        return "any"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(key))} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return printable(str(value))


_PROGRESS_S: Final = 0.1
_ESTIMATE_AFTER_S: Final = 1.0
_LEAST_SHARE: Final = 0.01
"""Below this share an estimate of the time left would jump."""


class ProgressLine:
    """The progress of a command: one line on stderr, rewritten in place, and gone at the end of the context.

    It does nothing if stderr is not a terminal.
    """

    def __init__(self) -> None:
        self.shown: bool = sys.stderr.isatty()
        self._clock = time.monotonic
        self._at_s = -_PROGRESS_S
        self._doing = ""
        self._begun = (0.0, 0.0)
        """Time and share at which the current part of the work began; an estimate starts there."""
        self._share = 1.0

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, doing: str, share: float | None = None) -> None:
        """Say what is done now and, with its finished ``share`` (0..1), how much time is left.

        A share below the last one begins another part of the work.
        """
        if not self.shown:
            return
        now = self._clock()
        if share is not None:
            if share < self._share:
                self._begun = now, share
            self._share = share
        if now - self._at_s >= _PROGRESS_S or (share is None and doing != self._doing):
            self._at_s, self._doing = now, doing
            room = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            line = f"{printable(doing)}{self._in_words(share, now)}"
            print(f"\r\x1b[K{line[: room - 1]}", end="", file=sys.stderr, flush=True)

    def _in_words(self, share: float | None, now: float) -> str:
        if share is None:
            return ""
        begun_s, first = self._begun
        elapsed_s, done = now - begun_s, share - first
        if elapsed_s < _ESTIMATE_AFTER_S or done < _LEAST_SHARE:
            return f": {share:.0%}"
        return f": {share:.0%}, about {age(elapsed_s * (1 - share) / done)} left"

    def remark(self, sentence: str) -> None:
        """Print a sentence that stays, on a line of its own."""
        if self.shown:
            self.clear()
            print(sentence, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        if self._doing:
            self._doing = ""
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
