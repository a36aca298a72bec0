"""The command line: what is typed into it becomes an action of the registry, on what the command names."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from textual.widget import Widget

from engine.scenario.values import normal_mac
from engine.view.rows import PortView, QueueView
from vmqtui.actions import Action
from vmqtui.actions.action import where_of
from vmqtui.actions.commands import (
    Command,
    Completion,
    Named,
    arguments,
    completions,
    read_command,
    row_called,
    usage,
)
from vmqtui.columns.arrange import field_called
from vmqtui.state.moment import Reach, read_when
from vmqtui.tasks.filters import known_addresses
from vmqtui.tasks.task import processor
from vmqtui.view_actions import ViewActions
from vmqtui.widgets.bars import CommandBar

MOST_PATHS: Final = 2_000
"""Most names of a directory that are read to complete a path."""


def file_called(text: str) -> Path:
    """Return the path of a file that a user typed. Raises ValueError with a sentence."""
    try:
        path = Path(text).expanduser()
        is_file = not path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"no file: {getattr(error, 'strerror', None) or error}") from None
    if not is_file:
        raise ValueError("that is a directory; name a file in it")
    return path


def paths_from(begun: str) -> list[str]:
    """Return the paths that begin so, directories with / at their end; none where they can't be read."""
    name = os.path.split(begun)[1]
    before = begun.removesuffix(name)
    try:
        with os.scandir(Path(before).expanduser()) as entries:
            found = sorted((one.name, one.is_dir()) for one in islice(entries, MOST_PATHS))
    except (OSError, RuntimeError, ValueError):
        return []
    return [
        f"{before}{one}{'/' if is_directory else ''}"
        for one, is_directory in found
        if one.lower().startswith(name.lower()) and (name or not one.startswith("."))
    ]


class CommandActions(ViewActions):
    """A screen with a command line. A command without an argument does what the action's key does."""

    _command: CommandBar
    _actions: tuple[Action, ...]
    _before: Widget | None = None
    """What had the focus before the command line."""
    _reach: Reach | None = None
    """The moment that was shown when it opened."""

    @property
    def _offered(self) -> tuple[Action, ...]:
        """The actions of the shown host."""
        raise NotImplementedError

    def _do(self, action: str) -> None:
        """Run the action of an id."""
        raise NotImplementedError

    def action_command_line(self) -> None:
        """Type an action by name."""
        self.end_filter()
        self._before, self._reach = self.focused, self._model.reach()
        self._command.begin()

    def on_command_bar_left(self, event: CommandBar.Left) -> None:
        self._leave_command()

    def _leave_command(self) -> None:
        self._command.close()
        before = self._before
        shown = before is not None and before.is_attached and self.view in before.ancestors
        self.set_focus(before if shown else self.view.main)

    def on_command_bar_given(self, event: CommandBar.Given) -> None:
        try:
            run = self._understood(event.text)
        except ValueError as error:
            self._command.say(str(error), "warn")
            return
        self._command.keep(event.text)
        self._leave_command()
        run()

    def complete(self, text: str) -> list[Completion]:
        """Return what a command line can be completed to."""
        return completions(text, self._here_offered(), self._known)

    def usage(self, text: str) -> str:
        """Return what a command takes and does; "" if it is none."""
        try:
            return usage(read_command(text, self._here_offered())) if text.strip() else ""
        except ValueError:
            return ""

    def _here_offered(self) -> list[Action]:
        """The actions of this view, and those that can be given what they are about."""
        return [one for one in self._offered if one.takes or one.applies(self.view.view_id)]

    def _understood(self, text: str) -> Callable[[], object]:
        """Return what runs a command. Raises ValueError with a sentence."""
        command = read_command(text, self._actions)
        action = command.action
        if action.changes and (why := self._model.why_unchanging):
            raise ValueError(why)
        given = arguments(command)
        if given:
            return self._about(command, given)
        if not action.applies(self.view.view_id):
            raise ValueError(f"{command.name} is for: {where_of(action)}")
        return partial(self._do, action.id)

    def _about(self, command: Command, given: Sequence[str]) -> Callable[[], object]:
        """Return what runs an action on what a command names."""
        action = command.action
        values = [self._value(kind, text) for kind, text in zip(action.takes, given, strict=False)]
        row = values.pop(0) if action.takes[0] in ("queue", "vm") else None
        method, _, preset = action.does.partition("(")
        run = getattr(self, f"action_{method}" if action.takes != ("search",) else "filter_by")
        before = [preset.strip("')")] if preset else []

        def on_it() -> None:
            self._named = row
            try:
                run(*before, *values)
            finally:
                self._named = None

        return on_it

    def _value(self, kind: str, text: str) -> Any:
        """Return what a text of a command stands for. Raises ValueError with a sentence."""
        match kind:
            case "queue":
                queues = [
                    Named(one, one.adapter, (str(one.queue_id), one.label, one.name or ""))
                    for one in self._queues
                ]
                return row_called(text, "queue", queues)
            case "vm":
                return row_called(text, "VM", self._vms)
            case "cpu":
                return processor(self._model.snapshot.processors)(text)
            case "mac":
                return normal_mac(text)
            case "column":
                return field_called(text, self.view.table.columns)
            case "time":
                if (reach := self._model.reach()) is None:
                    raise ValueError("there is no reading yet")
                return read_when(text, reach.first_ns, reach.last_ns, (self._reach or reach).shown_ns)
            case "file":
                return file_called(text)
            case "theme" | "adapter" | "host":
                names = list(self._known(kind))
                if text not in names:
                    raise ValueError(f"no {kind} {text}; there are {', '.join(names)}")
        return text

    def _known(self, kind: str, begun: str = "") -> Iterable[str]:
        """Return what exists of a kind, the likeliest first, to complete what is ``begun``."""
        snapshot = self._model.snapshot
        adapter = self._model.choices.adapter
        match kind:
            case "queue":
                return dict.fromkeys(one.label for one in self._queues)
            case "vm":
                return dict.fromkeys(one.names[0] for one in self._vms)
            case "cpu":
                return [one.processor for one in snapshot.cpus]
            case "mac" | "vlan":
                known = [known_addresses(snapshot, one) for one in snapshot.adapter_names]
                return dict.fromkeys(
                    each for one in known for each in (one.macs if kind == "mac" else one.vlans)
                )
            case "column" | "search":
                return [column.key for column in self.view.table.columns if column.exported]
            case "adapter":
                return (
                    ["all", *snapshot.adapter_names]
                    if adapter is not None
                    else [*snapshot.adapter_names, "all"]
                )
            case "host":
                return self._link.hosts
            case "file":
                return paths_from(begun)
            case "theme":
                names: list[str] = self.app.theme_names  # type: ignore[attr-defined]  # the app is a VmqApp
                return names
        return ()

    @property
    def _queues(self) -> list[QueueView]:
        chosen = self._model.choices.adapter
        return [one for one in self._model.snapshot.queues if chosen in (None, one.adapter)]

    @property
    def _vms(self) -> list[Named[QueueView | PortView]]:
        """Each VM of each adapter, with a row of its."""
        chosen, found = self._model.choices.adapter, dict[tuple[str, str], QueueView | PortView]()
        for queue in self._queues:
            if queue.vm is not None:
                found.setdefault((queue.adapter, queue.vm), queue)
        for port in self._model.snapshot.ports:
            if chosen in (None, port.adapter):
                found.setdefault((port.adapter, port.config.vm), port)
        return [Named(row, adapter, (name,)) for (adapter, name), row in found.items()]
