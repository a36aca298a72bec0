"""The program: whom it watches, how it looks, help, leaving."""

from vmqtui.actions.action import Action

PROGRAM: tuple[Action, ...] = (
    Action("choose_adapter", "a", "Choose an adapter", "Show one adapter, or all.", "Host", bar="adapter"),
    Action("choose_host", "h", "Choose a host", "Show another host of the broker.", "Host"),
    Action(
        "export_csv",
        "w",
        "Write table, CSV",
        "Write the table with the focus, as filtered, sorted and in its columns, into a file.",
        "Files",
        call="export('csv')",
        writes=True,
    ),
    Action(
        "export_json",
        "W",
        "Write table, JSON",
        "The same in JSON.",
        "Files",
        call="export('json')",
        writes=True,
    ),
    Action(
        "screenshot",
        "P",
        "Write a picture",
        "Write the screen as a picture (SVG) into a file.",
        "Files",
        writes=True,
    ),
    Action("next_theme", "t", "Next theme", "Change the colours.", "Program", bar="theme"),
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
    Action("quit", "q,ctrl+c", "Quit", "Leave the dashboard.", "Program", bar="quit"),
)
