"""Every action and its key, in groups: moving, tables, time, charts, the program; those of ``changes`` beside
them."""

from collections.abc import Iterable
from typing import Final

from vmqtui.actions.action import ALL_VIEWS, DETAILED_VIEWS, PANE_COLUMNS, VIEWS, Action
from vmqtui.actions.changes import CHANGING

MOVING: tuple[Action, ...] = (
    *(
        Action(
            f"view_{view}",
            str(number),
            f"View: {title}",
            f"Show {title.lower()}.",
            "Views",
            call=f"view('{view}')",
        )
        for number, (view, title) in enumerate(VIEWS.items(), 1)
    ),
    Action("next_view", "right_square_bracket,right", "Next view", "Show the next view.", "Views"),
    Action("previous_view", "left_square_bracket,left", "Previous view", "Show the one before.", "Views"),
)

TABLES: tuple[Action, ...] = (
    Action(
        "details",
        "enter",
        "Details",
        "A queue's page; of others all that is known.",
        "Table",
        ALL_VIEWS,
        says=("open",),
        takes=("queue",),
    ),
    Action(
        "jump",
        "o",
        "Jump to its queue",
        "Show the queue that the row is about: of an event, finding, filter, pair, port or processor.",
        "Table",
        ALL_VIEWS,
        says=("go to",),
        takes=("queue",),
    ),
    Action(
        "jump_back",
        "ctrl+o,backspace",
        "Jump back",
        "Go back to the row, view and search before the last jump; again: to those before.",
        "Table",
        ALL_VIEWS,
    ),
    Action(
        "sort_next",
        "s",
        "Sort by the next column",
        "Or click a heading.",
        "Table",
        ALL_VIEWS,
        bar="sort",
        says=("sort",),
        takes=("column",),
    ),
    Action("sort_previous", "S", "Sort by the column before", "Or click a heading.", "Table", ALL_VIEWS),
    Action(
        "reverse",
        "r",
        "Reverse the order",
        "Or click the heading again.",
        "Table",
        ALL_VIEWS,
        bar="reverse",
    ),
    Action(
        "search_rows",
        "slash",
        "Search the rows",
        "Show only those that match: type words, key:word or comparisons (drops>0); it works while you type.",
        "Table",
        ALL_VIEWS,
        bar="search",
        says=("search",),
        takes=("search",),
    ),
    Action(
        "search_pattern",
        "tilde",
        "Search by a regular expression",
        r"The same, beginning with ~: a regular expression (~^web-\d+$, vm:~^sql).",
        "Table",
        ALL_VIEWS,
        call="search_rows('~')",
    ),
    Action(
        "choose_columns",
        "C",
        "Choose columns",
        "Which columns are shown; every view keeps its own.",
        "Table",
        ALL_VIEWS,
    ),
    Action(
        "toggle_deltas",
        "z",
        "Totals or deltas",
        "Show counters in total, or since the last reset.",
        "Table",
        ALL_VIEWS,
    ),
    Action("reset_deltas", "Z", "Reset deltas", "Show counters since now.", "Table", ALL_VIEWS),
    Action(
        "back",
        "escape",
        "Back",
        "Leave a queue's page, or drop the table's marks, then its search, then its order.",
        "Table",
        ALL_VIEWS,
    ),
)

MATRIX: tuple[Action, ...] = tuple(
    Action(f"queue_{name}", key, f"Queue {name}", help_, "Cursor", frozenset({"processors"}), call=call)
    for name, key, help_, call in (
        (
            "before",
            "left",
            "In the matrix: the queue at the left; ↑ ↓ choose its processor.",
            "queue(-1)",
        ),
        ("after", "right", "In the matrix: the queue at the right; m moves it to the row's.", "queue(1)"),
    )
)
"""Actions while the matrix of processors and queues has the focus; there they replace changing the view."""

CURSOR: tuple[Action, ...] = (
    Action("cursor_up", "up,k", "Up", "The row above.", "Cursor", call="cursor(-1)"),
    Action("cursor_down", "down,j", "Down", "The row below.", "Cursor", call="cursor(1)"),
    Action("page_up", "pageup", "Page up", "A page of rows up.", "Cursor", call="page(-1)"),
    Action("page_down", "pagedown", "Page down", "A page of rows down.", "Cursor", call="page(1)"),
    Action("cursor_first", "home,g", "First", "The first row.", "Cursor", call="cursor(-1000000)"),
    Action("cursor_last", "end,G", "Last", "The last row.", "Cursor", call="cursor(1000000)"),
)
"""Actions of a focused table. Their keys are fixed and reserved in every view."""


