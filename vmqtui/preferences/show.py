"""The configuration as it holds: a file that says everything, defaults too."""

from collections.abc import Iterator
from typing import Any

import msgspec

from vmqtui.actions.action import KEY_CHARACTERS, Action
from vmqtui.actions.keymap import Keymap
from vmqtui.preferences.model import Preferences


def as_toml(preferences: Preferences) -> str:
    """All of it as the file would say it; what is not set and has no value stands in a comment."""
    return "\n".join(_lines(preferences)) + "\n"


def as_document(preferences: Preferences) -> dict[str, Any]:
    """All of it as JSON has it."""
    plain: dict[str, Any] = msgspec.to_builtins(preferences)
    return plain | {
        "keymap": {action.id: list(map(key_text, action.keys)) for action in _actions(preferences)}
    }


def key_text(key: str) -> str:
    """A key as the file writes it."""
    *modifiers, base = key.split("+")
    return "+".join([*modifiers, KEY_CHARACTERS.get(base, base)])


def _actions(preferences: Preferences) -> tuple[Action, ...]:
    return Keymap(preferences.keymap).actions


def _lines(preferences: Preferences) -> Iterator[str]:
    for key in ("theme", "interval_s", "exports"):
        value = getattr(preferences, key)
        yield f"# {key} =" if value is None else f"{key} = {_value(value)}"
    yield ""
    yield "[thresholds]"
    for key, value in msgspec.structs.asdict(preferences.thresholds).items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield "[advice]"
    for key, value in msgspec.structs.asdict(preferences.advice).items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield "[broker]"
    for key, value in msgspec.structs.asdict(preferences.broker).items():
        yield f"# {key} =" if value is None else f"{key} = {_value(value)}"
    for place, columns in preferences.columns.items():
        yield ""
        yield f"[columns.{place}]"
        yield f"show = {_value(list(columns.show))}"
        yield f"hide = {_value(list(columns.hide))}"
    yield ""
    yield "[keymap]"
    for action in _actions(preferences):
        keys = [key for key in action.keys if key != "ctrl+c"]
        texts = [key_text(key) for key in keys]
        yield f"{action.id} = {_value(texts[0] if len(texts) == 1 else texts)}  # {action.title}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{value:g}"
