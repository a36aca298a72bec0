"""The keymap: the registry's keys, or the keys that the user chose instead."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from engine.scenario.values import show
from vmqtui.actions import ACTIONS, CURSOR, Action, key_name
from vmqtui.actions.action import KEY_CHARACTERS, TITLES

FIXED: Final[Mapping[str, str]] = {
    "tab": "goes to the next panel",
    "shift+tab": "goes to the panel before",
    "ctrl+c": "always leaves",
    "ctrl+q": "always leaves",
}
"""Keys that the user can't assign, each with its effect."""

_ALIKE: Final[Mapping[str, str]] = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+j": "enter",
    "ctrl+h": "backspace",
}
"""Keys that a terminal can't distinguish from others."""
_NAMED: Final = (
    *("enter", "escape", "space", "backspace", "delete", "insert", "tab"),
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
    *(f"f{number}" for number in range(1, 25)),
)
_MODIFIERS: Final = ("ctrl", "alt", "shift")
_CHARACTERS: Final = {character: name for name, character in KEY_CHARACTERS.items()} | {" ": "space"}
_NEEDED: Final = frozenset({"command_palette"})
"""Actions that must have a key: actions without a key are reachable only through these."""
_MOST_KEYS: Final = 8


class KeymapError(Exception):
    """A keymap that can't be used: the id of the ``action`` at fault, and a sentence."""

    def __init__(self, action: str, sentence: str) -> None:
        super().__init__(sentence)
        self.action = action


def read_keys(value: object) -> tuple[str, ...]:
    """Read one key or an array of keys; return Textual's names. "" and [] mean no key. Raises ValueError."""
    if value == "":
        return ()
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys):
        raise ValueError(f"{show(value)} is not a key (nor an array of keys)")
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"{len(keys)} keys, where 0..{_MOST_KEYS} fit")
    return tuple(dict.fromkeys(_read_key(key) for key in keys))


def _read_key(text: str) -> str:
    """Textual's name of a key, given a character or a name with or without modifiers. Raises ValueError."""
    *modifiers, base = text.split("+") if len(text) > 1 and text != "+" else [text]
    if text.endswith("++"):
        *modifiers, base = [*text[:-2].split("+"), "+"]
    base = _CHARACTERS.get(base, base)
    known = base in _NAMED or base in KEY_CHARACTERS or (len(base) == 1 and base.isalnum())
    if not known or not set(modifiers) <= set(_MODIFIERS):
        nearest = get_close_matches(text, _NAMED, n=1, cutoff=0.6)
        fits = f"did you mean {show(nearest[0])}?" if nearest else 'like "m", "?", "ctrl+x", "f2" or "enter"'
        raise ValueError(f"{show(text)} is not a key ({fits})")
    key = "+".join([*(one for one in _MODIFIERS if one in modifiers), base])
    if key in _ALIKE:
        raise ValueError(f"{show(text)} is {key_name(_ALIKE[key])} to a terminal (another key fits)")
    if key in FIXED:
        raise ValueError(f"{show(text)} {FIXED[key]} (another key fits)")
    return key


class Keymap:
    """The actions with their keys: the registry's, or those in ``chosen``, by action id.

    Raises ``KeymapError`` for an unknown action, or if a key has two actions in a view.
    """

    def __init__(self, chosen: Mapping[str, tuple[str, ...]] | None = None) -> None:
        chosen = chosen or {}
        known = [action.id for action in ACTIONS]
        for name, keys in chosen.items():
            if name not in known:
                nearest = get_close_matches(name, known, n=1, cutoff=0.4)
                hint = f"did you mean {show(nearest[0])}?" if nearest else "vmqtui config show lists them"
                raise KeymapError(name, f"there is no such action ({hint})")
            if not keys and name in _NEEDED:
                raise KeymapError(name, "needs a key (any that is free fits)")
        self.actions: tuple[Action, ...] = tuple(
            replace(action, key=",".join(chosen[action.id])) if action.id in chosen else action
            for action in ACTIONS
        )
        self._refuse_clashes(chosen)

    def offered(self, writes_files: bool = True, teaches: bool = False) -> tuple[Action, ...]:
        """The actions of a dashboard; without ``writes_files``, those that write files are left out, and
        unless it ``teaches`` a lesson, those about one."""
        return tuple(
            action
            for action in self.actions
            if (writes_files or not action.writes) and (teaches or not action.teaches)
        )

    def _refuse_clashes(self, chosen: Mapping[str, tuple[str, ...]]) -> None:
        """Raise ``KeymapError`` for the first clash, naming the (later) action with a chosen key."""
        clash = first_clash(self.actions)
        if clash is None:
            return
        key, one, other, views = clash
        at_fault, kept = (other, one) if other.id in chosen else (one, other)
        where = (
            "everywhere" if len(views) == len(TITLES) else "in " + ", ".join(TITLES[view] for view in views)
        )
        raise KeymapError(
            at_fault.id, f"{show(key_name(key))} is the key of {show(kept.title)} {where} (another key fits)"
        )


def unchanging(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions that change nothing: all that is offered of a host that takes no requests."""
    return tuple(action for action in actions if not action.changes)


def first_clash(actions: Sequence[Action]) -> tuple[str, Action, Action, list[str]] | None:
    """The first key with two actions in the same view: key, both actions and views; None if there is none."""
    holders: dict[str, list[Action]] = {}
    for action in (*CURSOR, *actions):
        for key in action.keys:
            for holder in holders.setdefault(key, []):
                views = [view for view in TITLES if holder.applies(view) and action.applies(view)]
                if views:
                    return key, holder, action, views
            holders[key].append(action)
    return None
