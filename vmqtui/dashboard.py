"""The one screen: header, tabs, a view, the keys; and what the keys do."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from rich.console import RenderableType
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from vmqtui.actions import ACTIONS, VIEWS, offered
from vmqtui.dialogs import tasks
from vmqtui.dialogs.choose import ChooseDialog, MoveDialog, TextDialog
from vmqtui.dialogs.request import RequestDialog, Task
from vmqtui.dialogs.texts import details_text, help_text
from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import CpuRow, FilterRow, PortRow, QueueRow
from vmqtui.views.composed import DefaultQueueView, OverviewView, ProcessorsView
from vmqtui.views.tables import BuffersView, EventsView, FiltersView, QueuesView
from vmqtui.views.view import View
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.header import Header, KeyBar, Tabs
from vmqtui.widgets.table import LiveTable

_VIEWS: tuple[type[View], ...] = (
    OverviewView,
    QueuesView,
    FiltersView,
    BuffersView,
    ProcessorsView,
    DefaultQueueView,
    EventsView,
)


class Dashboard(Screen[None]):
    """Shows the model and carries out the actions of the registry. Only the seen view draws."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.key, action.id, action.title, show=False) for action in ACTIONS if not action.priority
    ]

    def __init__(self, link: Link, model: Model, *, read_only: bool) -> None:
        super().__init__()
        self._link = link
        self._model = model
        self._offered = offered(read_only)
        self._header = Header(model, read_only)
        self._tabs = Tabs()
        self._keys = KeyBar(self._offered)
        self._views = {view.view_id: view(model) for view in _VIEWS}
        self._view = next(iter(VIEWS))

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._tabs
        with ContentSwitcher(initial=self._view, id="views"):
            yield from self._views.values()
        yield self._keys

    def on_mount(self) -> None:
        self.view.main.focus()
        self.draw()

    @property
    def view(self) -> View:
        """The view that is seen."""
        return self._views[self._view]

    def draw(self) -> None:
        """Show the model as it is now."""
        self._header.repaint()
        self.query_one("#views").set_class(self._model.liveness().state in ("stale", "offline"), "-past")
        self.view.draw()

    def refresh_colours(self) -> None:
        """Draw everything anew after a change of theme."""
        for widget in self.query("*"):
            widget.notify_style_update()
            widget.refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        name = f"{action}({parameters[0]!r})" if action == "view" and parameters else action
        known = [one for one in ACTIONS if one.id == name]
        if not known:
            return True
        return known[0] in self._offered and known[0].applies(self._view)

    def commands(self) -> Iterator[SystemCommand]:
        """The actions that can be done here, for the palette."""
        for action in self._offered:
            if action.applies(self._view) and action.id != "command_palette":
                yield SystemCommand(action.title, action.help, partial(self._do, action.id))

    def _do(self, action: str) -> None:
        self.call_later(self.run_action, action)

    def action_view(self, view: str) -> None:
        """Show a view."""
        self._view = view
        self._tabs.view = self._keys.view = view
        self.query_one("#views", ContentSwitcher).current = view
        self._tabs.repaint()
        self._keys.repaint()
        self.set_focus(self.view.main)
        self.draw()  # at once, so that a key pressed right after finds its row
        self.call_after_refresh(self.draw)  # and when the view has its size

    def _step_view(self, step: int) -> None:
        names = list(VIEWS)
        self.action_view(names[(names.index(self._view) + step) % len(names)])

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

    def on_live_table_heading_clicked(self, event: LiveTable.HeadingClicked) -> None:
        key, reverse = self._model.choices.sort.get(event.table, ("", False))
        self._sort(event.table, event.column, not reverse if key == event.column else False)

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        self.action_details()

    def _sort(self, table: str, column: str, reverse: bool) -> None:
        self._model.choices.sort[table] = (column, reverse)
        self.draw()

    def _step_sort(self, step: int) -> None:
        table = self.view.table
        keys = [column.key for column in table.shown_columns if column.trend is None and column.title]
        now, reverse = self._model.choices.sort.get(table.table, (keys[0], False))
        at = keys.index(now) if now in keys else -step
        self._sort(table.table, keys[(at + step) % len(keys)], reverse)

    def action_sort_next(self) -> None:
        """Sort by the next column."""
        self._step_sort(1)

    def action_sort_previous(self) -> None:
        """Sort by the column before."""
        self._step_sort(-1)

    def action_reverse(self) -> None:
        """Turn the order around."""
        table = self.view.table
        key, reverse = self._model.choices.sort.get(table.table, (table.columns[0].key, False))
        if table.table not in self._model.choices.sort:
            key = table.shown_columns[0].key
        self._sort(table.table, key, not reverse)

    def action_details(self) -> None:
        """Everything about the row under the cursor."""
        table = self.view.table
        row = table.row
        if row is None:
            return
        kept = [row]

        def make() -> RenderableType:
            rows = self._model.snapshot.rows(table.table)
            kept[0] = next((one for one in rows if one.identity == row.identity), kept[0])
            return details_text(kept[0], table.table, palette_of(self))

        name = getattr(row, "label", None)
        self.app.push_screen(TextDialog(f"{table.table.capitalize()}: {name}" if name else "Details", make))

    def action_help(self) -> None:
        """What the keys do."""
        text = help_text(self._offered, self.view.table.table, palette_of(self))
        self.app.push_screen(TextDialog("Help", lambda: text))

    async def action_quit(self) -> None:
        """Leave."""
        self.app.exit()

    def action_next_theme(self) -> None:
        """Change the colours."""
        self.app.action_next_theme()  # type: ignore[attr-defined]

    def action_choose_adapter(self) -> None:
        """Show one adapter, or all."""
        names = list(self._model.snapshot.adapter_names)
        if len(names) < 2:
            self._tell("this host has one adapter" if names else "no adapter is known yet")
            return
        now = self._model.choices.adapter

        def chosen(index: int | None) -> None:
            if index is not None:
                self._model.choices.adapter = None if index == 0 else names[index - 1]
                self.draw()

        at = 0 if now is None else names.index(now) + 1
        self.app.push_screen(ChooseDialog("Adapter", ["all adapters", *names], at), chosen)

    def action_choose_host(self) -> None:
        """Show another host of the broker."""
        rows = self._model.hosts()
        if not rows:
            self._tell("no host has reported yet")
            return

        def chosen(index: int | None) -> None:
            if index is not None:
                self._model.choose_host(rows[index].host)
                self.draw()

        names = [row.host for row in rows]
        at = names.index(self._model.host) if self._model.host in names else 0
        lines = [f"{row.host}  {row.state}  {row.version}" for row in rows]
        self.app.push_screen(ChooseDialog("Host", lines, at), chosen)

    def _tell(self, words: str, severity: str = "information") -> None:
        self.app.notify(printable(words), severity=severity, markup=False, timeout=5)  # type: ignore[arg-type]

    def _queue(self) -> QueueRow | None:
        """The queue that a key means: the one under the cursor, or that of the filter under it."""
        row = self.view.table.row
        if isinstance(row, QueueRow):
            return row
        if isinstance(row, FilterRow):
            found = (q for q in self._model.snapshot.queues if q.adapter == row.adapter)
            return next((queue for queue in found if queue.queue_id == row.queue_id), None)
        self._tell("the cursor is on no queue; Tab goes to the next panel")
        return None

    def _ask(self, dialog: RequestDialog) -> None:
        def closed(words: str | None) -> None:
            if words:
                self._tell(words)

        self.app.push_screen(dialog, closed)

    def _ask_task(self, task: Task) -> None:
        self._ask(RequestDialog(self._link, self._model.host, task))

    def action_move_queue(self) -> None:
        """Choose the processor that serves the queue."""
        row = self.view.table.row
        if isinstance(row, CpuRow):
            self._tell("Tab goes to the queues of this processor; m moves the one under the cursor")
        elif (queue := self._queue()) is not None:
            self._ask(MoveDialog(self._link, self._model.host, queue, self._model))

    def action_set_filter(self) -> None:
        """Steer a MAC and VLAN to the queue."""
        if (queue := self._queue()) is not None:
            self._ask_task(tasks.set_filter(queue))

    def action_clear_filter(self) -> None:
        """Clear the filter under the cursor, or one of the queue's."""
        row = self.view.table.row
        if isinstance(row, FilterRow):
            self._ask_task(tasks.clear_filter(row))
            return
        queue = self._queue()
        if queue is None:
            return
        filters = [
            one
            for one in self._model.snapshot.filters
            if one.adapter == queue.adapter and one.queue_id == queue.queue_id
        ]
        if not filters:
            self._tell(f"{tasks.called(queue)} has no filter")
        elif len(filters) == 1:
            self._ask_task(tasks.clear_filter(filters[0]))
        else:
            lines = [
                f"{one.filter_id:>5}  {one.config.mac}  VLAN {one.config.vlan or 'any'}"
                for one in filters
                if one.config is not None
            ]

            def chosen(index: int | None) -> None:
                if index is not None:
                    self._ask_task(tasks.clear_filter(filters[index]))

            self.app.push_screen(ChooseDialog("Clear which filter", lines), chosen)

    def action_new_queue(self) -> None:
        """Allocate a queue: for the port under the cursor, on the adapter shown, or on one to be chosen."""
        config = self._model.snapshot.config
        if config is None or not config.adapters:
            self._tell("no adapter is known yet")
            return
        cpus = len(config.cpus)
        row = self.view.table.row
        if isinstance(row, PortRow):
            settings = next(one for one in config.adapters if one.name == row.adapter)
            self._ask_task(tasks.new_queue(settings, cpus, row.config))
            return
        chosen_adapter = self._model.choices.adapter
        adapters = [one for one in config.adapters if chosen_adapter in (None, one.name)]
        if len(adapters) == 1:
            self._ask_task(tasks.new_queue(adapters[0], cpus))
            return

        def chosen(index: int | None) -> None:
            if index is not None:
                self._ask_task(tasks.new_queue(adapters[index], cpus))

        self.app.push_screen(ChooseDialog("New queue on", [one.name for one in adapters]), chosen)

    def action_complete_queue(self) -> None:
        """Give the allocated queue its buffers."""
        if (queue := self._queue()) is not None:
            self._ask_task(tasks.complete_queue(queue))

    def action_edit_queue(self) -> None:
        """Rename or resize the queue."""
        if (queue := self._queue()) is not None:
            self._ask_task(tasks.edit_queue(queue))

    def action_free_queue(self) -> None:
        """Free the queue, its filters first."""
        if (queue := self._queue()) is not None:
            if queue.queue_id == 0:
                self._tell("the default queue can't be freed")
            else:
                self._ask_task(tasks.free_queue(queue))
