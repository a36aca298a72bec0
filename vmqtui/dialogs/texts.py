"""A dialog that shows text; the help and details texts, built from the registries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from engine.advice.finding import Unchecked
from engine.telemetry.stats import Source
from engine.view.rates import STEADY_NS
from vmqtui.actions import CURSOR, MATRIX, Action, first_key, in_groups, key_names
from vmqtui.actions.action import TITLES
from vmqtui.columns import COLUMNS, Column, name_of_table
from vmqtui.columns.arrange import SYNTAX
from vmqtui.columns.sources import MARKS, NOTHING_SAID, WORDS, sources_of
from vmqtui.dialogs.dialog import Dialog
from vmqtui.draw import Line
from vmqtui.printable import printable
from vmqtui.state.lesson import LessonProgress
from vmqtui.state.rows import FindingRow, Row
from vmqtui.theme import Palette
from vmqtui.widgets.lesson import lesson_lines
from vmqtui.widgets.panels import finding_lines, unchecked_lines


class Once:
    """Text that is rendered once for each width, although Textual asks for it several times."""

    def __init__(self, text: RenderableType) -> None:
        self._text = text
        self._rendered: dict[int, list[Segment]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if width not in self._rendered:
            self._rendered[width] = [*console.render(self._text, options)]
        yield from self._rendered[width]


class TextDialog(Dialog[None]):
    """Shows scrollable text; each drawing calls ``make`` for the current text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", "Close", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home,g", "scroll(-1000000)", "First", show=False),
        Binding("end,G", "scroll(1000000)", "Last", show=False),
    ]

    def __init__(self, title: str, make: Callable[[], RenderableType]) -> None:
        super().__init__()
        self._title = title
        self._make = make
        self._made: RenderableType | None = None
        self._text = Static(id="text")
        self._box = Vertical(self._text, id="dialog", classes="wide long")

    def compose(self) -> ComposeResult:
        self._box.border_title = printable(self._title).replace("[", r"\[")
        self._box.border_subtitle = "esc closes"
        self._box.can_focus = True
        self.draw()
        yield self._box

    def draw(self) -> None:
        made = self._make()
        if made is not self._made:
            self._made = made
            self._text.update(made)

    def action_scroll(self, lines: int) -> None:
        """Scroll down by ``lines`` (up if negative)."""
        self._box.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll down by ``pages`` of the visible lines (up if negative)."""
        self.action_scroll(pages * self._box.scrollable_content_region.height)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()


_STAYS: Final = (
    "Theme, columns and order of each table, the span of charts, the detail pane and whether a lesson is"
    " folded hold at the next start, too, unless the command line says otherwise. A value that is edited in"
    " the configuration after that comes before the one that was chosen here. With --no-state none is kept."
)
_LEGEND: Final = "; ".join(
    f"{MARKS[source]} {source}: {words}" if MARKS[source] else f"a heading without a mark: {words}"
    for source, words in WORDS.items()
)


def _source(sources: Mapping[str, Source], column: Column[Any]) -> str:
    """Return the mark and the name of a column's source; "" if nothing is said of it, or it is exact."""
    source = sources.get(column.key, "exact")
    return f"{MARKS[source]} {source}" if MARKS[source] else ""


