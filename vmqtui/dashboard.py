"""The dashboard's screen: header, tabs, a view, the key bar, and the actions on them."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from rich.console import RenderableType
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingsMap
from textual.widgets import ContentSwitcher

from engine.telemetry.stats import Source
from engine.view.rows import QueueView
from vmqtui.actions import ACTIONS, VIEWS, Action, by_id, first_key, key_names
from vmqtui.actions.action import QUEUE, TITLES, where_of
from vmqtui.actions.keymap import unchanging
from vmqtui.columns import name_of_table
from vmqtui.command_actions import CommandActions
from vmqtui.dialogs.choose import ChooseDialog, HostDialog
from vmqtui.dialogs.dialog import open_dialog
from vmqtui.dialogs.texts import TextDialog, details_text, finding_text, help_text, lesson_text
from vmqtui.link import Link
from vmqtui.state.choices import LESSON, PANE
from vmqtui.state.jump import PLACES_KEPT, Place, target_of
from vmqtui.state.lesson import LessonProgress
from vmqtui.state.model import Model
from vmqtui.state.rows import FindingRow
from vmqtui.tasks.task import Ending, Task, called
from vmqtui.tasks.undo import Changes
from vmqtui.views.pages import DefaultQueueView, OverviewView, ProcessorsView, QueuePage
from vmqtui.views.tables import AdviceView, BuffersView, EventsView, FiltersView, QueuesView
from vmqtui.views.view import View
from vmqtui.widgets.bars import CommandBar, FilterBar, Timeline
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.header import Header, KeyBar, Tabs, TooSmall, link_and_driver
from vmqtui.widgets.lesson import LessonPane
from vmqtui.widgets.table import LiveTable

if TYPE_CHECKING:
    from vmqtui.library.lessons import Lesson

_VIEWS: tuple[type[View], ...] = (
    OverviewView,
    QueuesView,
    FiltersView,
    BuffersView,
    ProcessorsView,
    DefaultQueueView,
    EventsView,
    AdviceView,
    QueuePage,
)


class Dashboard(CommandActions):
    """Shows the model, and a lesson if given, and runs the actions of the registry. Only the visible view
    draws."""

    def __init__(
        self, link: Link, model: Model, actions: tuple[Action, ...], lesson: "Lesson | None" = None
    ) -> None:
        super().__init__()
        self._link = link
        self._model = model
        self._actions = actions
        self._changes = Changes()
        self._places: deque[Place] = deque(maxlen=PLACES_KEPT)
        """What was shown before each jump to a queue."""
        # Bindings are set on the instance because dashboards offer different actions.
        keys = BindingsMap(
            Binding(action.key, action.does, action.title, show=False, priority=action.priority)
            for action in actions
            if action.key
        )
        self._bindings = BindingsMap.merge([self._bindings, keys])
        self._mounted = False
        self._header = Header(model)
        self._tabs = Tabs(actions)
        self._filter = FilterBar()
        self._command = CommandBar(self.complete, self.usage)
        self._timeline = Timeline(model)
        self._keys = KeyBar(model, lambda: self._offered, lambda: len(model.choices.marks.of(self._kind)))
        self._too_small = TooSmall(actions)
        self._views = {view.view_id: view(model) for view in _VIEWS}
        self._view = self._tab = next(iter(VIEWS))
        self._practice: LessonProgress | None = None
        self._lesson: LessonPane | None = None
        if lesson is not None:
            self._practice = LessonProgress(lesson)
            key = next(first_key(action) for action in actions if action.teaches)
            self._lesson = LessonPane(self._practice, key)
            folds = f" · {key} folds it" if key else ""
            self._lesson.border_title = f"Lesson: {lesson.title}{folds}".replace("[", r"\[")
            self.set_class(model.choices.setting(LESSON), "-lesson", update=False)
        self.set_class(model.choices.setting(PANE), "-detailed", update=False)

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._tabs
        yield self._timeline
        with ContentSwitcher(initial=self._view, id="views"):
            yield from self._views.values()
        if self._lesson is not None:
            yield self._lesson
        yield self._filter
        yield self._command
        yield self._keys
        yield self._too_small

    def on_mount(self) -> None:
        self._mounted = True
        self.view.main.focus()
        self.draw()

    def on_unmount(self) -> None:
        self._mounted = False

    @property
    def view(self) -> View:
        """The visible view."""
        return self._views[self._view]

    @property
    def _offered(self) -> tuple[Action, ...]:
        """The actions of the shown host: none that changes it, if it takes no requests."""
        return unchanging(self._actions) if self._model.why_unchanging else self._actions

    def tell_why_not(self, key: str) -> None:
        """Tell why nothing can be changed, if a key would otherwise change something in this view; of a key
        that does nothing here, the views that it is for."""
        why = self._model.why_unchanging
        having = [one for one in self._actions if key in one.keys]
        if self._too_small.display:
            return
        if any(one.applies(self._view) for one in having):
            if why and any(one.changes and one.applies(self._view) for one in having):
                self._tell(why)
        elif elsewhere := [one for one in having if one in self._offered]:
            self._tell(f"{elsewhere[0].title} is for: {where_of(elsewhere[0])}")

    def draw(self) -> None:
        """Show the current model; does nothing before the screen is mounted."""
        if not self._mounted:
            return
        if self._model.past is None:
            self._model.follow_marks()
        self.draw_age()
        self.view.draw()
        self.say_filter()

    def _draw_lesson(self) -> None:
        """Update the lesson by the newest findings, even if a past moment is shown."""
        if self._practice is not None and self._lesson is not None:
            self._practice.shown(self._view)
            self._practice.judge(self._model.newest.advised)
            self._lesson.fit_height()
            self._lesson.repaint()

    def draw_age(self) -> None:
        """Update what depends on the model's age; the rows stay as drawn."""
        if not self._mounted:
            return
        self._header.repaint()
        self._keys.repaint()
        state = self._model.liveness().state
        self.query("#views").set_class(state in ("stale", "unreadable", "silent", "offline"), "-past")
        self.set_class(state in ("paused", "playing"), "-held")
        self._timeline.set_class(state in ("paused", "playing"), "-past")
        self._timeline.repaint()
        self._draw_lesson()

    def practised(self, task: Task, ending: Ending) -> None:
        """Note in the lesson what a task did; its fix counts when all its requests were carried out."""
        if self._practice is None:
            return
        if task.fixes is None:
            answers = {step.key: response for step, response in ending.done}
            for step, _ in ending.done:
                self._practice.answered(step.op, step.params(answers))
        elif ending.done and not ending.failed and not ending.unanswered:
            self._practice.fixed(task.fixes)
        self._draw_lesson()

    def refresh_colours(self) -> None:
        """Redraw everything after a change of theme."""
        for widget in self.query("*"):
            widget.notify_style_update()
            widget.refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        name = f"{action}({parameters[0]!r})" if parameters else action
        known = [one for one in self._offered if one.does == name]
        if not self._mounted:
            return False
        if not known:
            return all(one.does != name for one in ACTIONS)
        seen = not self._too_small.display or known[0].id == "quit"  # no action while the screen is covered
        return any(one.applies(self._view) for one in known) and seen

    def commands(self) -> Iterator[SystemCommand]:
        """The actions available in this view, for the palette."""
        for action in self._offered:
            if action.applies(self._view) and action.id != "command_palette":
                keys = key_names(action)
                about = f"{keys}  {action.help}" if keys else action.help
                yield SystemCommand(action.title, about, partial(self._do, action.id))

    def _do(self, action: str) -> None:
        self.call_later(self.run_action, by_id(action).does)

    def action_view(self, view: str) -> None:
        """Show a view."""
        self.end_filter()
        self._command.close()
        self._view = self._keys.view = view
        if view in VIEWS:
            self._tab = self._tabs.view = view
        self.query_one("#views", ContentSwitcher).current = view
        self._tabs.repaint()
        self._keys.repaint()
        self.draw()  # at once, so that the next key finds its row
        self.set_focus(self.view.main)
        self.call_after_refresh(self.draw)  # again once the view has a size

    def _step_view(self, step: int) -> None:
        names = list(VIEWS)
        self.action_view(names[(names.index(self._tab) + step) % len(names)])

    def action_next_view(self) -> None:
        """Show the next view."""
        self._step_view(1)

    def action_previous_view(self) -> None:
        """Show the view before."""
        self._step_view(-1)

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        self.action_view(event.view)

    def on_key_bar_pressed(self, event: KeyBar.Pressed) -> None:
        self._do(event.action)

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        self.action_details()

    def action_back(self) -> None:
        """Leave a queue's page, or drop the table's marks or filter."""
        if self._view not in VIEWS:
            self.action_view(self._tab)
        else:
            super().action_back()

    def action_jump(self) -> None:
        """Show the queue that the row under the cursor is about, in the table of all queues."""
        found = target_of(self.subject, self._model.snapshot)
        if isinstance(found, str):
            self._tell(found)
            return
        queue, choices, queues = found.queue, self._model.choices, self._views["queues"].main
        row = queues.row
        if self.view.table is queues and row is not None and row.identity == queue.identity:
            self._tell("this is the queue; ⏎ opens its page")
            return
        self._places.append(self._here(queues))
        words = f": {found.why}" if found.why else ""
        if choices.adapter not in (None, queue.adapter):
            words += f"; all adapters are shown, as it is not of {choices.adapter}"
            choices.adapter = None
        self.action_view("queues")
        if not queues.find(queue.identity):
            hiding = choices.of(queues.id).filter
            words += f"; the search {hiding} hid it, and is dropped until you go back"
            self._choose(queues, filter="")
            queues.find(queue.identity)
        self.call_after_refresh(queues.action_cursor, 0)  # into view, once the table has a size
        if words:
            self._tell(f"{called(queue)}{words}")

    def _here(self, target: LiveTable) -> Place:
        """Return the place to come back to from a jump into the table ``target``."""
        table, page, choices = self.view.table, self._views[QUEUE], self._model.choices
        return Place(
            self._view,
            self._tab,
            page.queue if isinstance(page, QueuePage) else None,
            table.id or "",
            table.row.identity if table.row is not None else None,
            choices.adapter,
            {str(one.id): choices.of(one.id).filter for one in (table, target)},
        )

    def action_jump_back(self) -> None:
        """Go back to the place before the last jump."""
        if not self._places:
            self._tell("there is no jump to go back from")
            return
        place, page = self._places.pop(), self._views[QUEUE]
        choices = self._model.choices
        choices.adapter = place.adapter
        for name, text in place.filters.items():
            choices.change(name, filter=text)
        if place.view == QUEUE and place.page is not None and isinstance(page, QueuePage):
            page.look_at(place.page)
            self._tab = self._tabs.view = place.tab
        self.action_view(place.view)
        table = self.query_one(f"#{place.table}", LiveTable)
        self.set_focus(table)
        if not table.find(place.row) and place.row is not None:
            self._tell("the row that you jumped from is gone")
        self.call_after_refresh(table.action_cursor, 0)

    def action_details(self) -> None:
        """Open the page of the queue under the cursor; for any other row, a dialog with all its columns."""
        subject, page = self.subject, self._views[QUEUE]
        elsewhere = self.view is not page or self._named is not None
        if isinstance(subject, QueueView) and isinstance(page, QueuePage) and elsewhere:
            page.look_at(subject)
            self.action_view(QUEUE)
            return
        table = self.view.table
        row = table.row
        if row is None and (table.table != "advice" or not self._model.snapshot.advised.unchecked):
            return
        kept = [row]

        def make() -> RenderableType:
            snapshot = self._model.snapshot
            shown = kept[0]
            if shown is not None:
                same = (one for one in snapshot.rows(table.table) if one.identity == shown.identity)
                shown = kept[0] = next(same, shown)
            if shown is None or isinstance(shown, FindingRow):
                width = min(104, self.app.size.width - 11)
                gaps = snapshot.advised.unchecked
                return finding_text(shown, gaps, snapshot.system, palette_of(self), width)
            return details_text(shown, table.table, palette_of(self), self._sources(table.table))

        name = "rules that could not look" if row is None else getattr(row, "label", None)
        title = f"{name_of_table(table.table).capitalize()}: {name}" if name else "Details"
        open_dialog(self, TextDialog(title, make))

    def action_toggle_lesson(self) -> None:
        """Fold or unfold the lesson; on a screen with room for two lines of it, show it as a page."""
        progress = self._practice
        if progress is None:
            return
        if self.app.size.width >= 100 and self.app.size.height >= 32:
            choices = self._model.choices
            choices.set(LESSON, not choices.setting(LESSON))
            self.set_class(choices.setting(LESSON), "-lesson")
            return

        def make() -> RenderableType:
            width = min(104, self.app.size.width - 11)
            return lesson_text(progress, palette_of(self), width)

        open_dialog(self, TextDialog(f"Lesson: {progress.lesson.title}", make))

    def action_help(self) -> None:
        """What the keys do."""
        table = self.view.table
        counters = self._sources(table.table)
        text = help_text(self._offered, self._view, table.table, palette_of(self), counters, table.unknown)
        open_dialog(self, TextDialog(f"Help: {TITLES[self._view]}", lambda: text))

    def _sources(self, table: str) -> dict[str, Source]:
        return self._model.snapshot.sources(table, self._model.choices.adapter)

    async def action_quit(self) -> None:
        """Leave."""
        self.app.exit()

    def action_next_theme(self, name: str = "") -> None:
        """Change the colours: to the theme of a name, or the next one."""
        self.app.action_next_theme(name)  # type: ignore[attr-defined]  # the app is always a VmqApp

    def action_choose_adapter(self, name: str = "") -> None:
        """Show one adapter, or all: the one of a name, or a chosen one."""
        snapshot = self._model.snapshot
        if name:
            self._model.choices.adapter = None if name == "all" else name
            self.draw()
            return
        names = list(snapshot.adapter_names)
        if len(names) < 2:
            self._tell("this host has one adapter" if names else "no adapter is known yet")
            return
        now = self._model.choices.adapter

        def chosen(index: int | None) -> None:
            if index is not None:
                self._model.choices.adapter = None if index == 0 else names[index - 1]
                self.draw()

        at = 0 if now is None else names.index(now) + 1
        lines = [
            "  ".join(
                (
                    row.adapter,
                    *([row.team_words] if row.team else []),
                    *([link_and_driver(row.config)] if snapshot.measured and row.config else []),
                )
            )
            for row in snapshot.adapters
        ]
        open_dialog(self, ChooseDialog("Adapter", ["all adapters", *lines], at), chosen)

    def action_choose_host(self, name: str = "") -> None:
        """Show another host of the broker: the one of a name, or a chosen one."""
        if not self._link.hosts:
            self._tell("no host has reported yet")
            return

        def chosen(host: str | None) -> None:
            if host is not None:
                self._model.choose_host(host)
                self._places.clear()
                self.draw()

        if name:
            chosen(name)
        else:
            open_dialog(self, HostDialog(self._model), chosen)