TIME: tuple[Action, ...] = (
    Action(
        "pause",
        "space",
        "Pause, or go on",
        "Hold this moment in every view; again: back to now (a recording: play on).",
        "Time",
        bar="pause",
    ),
    Action("step_back", "comma", "Step back", "The reading before.", "Time", call="step(-1)"),
    Action("step_forward", "full_stop", "Step forward", "The reading after.", "Time", call="step(1)"),
    Action(
        "skip_back", "less_than_sign", "Ten seconds back", "Ten seconds earlier.", "Time", call="skip(-10)"
    ),
    Action(
        "skip_forward",
        "greater_than_sign",
        "Ten seconds forward",
        "Ten seconds later, if that was before now.",
        "Time",
        call="skip(10)",
    ),
    Action(
        "minutes_back",
        "left_curly_bracket",
        "Five minutes back",
        "Five minutes earlier. A click on the time line goes anywhere.",
        "Time",
        call="skip(-300)",
    ),
    Action(
        "minutes_forward",
        "right_curly_bracket",
        "Five minutes forward",
        "Five minutes later, if that was before now.",
        "Time",
        call="skip(300)",
    ),
    Action(
        "go_to_time",
        "at",
        "Go to a time",
        "Type a time of day, or how far from what is shown.",
        "Time",
        says=("time",),
        takes=("time",),
    ),
    Action(
        "slower",
        "left_parenthesis",
        "Slower",
        "Play a recording at the speed below.",
        "Time",
        call="change_speed(-1)",
    ),
    Action(
        "faster",
        "right_parenthesis",
        "Faster",
        "Play a recording at the speed above.",
        "Time",
        call="change_speed(1)",
    ),
)

CHARTS: tuple[Action, ...] = (
    Action(
        "longer_span",
        "plus",
        "Longer span",
        "Charts of 5, 15, 60 minutes.",
        "Charts",
        ALL_VIEWS - {"default"},  # where it gives a queue
    ),
    Action(
        "longer_span_here",
        "equals_sign",
        "Chart of a longer time",
        "Of 5, 15, 60 minutes.",
        "Charts",
        frozenset({"default"}),
        call="longer_span",
    ),
    Action(
        "shorter_span", "minus", "Shorter span", "Charts of 15, 5 minutes, 1 minute.", "Charts", ALL_VIEWS
    ),
)


PROGRAM: tuple[Action, ...] = (
    Action(
        "choose_adapter",
        "a",
        "Choose an adapter",
        "Show one adapter, or all.",
        "Host",
        bar="adapter",
        says=("adapter",),
        takes=("adapter",),
    ),
    Action(
        "choose_host",
        "h",
        "Choose a host",
        "Show another host of the broker.",
        "Host",
        says=("host",),
        takes=("host",),
    ),
    Action(
        "toggle_lesson",
        "L",
        "Lesson",
        "Of `scenario run`: fold or unfold the lesson; where there is no room for it, show it as a page.",
        "Program",
        bar="lesson",
        teaches=True,
    ),
    Action(
        "toggle_pane",
        "p",
        "Detail pane",
        f"Put away, or show, the pane beside the table (from {PANE_COLUMNS} columns on).",
        "Table",
        DETAILED_VIEWS,
        bar="pane",
        columns=PANE_COLUMNS,
    ),
    Action(
        "copy_row",
        "y",
        "Copy rows",
        "Copy the row under the cursor, or all marked ones, with headings, cells separated by tabs, to the"
        " terminal's clipboard (OSC 52).",
        "Files",
        ALL_VIEWS,
    ),
    Action(
        "copy_cell",
        "Y",
        "Copy a cell",
        "Choose a cell of that row, beginning with the one under the mouse, and copy it.",
        "Files",
        ALL_VIEWS,
    ),
    Action(
        "export_csv",
        "w",
        "Write table, CSV",
        "Write the table with the focus, as searched and sorted, in all columns not left out by choice.",
        "Files",
        bar="CSV",
        call="export('csv')",
        writes=True,
        takes=("file",),
    ),
    Action(
        "export_json",
        "W",
        "Write table, JSON",
        "The same in JSON.",
        "Files",
        call="export('json')",
        writes=True,
        takes=("file",),
    ),
    Action(
        "screenshot",
        "P",
        "Write a picture",
        "Write the screen as a picture (SVG) into a file.",
        "Files",
        writes=True,
        takes=("file",),
    ),
    Action(
        "next_theme",
        "t",
        "Next theme",
        "Change the colours.",
        "Program",
        bar="theme",
        says=("theme",),
        takes=("theme",),
    ),
    Action("help", "question_mark", "Help", "What the keys do.", "Program", bar="help"),
    Action(
        "command_palette",
        "ctrl+p",
        "Command palette",
        "Every action by name.",
        "Program",
        priority=True,
        call="app.command_palette",
    ),
    Action(
        "command_line",
        "colon",
        "Command line",
        "Type an action by name, and what it is about (move web-01 3); it completes while you type.",
        "Program",
    ),
    Action("quit", "q,ctrl+c", "Quit", "Leave the dashboard.", "Program", bar="quit"),
)

ACTIONS: tuple[Action, ...] = (*MOVING, *CHANGING, *TIME, *TABLES, *CHARTS, *PROGRAM)
"""In the order of the line of keys, which leaves out the last first where there is no room."""

_GROUPS: Final = (
    *("Views", "Table", "Time", "Program", "Files", "Charts"),
    *("Queues", "Advice", "Marks", "VMs", "Host", "Traffic"),
)
"""Groups in the order in which a newcomer needs them."""


def in_groups(actions: Iterable[Action]) -> list[Action]:
    """Actions in the order of the help and the reference page: by group, those needed first before others."""
    return sorted(actions, key=lambda action: _GROUPS.index(action.group))


def by_id(action_id: str) -> Action:
    """The action with an id. Raises StopIteration if there is none."""
    return next(action for action in ACTIONS if action.id == action_id)
