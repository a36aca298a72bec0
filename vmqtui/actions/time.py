"""Time: holding what is shown, and going back."""

from vmqtui.actions.action import Action

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
    Action("go_to_time", "at", "Go to a time", "Type a time of day, or how far from either end.", "Time"),
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