def _grid(lines: Iterable[tuple[Text, ...]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for line in lines:
        grid.add_row(*line)
    return grid


def help_text(
    actions: tuple[Action, ...],
    view: str,
    table: str,
    palette: Palette,
    counters: Mapping[str, Source] = NOTHING_SAID,
    unknown: frozenset[str] = frozenset(),
) -> Once:
    """Help for a view: its keys, keys of other views, the filter syntax, the columns of ``table``; of a
    measured host, how each column is known by its ``counters``, and those that are ``unknown``."""
    style = palette.style
    sources = sources_of(COLUMNS[table], counters)
    actions = tuple(in_groups(actions))
    here = _offered_in(view, actions)
    palette_key = next((first_key(one) for one in actions if one.id == "command_palette"), "")
    without_key = f"{palette_key} palette".lstrip()
    parts: list[Text | Table] = [
        Text("Moving", style("title")),
        _actions((*CURSOR, *(action for action in MATRIX if action.applies(view))), "Cursor", palette),
        Text(
            "Tab goes to the next panel. Headings, rows, tabs and the line of keys take clicks.",
            style("dim"),
        ),
        Text(),
    ]
    for group in dict.fromkeys(action.group for action in here):
        parts += [Text(group, style("title")), _actions(here, group, palette, without_key), Text()]
    parts += [
        Text("In a search", style("title")),
        _grid((Text(term, style("accent")), Text(what, style("dim"))) for term, what in SYNTAX),
        Text("A column goes by the name in the second place below, or the beginning of it.", style("dim")),
        Text(),
        Text("In a dialog", style("title")),
        _grid((Text(keys, style("accent")), Text(what, style("dim"))) for keys, what in _DIALOG_KEYS),
        Text(),
    ]
    elsewhere = [action for action in actions if not action.applies(view)]
    if elsewhere:
        parts += [
            Text("Only in other views", style("title")),
            _grid(
                (
                    Text(key_names(action) or without_key, style("accent" if action.keys else "dim")),
                    Text(action.title, style("text")),
                    Text(", ".join(TITLES[name] for name in TITLES if action.applies(name)), style("dim")),
                )
                for action in elsewhere
            ),
            Text(),
        ]
    parts += [
        Text("What stays", style("title")),
        Text(_STAYS, style("dim")),
        Text(),
        Text(f"Columns of {name_of_table(table)}", style("title")),
        _grid(
            (
                Text(column.title or column.key.replace("_", " "), style("accent")),
                Text(column.key if column.exported else "", style("dim")),
                Text(column.help, style("text")),
                Text(
                    "not known of this host"
                    if column.key in unknown
                    else ": ".join(filter(None, (_source(sources, column), column.computed))),
                    style("dim"),
                ),
            )
            for column in COLUMNS[table]
        ),
        Text(),
        *([Text(_LEGEND, style("dim"))] if sources else []),
        Text("– is unknown, which is not zero; △ and ▲ mark thresholds.", style("dim")),
        Text(
            f"Rates are of the last second; searches and orders go by rates over {STEADY_NS // 10**9} s.",
            style("dim"),
        ),
    ]
    return Once(Group(*parts))


_DIALOG_KEYS = (
    ("Tab ↓ ↑", "Next and previous field; in a text of several lines the arrows move in it."),
    ("← →", "Change a field that has ‹ › around it."),
    ("⏎", "Do it. What destroys something has Cancel first; y does it."),
    ("Esc", "Leave; a change that was sent goes on to its end, which is shown then."),
    ("≈ △", "What the engine says would happen after ⏎, and why it would not."),
)


def _offered_in(view: str, actions: Sequence[Action]) -> list[Action]:
    """The actions of a view, without the keys that its matrix takes from them."""
    taken = {key for action in MATRIX if action.applies(view) for key in action.keys}
    return [
        replace(action, key=",".join(key for key in action.keys if key not in taken))
        for action in actions
        if action.applies(view)
    ]


def _actions(actions: Sequence[Action], group: str, palette: Palette, without_key: str = "") -> Table:
    style = palette.style
    return _grid(
        (
            Text(key_names(action) or without_key, style("accent" if action.keys else "dim")),
            Text(action.title, style("text")),
            Text(action.help, style("dim")),
        )
        for action in actions
        if action.group == group
    )


def finding_text(
    row: FindingRow | None, unchecked: Sequence[Unchecked], system: str, palette: Palette, width: int
) -> Text:
    """The full text of a finding, if one is given, and of the rules that could not look, in lines of at most
    ``width`` cells; ``system`` is its host's operating system."""
    lines = [*(finding_lines(row, system, width) if row else ()), *unchecked_lines(unchecked, width)]
    return _text_of(lines, palette)


def lesson_text(progress: LessonProgress, palette: Palette, width: int) -> Text:
    """A whole lesson with the user's progress, in lines of at most ``width`` cells."""
    return _text_of(lesson_lines(progress, width), palette)


def _text_of(lines: Iterable[Line], palette: Palette) -> Text:
    text = Text()
    for line in lines:
        for words, role in line:
            text.append(words, palette.style(role))
        text.append("\n")
    return text


def details_text(
    row: Row, table: str, palette: Palette, counters: Mapping[str, Source] = NOTHING_SAID
) -> Table:
    """Every exported column of a row, with its value, and its help after how it is known."""
    style = palette.style
    sources = sources_of(COLUMNS[table], counters)
    lines: list[tuple[Text, ...]] = []
    for column in COLUMNS[table]:
        if not column.exported:
            continue
        level = column.level(row) if column.level else ""
        lines.append(
            (
                Text(column.heading or column.title, style("dim")),
                Text(column.whole(row), style(level or "strong")),
                Text(": ".join(filter(None, (_source(sources, column), column.help))), style("dim")),
            )
        )
    return _grid(lines)
