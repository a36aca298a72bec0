"""Typed commands: an action by name, what it is about, and what completes them. Pure."""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Final, Generic, NamedTuple, TypeVar

from vmqtui.actions.action import Action
from vmqtui.printable import is_plain, printable

COMMAND_LIMIT: Final = 300
"""Most characters of a typed command."""
_NAME_WORDS: Final = 3
"""Words of the longest name."""
_PARTS: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


R = TypeVar("R")


class Command(NamedTuple):
    """A typed command: its action, the name it was called by, and the text after the name."""

    action: Action
    name: str
    rest: str


class Completion(NamedTuple):
    """A longer command line, and the part of it to list."""

    line: str
    word: str


class Named(NamedTuple, Generic[R]):
    """A row of an adapter, and what a command may call it, the surest first."""

    row: R
    adapter: str
    names: tuple[str, ...]


def names_of(action: Action) -> tuple[str, ...]:
    """Return the names of an action: its short ones, those of the command line, and its id in words."""
    return tuple(dict.fromkeys((*action.says, action.id.replace("_", " "))))


def read_command(text: str, actions: Iterable[Action]) -> Command:
    """Return the command that was typed; a name may be cut where only one begins so.

    Raises ValueError with a sentence.
    """
    named = {name: action for action in actions for name in names_of(action)}
    words = text.split(None, _NAME_WORDS)
    for count in range(min(len(words), _NAME_WORDS), 0, -1):
        name = " ".join(words[:count]).lower().replace("_", " ")
        if name in named:
            rest = text.split(None, count)[count:]
            return Command(named[name], name, rest[0].strip() if rest else "")
    typed = " ".join(words).lower()
    begun = {named[name].id: name for name in reversed(named) if name.startswith(typed)}
    if len(begun) == 1:
        [name] = begun.values()
        return Command(named[name], name, "")
    if begun:
        raise ValueError(f"{printable(typed)} could be {', '.join([*begun.values()][::-1][:4])}")
    near = get_close_matches(typed, named, 1, 0.5) or get_close_matches(words[0].lower(), named, 1, 0.5)
    hint = f"is it {near[0]}?" if near else "^p lists them all"
    raise ValueError(f"no command {printable(words[0], 40)}; {hint}")


def arguments(command: Command) -> list[str]:
    """Return what a command is about, a text for each of the action's ``takes``, or fewer.

    Quotes keep blanks together. Raises ValueError with a sentence.
    """
    takes = command.action.takes
    if not command.rest:
        return []
    if takes[-1:] in (("search",), ("time",)):
        return [command.rest]
    lexer = shlex.shlex(command.rest, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape, lexer.quotes = True, "", "", '"'
    try:
        given = list(lexer)
    except ValueError:
        raise ValueError('a " is not closed') from None
    if len(given) > len(takes):
        fits = " ".join(takes).upper() or "nothing after it"
        raise ValueError(f"{command.name} takes {fits}: {printable(given[len(takes)], 40)} is too much")
    return given


def completions(
    text: str, actions: Iterable[Action], known: Callable[[str, str], Iterable[str]]
) -> list[Completion]:
    """Return what a command line can be completed to; ``known`` returns what exists of a kind, or at least
    what of it begins with a text."""
    typed = text.lower()
    named: dict[str, Action] = {}
    found = []
    for action in actions:
        names = names_of(action)
        named |= dict.fromkeys(names, action)
        begun = next((name for name in names if name.startswith(typed)), typed)
        if begun != typed and typed.rstrip() not in names:
            found.append(Completion(begun, begun))
    found.sort(key=lambda one: len(one.line))
    whole = [name for name in named if typed.startswith(f"{name} ") and named[name].takes]
    if not whole:
        return found
    name = max(whole, key=len)
    takes, parts = named[name].takes, [*_PARTS.finditer(text, len(name))]
    at = len(text) if not parts or text[-1].isspace() else parts[-1].start()
    number = len(parts) - (at < len(text))
    kind = takes[number] if number < len(takes) else takes[-1] if takes[-1] == "search" else ""
    last = text[at:].lstrip('"')
    begun = last.lower()
    for one in known(kind, last) if kind else ():
        if one.lower().startswith(begun) and one.lower() != begun and is_plain(one) and '"' not in one:
            word = one
            if re.search(r"\s", one):  # a directory goes on, within its quotes
                word = f'"{one}' if kind == "file" and one.endswith("/") else f'"{one}"'
            found.append(Completion(text[:at] + word, one))
    return found


def usage(command: Command) -> str:
    """Return what a command takes, and what it does."""
    takes = " ".join(f"[{one.upper()}]" for one in command.action.takes)
    return f"{takes} {command.action.help}".strip()


def row_called(text: str, what: str, rows: Sequence[Named[R]]) -> R:
    """Return the row that has a name; ``adapter/name`` where several have it. ``what`` is what the rows are.
    A name in another case fits where none is written so; rows of the one adapter that is meant name none.

    Raises ValueError with a sentence.
    """
    wanted = text.lower()
    exact = [one for one in rows if any(text in (name, f"{one.adapter}/{name}") for name in one.names)]
    found = exact or [
        one
        for one in rows
        if any(wanted in (name.lower(), f"{one.adapter}/{name}".lower()) for name in one.names)
    ]
    if len(found) == 1:
        return found[0].row
    shown = printable(text, 40)
    if found:
        which = ", ".join(
            printable(f"{one.adapter}/{one.names[0]}" if one.adapter else one.names[0], 40)
            for one in found[:4]
        )
        raise ValueError(f"{shown} could be {which}")
    near = get_close_matches(text, [name for one in rows for name in one.names], 1, 0.6)
    raise ValueError(f"no {what} {shown}" + (f"; is it {printable(near[0], 40)}?" if near else ""))
