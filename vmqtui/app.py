"""The Textual application: it receives messages from a link and draws the dashboard."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from vmqtui.actions.action import PANE_COLUMNS, TITLES
from vmqtui.actions.keymap import Keymap
from vmqtui.columns.column import use_thresholds
from vmqtui.dashboard import Dashboard
from vmqtui.dialogs.choose import ActionPalette
from vmqtui.dialogs.dialog import Dialog, open_dialog
from vmqtui.draw import TrendStyle, fitting_style, use_trends
from vmqtui.link import Link, ReadOnlyLink
from vmqtui.preferences.kept import Kept, StateFile, kept_of
from vmqtui.preferences.model import Preferences
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.moment import Tape
from vmqtui.state.snapshot import Snapshot
from vmqtui.theme import Palette, load_themes, preferred
from vmqtui.widgets.header import LEAST_SIZE

if TYPE_CHECKING:
    from engine.bus.messages import Status
    from vmqtui.library.lessons import Lesson

DRAW_PERIOD = 0.1
"""Minimum seconds between two drawings."""
KEEP_PERIOD = 1.0
"""Seconds after which changed choices are written into the state file."""


def _fitting_trends() -> TrendStyle:
    """The style of trends that fits the terminal which Textual writes to."""
    windows = sys.platform == "win32"
    terminal = sys.__stdout__ if windows else sys.__stderr__
    return fitting_style(os.environ, terminal.encoding if terminal is not None else "", windows)


class VmqApp(App[None]):
    """Shows the hosts of a link until the user quits.

    ``preferences`` come from the configuration file. ``state`` is the file that keeps what is chosen on the
    screen; without one nothing is kept. ``theme`` is a theme's name, and comes before both. ``host`` is shown
    even before it reports; without it, the first host that reports. ``read_only`` removes every action that
    changes the engine. With ``tapes``, a recording is played at ``speed`` times its original speed. ``notes``
    are sentences to show at the start. Without ``writes_files``, actions that write files are removed.
    ``expected`` is the status assumed of a host before it sends its own. ``lesson`` is taught in a pane. The
    link must call back on the app's event loop. ``failure`` is the exception that ended the app, if any.
    """

    CSS_PATH: ClassVar[Path] = Path(__file__).with_name("dashboard.tcss")
    TITLE: str | None = "vmqtui"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True
    # Textual declares an instance variable.
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # type: ignore[misc]
        (0, "-tiny"),
        (LEAST_SIZE[0], "-narrow"),
        (100, "-wide"),
        (PANE_COLUMNS, "-xwide"),
    ]
    # Textual declares an instance variable.
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # type: ignore[misc]
        (0, "-flat"),
        (LEAST_SIZE[1], "-short"),
        (32, "-tall"),
        (48, "-high"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True, system=True)
    ]

    def __init__(
        self,
        link: Link,
        *,
        theme: str | None = None,
        read_only: bool = False,
        host: str | None = None,
        themes: Path | None = None,
        tapes: Callable[[str], Tape] | None = None,
        speed: float = 1.0,
        notes: Sequence[str] = (),
        preferences: Preferences | None = None,
        state: StateFile | None = None,
        writes_files: bool = True,
        expected: "Status | None" = None,
        lesson: "Lesson | None" = None,
    ) -> None:
        self.preferences: Preferences = preferences or Preferences()
        self._state = state
        kept = state.kept if state is not None else Kept()
        self._theme_chosen = kept.theme_over(self.preferences)
        """The theme chosen on the screen, now or at an earlier start."""
        self._keymap_of_actions = Keymap(self.preferences.keymap)
        keys_of = {action.id: action.keys for action in self._keymap_of_actions.actions}
        # Textual declares a class variable, but reads it from the instance.
        self.COMMAND_PALETTE_BINDING = keys_of["command_palette"][0]  # type: ignore[misc]
        self._keys_to_leave = frozenset(keys_of["quit"]) | {"ctrl+c", "ctrl+q"}
        self._themes, self._problems = load_themes(themes)
        self._problems += notes
        if state is not None and state.problem:
            self._problems.append(state.problem)
        wanted = [one for one in (theme, self._theme_chosen, self.preferences.theme) if one is not None]
        self._theme_name = next((one for one in wanted if one in self._themes), preferred(self._themes))
        if wanted and wanted[0] != self._theme_name:
            self._problems.append(f"no theme {wanted[0]!r}; there are {', '.join(self._themes)}")
        self.palette: Palette = Palette(self._themes[self._theme_name].roles)
        super().__init__()
        self._typed_into: WeakKeyDictionary[events.Key, Widget | None] = WeakKeyDictionary()
        link = ReadOnlyLink(link) if read_only else link
        self.model: Model = Model(link, host, tapes, speed, self.preferences.advice, expected)
        self._plays = tapes is not None
        use_thresholds(self.preferences.thresholds)
        use_trends(self.preferences.trends or _fitting_trends())
        kept.put_into(self.model.choices, self.preferences)
        self._link = link
        self._writes_files = writes_files
        self._told_unkept = False
        self._lesson = lesson
        self._drawn_at = 0.0
        self._draw_due = False
        self._drawn: Snapshot | None = None
        self._caught_up: tuple[str, float] | None = None
        """The host whose earlier events were requested, and the start time of its engine."""
        self.failure: Exception | None = None
        for loaded in self._themes.values():
            self.register_theme(loaded.textual)
        self.theme = self._theme_name

    def get_default_screen(self) -> Screen[None]:
        actions = self._keymap_of_actions.offered(self._writes_files, self._lesson is not None)
        dashboard = Dashboard(self._link, self.model, actions, self._lesson)
        dashboard.exports = self.preferences.exports
        # Textual sets these classes when it learns the size, and then styles every widget once more.
        for length, breakpoints in zip(
            self.size, (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), strict=True
        ):
            dashboard.add_class(max(one for one in breakpoints or () if one[0] <= length)[1], update=False)
        return dashboard

    def on_mount(self) -> None:
        for problem in self._problems:
            self.notify(printable(problem), severity="warning", markup=False)
        self._link.on_change(self._changed)
        self._changed()
        self.set_interval(1.0, self._notice_age)
        if self._state is not None:
            self.set_interval(KEEP_PERIOD, self._keep_choices)
        if self._plays:
            self.set_interval(DRAW_PERIOD, self._play_on)

    def _tell_searches(self) -> None:
        """Tell with the first reading of a host which searches it had before: they hide rows."""
        choices = self.model.choices
        if not choices.brought_back or self.model.snapshot.stats is None:
            return
        told = [
            f"{TITLES[place.partition('-')[0]]} /{text}"
            for place, text in choices.brought_back.items()
            if choices.of(place).filter == text
        ]
        choices.brought_back = {}
        if told:
            self.notify(printable(f"searches of last time: {', '.join(told)}; Esc drops one"), markup=False)

    def _keep_choices(self) -> None:
        """Write changed choices into the state file, in a thread; report an error once."""
        state = self._state
        if state is not None and not state.writing and state.offer(self._choices):
            self.run_worker(self._write_choices(), group="choices")

    @property
    def _choices(self) -> Kept:
        return kept_of(self.model.choices, self._theme_chosen, self.preferences)

    async def _write_choices(self) -> None:
        why = await self.keep_choices()
        if why and not self._told_unkept:
            self._told_unkept = True
            self.notify(printable(why), severity="warning", markup=False)

    async def keep_choices(self) -> str:
        """Write the choices into the state file, if they are not in it; return why that failed, or ""."""
        state = self._state
        if state is None or self.failure is not None or not state.offer(self._choices):
            return ""  # what made the screen fail is not kept
        try:
            await asyncio.to_thread(state.write)
        except OSError as error:
            return f"{state.path}: {error.strerror or error}; what you choose is not kept"
        return ""

    def _changed(self) -> None:
        """Read new messages immediately; schedule a drawing ``DRAW_PERIOD`` after the last one."""
        self.model.take()
        self._tell_searches()
        self._catch_up()
        if not self._draw_due and self.is_running:
            self._draw_due = True
            # The link calls from tasks outside the app, where a Textual timer can't start.
            delay = max(0.001, self._drawn_at + DRAW_PERIOD - monotonic())
            asyncio.get_running_loop().call_later(delay, self.call_later, self._draw_changed)

    def _catch_up(self) -> None:
        """Request earlier events when a host is shown, and after each reconnection."""
        host = self.model.host
        view = self._link.view(host) if host else None
        status = view.status if view is not None else None
        if status is None or status.state != "online":
            self._caught_up = None  # the connection ended
        elif (host, status.started_at) != self._caught_up:
            self._caught_up = host, status.started_at
            self.call_later(self._ask_for_events, host)

    def _ask_for_events(self, host: str) -> None:
        self.run_worker(self._link.catch_up(host), group=f"events of {host}", exclusive=True)

    def _draw_changed(self) -> None:
        """Draw; if the view already shows this moment, update only its age."""
        if self.model.snapshot is not self._drawn:
            self.draw_now()
            return
        self._draw_due = False
        self._drawn_at = monotonic()
        for screen in self.screen_stack:
            if isinstance(screen, Dashboard):
                screen.draw_age()

    def draw_now(self) -> None:
        """Draw without waiting for the end of ``DRAW_PERIOD``; nothing once the app closes, which takes the
        widgets away one by one."""
        if not self.is_running:
            return
        self._draw_due = False
        self._drawn_at = monotonic()
        self._drawn = self.model.snapshot
        for screen in self.screen_stack:
            if not screen.is_mounted:
                continue  # it draws when it is mounted
            if isinstance(screen, (Dashboard, Dialog)):
                screen.draw()

    def _notice_age(self) -> None:
        """Show the growing age of the readings if no message arrives."""
        if monotonic() - self._drawn_at >= 0.9:
            self._draw_changed()

    def _play_on(self) -> None:
        if self.model.tick():
            self.draw_now()

    async def on_event(self, event: events.Event) -> None:
        # Keys typed after the quit key are dropped: there may be no screen to handle them.
        if isinstance(event, (events.InputEvent, events.Paste)) and (self._exit or not self.screen_stack):
            return
        if isinstance(event, events.Key) and not event.is_forwarded:
            if isinstance(self.screen, Dialog) and not self.screen.is_seen:
                if event.key in self._keys_to_leave:
                    await self.action_quit()
                return
            self._typed_into[event] = self.focused
        await super().on_event(event)

    def on_key(self, event: events.Key) -> None:
        """Forward a key to the focused text field if it was typed before the field got the focus; else, tell
        why a key that would change a host does not.

        Keys that arrive in one read, for example over a slow line, all go to the widget that has the focus
        before the first key takes effect: of ``/drops>0``, all but the slash would run as commands.
        """
        focused = self.focused
        typed_into = self._typed_into.get(event, focused)
        if not isinstance(focused, Input) or typed_into is focused:
            if isinstance(self.screen, Dashboard) and not isinstance(focused, Input):
                self.screen.tell_why_not(event.key)
            return
        of_dialog = not isinstance(self.screen, Dashboard)
        within_it = typed_into is not None and self.screen in typed_into.ancestors
        if not (of_dialog and within_it):  # in a dialog, a Tab typed after this key moved the focus
            event.prevent_default()
            focused.post_message(events.Key(event.key, event.character))

    def _handle_exception(self, error: Exception) -> None:
        self.failure = self.failure or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Exit without a traceback; the caller reports ``failure``. Textual's traceback shows every local
        variable, including passwords."""
        self._close_messages_no_wait()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, Dashboard):
            yield from screen.commands()

    def action_command_palette(self) -> None:
        """Open a list of all actions by name; does nothing over a dialog."""
        if isinstance(self.screen, Dashboard):
            open_dialog(self.screen, ActionPalette())

    @property
    def theme_names(self) -> list[str]:
        """The names of the themes, in the order in which the key goes through them."""
        return list(self._themes)

    def action_next_theme(self, name: str = "") -> None:
        """Change to the theme of a name, or to the next one."""
        names = self.theme_names
        self._theme_name = name or names[(names.index(self._theme_name) + 1) % len(names)]
        self._theme_chosen = self._theme_name
        self.palette = Palette(self._themes[self._theme_name].roles)
        self.theme = self._theme_name
        for screen in self.screen_stack:
            if isinstance(screen, Dashboard):
                screen.refresh_colours()
        self.draw_now()
