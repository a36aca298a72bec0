"""``vmqtui help TOPIC``: a page of the documentation in the terminal."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vmqtui.cli.failures import DONE, failed, not_one_of, unusable
from vmqtui.cli.output import folded, terminal_columns, write_in_utf8

if TYPE_CHECKING:
    from rich.markdown import Markdown

_WIDTH: Final = 100
"""Longer lines are hard to read."""
_PAGE: Final = re.compile(r"\[([^\]]*)\]\(([\w-]+)\.md(?:#[\w-]*)?\)")
_WITHIN: Final = re.compile(r"\[([^\]]*)\]\((?:#|images/|access/|examples/)[^)]*\)")
_LEFT_OUT: Final = re.compile(r"<!--.*?-->\n*|^!\[.*\]\(.*\)\n+", re.MULTILINE | re.DOTALL)
"""What only a browser shows: comments, pictures."""


def topics() -> dict[str, Path]:
    """The pages of the documentation by topic: in the installed package, or in a checkout. Empty if neither
    has any."""
    package = Path(__file__).parent.parent
    directory = package / "docs" if (package / "docs").is_dir() else package.parent / "docs"
    return {
        path.stem.lower(): path for path in sorted(directory.glob("*.md"), key=lambda one: one.stem.lower())
    }


def topics_that_begin_with(incomplete: str) -> list[tuple[str, str]]:
    """Topics and their titles, for the completion of a shell."""
    return [(name, _title(path)) for name, path in topics().items() if name.startswith(incomplete)]


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as page:
        return page.readline().removeprefix("# ").strip()


def help_(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC", help="A page of the documentation.", autocompletion=topics_that_begin_with
        ),
    ] = None,
) -> int:
    """Show a page of the documentation; without TOPIC, list them. In a pipe it is the page's Markdown."""
    pages = topics()
    if not pages:
        failed("this installation has no documentation")
    write_in_utf8()
    if topic is None:
        _list(pages)
        return DONE
    name = topic.lower().removesuffix(".md")
    if name not in pages:
        parent: Any = context.parent
        if name in parent.command.commands:
            unusable(f"TOPIC: {name!r} is a command, not a topic (vmqtui {name} --help tells of it)")
        unusable(f"TOPIC: {not_one_of(topic, list(pages), 'a topic')}")
    text = pages[name].read_text(encoding="utf-8")
    width = terminal_columns()
    if width is None:
        print(text, end="", flush=True)
    else:
        _show(text, min(width, _WIDTH))
    return DONE


def _list(pages: dict[str, Path]) -> None:
    width = max(map(len, pages))
    print("Topics of vmqtui help TOPIC:\n")
    for name, path in pages.items():
        print("\n".join(folded(f"  {name:<{width}}  {_title(path)}", width + 4)))
    print("\nvmqtui COMMAND --help tells of a command, ? of the keys on a screen.", flush=True)


def as_text(page: str) -> str:
    """A page's Markdown with links as a terminal can follow them, and without comments and pictures."""

    def link(found: re.Match[str]) -> str:
        words, name = found[1], found[2].lower()
        command = f"`vmqtui help {name}`"
        return command if words.lower() == f"{name}.md" else f"{words} ({command})"

    return _WITHIN.sub(r"\1", _PAGE.sub(link, _LEFT_OUT.sub("", page)))


def markdown() -> "type[Markdown]":
    """Markdown whose tables, where they are too wide for the terminal, are lists of their rows' cells."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.measure import Measurement
    from rich.padding import Padding
    from rich.table import Column, Table
    from rich.text import Text

    class FittingTable(TableElement):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            (table,) = super().__rich_console__(console, options)
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
                column.no_wrap = not any(" " in str(cell) for cell in column.cells)  # names stay whole
            need = Measurement.get(console, options.update(max_width=10_000), table).minimum
            fits = need <= options.max_width
            if fits or self.header is None or self.header.row is None or self.body is None:
                yield table
                return
            _, *headings = [cell.content for cell in self.header.row.cells]
            for row in self.body.rows:
                first, *cells = [cell.content for cell in row.cells]
                yield Text()
                first.stylize("bold")
                yield first
                grid = Table.grid("", Column(overflow="fold"), padding=(0, 2, 0, 0))
                for heading, cell in zip(headings, cells, strict=False):
                    if cell.plain:
                        grid.add_row(Text(heading.plain, "dim"), cell)
                yield Padding(grid, (0, 0, 0, 2))

    class Page(Markdown):
        elements = Markdown.elements | {"table_open": FittingTable}

    return Page


def _show(page: str, columns: int) -> None:
    """Print a page on the terminal; a longer one than the screen through ``PAGER``, or ``less``."""
    from rich.console import Console
    from rich.theme import Theme

    style = {"markdown.code": "bold cyan", "markdown.h1.border": "dim", "markdown.hr": "dim"}
    pager = words_of(os.environ.get("PAGER") or "less")
    coloured = [Path(one).stem for one in pager[:1]] == ["less"]  # others may show the codes of colours
    console = Console(width=columns, theme=Theme(style), highlight=False)
    with console.capture() as captured:
        console.print(markdown()(as_text(page), code_theme="ansi_dark", hyperlinks=False))
    text = captured.get()
    if text.count("\n") < shutil.get_terminal_size().lines or not _paged(text, pager, coloured=coloured):
        sys.stdout.write(text)
        sys.stdout.flush()


def words_of(command: str, *, windows: bool = os.name == "nt") -> list[str]:
    """The program of a command and its arguments, without quotes; none if a quote is not closed."""
    import shlex

    try:
        words = shlex.split(command, posix=not windows)  # on Windows backslashes are a path's
    except ValueError:
        return []
    return [one.strip('"') for one in words] if windows else words


def _paged(text: str, command: list[str], *, coloured: bool) -> bool:
    """Show a text in a pager until the user leaves it; return False if there is none that starts."""
    import signal
    import subprocess

    if not command or shutil.which(command[0]) is None:
        return False
    plain = text if coloured else re.sub(r"\x1b\[[\d;]*m", "", text)
    environment = {"LESS": "FRX", **os.environ}
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the pager's
    try:
        subprocess.run(
            command,
            input=plain.encode(sys.stdout.encoding or "utf-8", "replace"),
            env=environment,
            check=False,
        )
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return True
