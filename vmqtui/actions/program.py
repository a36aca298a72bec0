"""The program: whom it watches, how it looks, help, leaving."""

from vmqtui.actions.action import Action

PROGRAM: tuple[Action, ...] = (
    Action("choose_adapter", "a", "Choose an adapter", "Show one adapter, or all.", "Host", bar="adapter"),
    Action("choose_host", "h", "Choose a host", "Show another host of the broker.", "Host"),
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
