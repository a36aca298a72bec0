"""Moving: between views, in a table, and what it shows of its rows."""

from vmqtui.actions.action import ALL_VIEWS, VIEWS, Action

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
    Action("details", "enter", "Details", "A queue's page; of others all that is known.", "Table", ALL_VIEWS),
    Action(
        "sort_next", "s", "Sort by the next column", "Or click a heading.", "Table", ALL_VIEWS, bar="sort"
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
        "filter_rows",
        "slash",
        "Filter the rows",
        "Type words, key:word or comparisons (drops>0); it works while you type.",
        "Table",
        ALL_VIEWS,
        bar="search",
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
        "Leave a queue's page, or drop the table's filter, then its order.",
        "Table",
        ALL_VIEWS,
    ),
)

MATRIX: tuple[Action, ...] = tuple(
    Action(f"queue_{name}", key, f"Queue {name}", help_, "Cursor", frozenset({"processors"}), call=call)
    for name, key, help_, call in (
        ("before", "left", "In the matrix: the queue at the left.", "queue(-1)"),
        ("after", "right", "In the matrix: the queue at the right.", "queue(1)"),
    )
)
"""What the matrix of processors and queues does, when it has the focus, instead of changing the view."""

CURSOR: tuple[Action, ...] = (
    Action("cursor_up", "up,k", "Up", "The row above.", "Cursor", call="cursor(-1)"),
    Action("cursor_down", "down,j", "Down", "The row below.", "Cursor", call="cursor(1)"),
    Action("page_up", "pageup", "Page up", "A page of rows up.", "Cursor", call="page(-1)"),
    Action("page_down", "pagedown", "Page down", "A page of rows down.", "Cursor", call="page(1)"),
    Action("cursor_first", "home,g", "First", "The first row.", "Cursor", call="cursor(-1000000)"),
    Action("cursor_last", "end,G", "Last", "The last row.", "Cursor", call="cursor(1000000)"),
)
"""What a table itself does, when it has the focus. These keys are fixed, and taken in every view."""
