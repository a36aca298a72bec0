"""The controls: which request each is, for what is under the cursor. The dashboard is one of these."""

from textual.screen import Screen

from vmqtui.dialogs.choose import ChooseDialog, MoveDialog
from vmqtui.dialogs.request import RequestDialog
from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.rows import CpuRow, FilterRow, PortRow, QueueRow
from vmqtui.tasks import filters, queues
from vmqtui.tasks.task import Task, called
from vmqtui.views.view import View


class Controls(Screen[None]):
    """A screen that carries out the actions which change something."""

    _link: Link
    _model: Model

    @property
    def view(self) -> View:
        """The view that is seen."""
        raise NotImplementedError

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
            self._ask_task(filters.set_filter(queue))

    def action_clear_filter(self) -> None:
        """Clear the filter under the cursor, or one of the queue's."""
        row = self.view.table.row
        if isinstance(row, FilterRow):
            self._ask_task(filters.clear_filter(row))
            return
        queue = self._queue()
        if queue is None:
            return
        rows = [
            one
            for one in self._model.snapshot.filters
            if one.adapter == queue.adapter and one.queue_id == queue.queue_id
        ]
        if not rows:
            self._tell(f"{called(queue)} has no filter")
        elif len(rows) == 1:
            self._ask_task(filters.clear_filter(rows[0]))
        else:
            lines = [
                f"{one.filter_id:>5}  {one.config.mac}  VLAN {one.config.vlan or 'any'}"
                for one in rows
                if one.config is not None
            ]

            def chosen(index: int | None) -> None:
                if index is not None:
                    self._ask_task(filters.clear_filter(rows[index]))

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
            self._ask_task(queues.new_queue(settings, cpus, row.config))
            return
        chosen_adapter = self._model.choices.adapter
        adapters = [one for one in config.adapters if chosen_adapter in (None, one.name)]
        if len(adapters) == 1:
            self._ask_task(queues.new_queue(adapters[0], cpus))
            return

        def chosen(index: int | None) -> None:
            if index is not None:
                self._ask_task(queues.new_queue(adapters[index], cpus))

        self.app.push_screen(ChooseDialog("New queue on", [one.name for one in adapters]), chosen)

    def action_complete_queue(self) -> None:
        """Give the allocated queue its buffers."""
        if (queue := self._queue()) is not None:
            self._ask_task(queues.complete_queue(queue))

    def action_edit_queue(self) -> None:
        """Rename or resize the queue."""
        if (queue := self._queue()) is not None:
            self._ask_task(queues.edit_queue(queue))

    def action_free_queue(self) -> None:
        """Free the queue, its filters first."""
        if (queue := self._queue()) is not None:
            if queue.queue_id == 0:
                self._tell("the default queue can't be freed")
            else:
                self._ask_task(queues.free_queue(queue))
