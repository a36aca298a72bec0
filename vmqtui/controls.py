"""Actions that change the engine, many for the row under the cursor; the dashboard inherits them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from textual import work
from textual.screen import Screen

from engine.telemetry.config import AdapterConfig
from engine.view.pairs import NearMissView, PairView
from engine.view.rows import CpuView, FilterView, PortView, QueueView
from vmqtui.dialogs.choose import ChooseDialog
from vmqtui.dialogs.dialog import open_dialog
from vmqtui.dialogs.request import RequestDialog
from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.state.choices import MARKABLE
from vmqtui.state.model import Model
from vmqtui.state.rows import FindingRow, Row
from vmqtui.tasks import advice, batch, filters, host_changes, queues, traffic
from vmqtui.tasks.queues import give_queue
from vmqtui.tasks.submission import Submission
from vmqtui.tasks.task import Ending, Present, Task, called, several, while_there
from vmqtui.tasks.undo import Change, Changes, change_of, hindrance, undo
from vmqtui.views.pages import ProcessorsView
from vmqtui.views.view import View

_GONE: Final = "it is gone since the dialog was opened"


class Controls(Screen[None]):
    """A screen with the actions that change the engine."""

    _link: Link
    _model: Model
    _changes: Changes
    _unanswered: Sequence[Submission] = ()
    """Submissions of closed dialogs that still wait for an answer."""

    _named: Row | None = None
    """The row that a typed command names, while its action runs."""

    @property
    def subject(self) -> Row | None:
        """The row that an action is about: the one that a command names, else the one under the cursor."""
        return self._named or self.view.subject

    @property
    def view(self) -> View:
        """The visible view."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the current model."""
        raise NotImplementedError

    def _tell(self, words: str, severity: str = "information") -> None:
        # Textual expects one of its severity literals.
        self.app.notify(printable(words), severity=severity, markup=False, timeout=5)  # type: ignore[arg-type]

    def _queue(self) -> QueueView | None:
        """The queue that a key acts on: the row under the cursor, or the queue of the filter there."""
        row = self.subject
        if isinstance(row, QueueView):
            return row
        if isinstance(row, FilterView):
            found = (q for q in self._model.snapshot.queues if q.adapter == row.adapter)
            return next((queue for queue in found if queue.queue_id == row.queue_id), None)
        self._tell("the cursor is on no queue; Tab goes to the next panel")
        return None

    def _started_at(self) -> float:
        """Start time of the shown engine (Unix seconds); 0 if unknown."""
        status = self._model.snapshot.status
        return status.started_at if status is not None else 0.0

    def _refuses(self, *, from_past: bool = False) -> bool:
        """Whether changes are impossible now; notifies the user of the reason.

        ``from_past``: the past is allowed, because the caller checked the change against the present.
        """
        if why := self._model.why_unchanging:
            self._tell(why, "warning")
            return True
        if self._model.past is not None and not from_past:
            self._tell("this is the past, which can't be changed; Space goes back to now", "warning")
            return True
        alive = self._model.live()
        refuses = alive.state in ("connecting", "empty", "offline")
        if refuses:
            self._tell(f"nothing can be changed now: {alive.words or alive.state}", "warning")
        return refuses

    def _ask(
        self,
        dialog: RequestDialog,
        takes_back: Change | None = None,
        *,
        from_past: bool = False,
    ) -> None:
        """Open a dialog if changes are possible now; record its change, or that it undid ``takes_back``."""
        if self._refuses(from_past=from_past):
            return
        model, submission = self._model, dialog.submission
        host, started_at, before = model.host, self._started_at(), model.newest.config

        def report(ending: Ending) -> None:
            if ending.words:
                self._tell(ending.words, "warning" if ending.failed else "information")
            change = change_of(ending, host, started_at, self._link.clock(), before)
            if takes_back is None:
                self.practised(dialog.asked, ending)
            if takes_back is not None:
                self._changes.taken_back(takes_back, ending, change)
            elif change is not None:
                self._changes.made(change)
            if ending.groups:
                self._model.choices.marks.drop([row for group in ending.groups for row in group.rows])
                self.draw()

        def left(_: None) -> None:
            self._unanswered = [one for one in (*self._unanswered, submission) if one.under_way]
            if submission.under_way:
                self._tell(
                    f"{dialog.asked.title}: {host} has not answered yet; its answer will be shown here"
                )

        dialog.report = report
        open_dialog(self, dialog, left)

    def practised(self, task: Task, ending: Ending) -> None:
        """Called after a task that is no undo has ended; for the lesson, if the screen teaches one."""

    def _ask_task(self, task: Task) -> None:
        self._ask(RequestDialog(self._link, self._model.host, task))

    def _ask_about(self, row: QueueView | FilterView, task: Task) -> None:
        """Open a task on one row, which sends nothing once that row is gone."""

        def rows() -> Sequence[QueueView] | Sequence[FilterView]:
            now = self._model.snapshot
            return now.filters if isinstance(row, FilterView) else now.queues

        self._ask_task(while_there(task, Present(rows, _GONE), row.identity))

    @property
    def _kind(self) -> str:
        """What the rows of the focused table are, for marks; "" if they can't be marked."""
        return MARKABLE.get(self.view.table.table, "")

    def _with_marked(self, kind: str, make: Callable[[batch.Marked, batch.Now], Task]) -> bool:
        """Open the task of the marked rows, if rows of this kind are marked and the focused table has such.

        Return False if the key is about the row under the cursor. Marked rows that are gone are reported.
        """
        if self._named is not None:
            return False
        marks = self._model.choices.marks
        self._model.follow_marks()
        gone, marked = marks.gone.get(kind, {}), marks.of(kind)
        if self._kind != kind or not (gone or marked):
            return False
        if self._refuses():
            return True
        marks.gone.pop(kind, None)
        if marked:
            self._ask_task(make({**gone, **marked}, lambda: self._model.snapshot))
        else:
            names = several(list(gone.values()), 6, ", ")
            self._tell(f"{names}: gone since marked; nothing was done, and nothing is marked now", "warning")
        return True

    def action_undo(self) -> None:
        """Take back the last change, if it can be."""
        self._take_back(undone=False)

    def action_redo(self) -> None:
        """Make the change again that was taken back last."""
        self._take_back(undone=True)

    def _take_back(self, *, undone: bool) -> None:
        """Undo the last change on the shown host; with ``undone``, redo the change undone last."""
        model, changes = self._model, self._changes
        if self._refuses():
            return
        if any(one.under_way for one in self._unanswered):
            self._tell("the last change waits for its answer; it can be undone after that", "warning")
            return
        what = "make again" if undone else "undo"
        change = changes.last(model.host, undone=undone)
        if change is None:
            other = changes.elsewhere(undone=undone)
            why = (
                f"the last change was on {other}; h goes there"
                if other
                else "nothing was changed from here yet"
            )
            self._tell(
                f"nothing to {what}: {'nothing was undone from here' if undone and not other else why}"
            )
            return
        following = changes.last(model.host, undone=undone, before=change)
        hindered = hindrance(change, self._started_at(), model.snapshot)
        if hindered is None:
            task = undo(change, following, self._link.clock(), lambda: model.snapshot.config, again=undone)
            self._ask(RequestDialog(self._link, model.host, task), change)
            return
        if hindered.lasting:
            changes.forget(change)
        then = (
            f". The next to {what}: {following.words}" if hindered.lasting and following is not None else ""
        )
        self._tell(f"nothing to {what}: {change.words}: {hindered.words}{then}")

    def action_move_queue(self, cpu: int | None = None) -> None:
        """Choose the processor that serves the queue, beginning with ``cpu``."""
        view = self.view
        if (
            self._named is None
            and isinstance(view, ProcessorsView)
            and (proposal := view.proposal) is not None
        ):
            view.move_asked(proposal)
            self._ask_about(proposal.queue, queues.move_to(proposal))
        elif self._with_marked("queues", batch.move_marked):
            return
        elif (queue := self._queue()) is not None:
            self._ask_about(queue, queues.choose_processor(queue, lambda: self._model.snapshot, cpu))

    def action_restart_worker(self) -> None:
        """Start the worker of a processor that is down."""
        down = [cpu for cpu in self._model.snapshot.cpus if cpu.down]
        if not down:
            self._tell("no processor is down")
            return
        row = self.view.table.row
        here = next((cpu for cpu in down if isinstance(row, CpuView) and cpu.cpu == row.cpu), down[0])
        self._ask_task(host_changes.restart_worker(here))

    def action_set_filter(self, mac: str = "", vlan: str = "") -> None:
        """Steer a MAC and VLAN to the queue."""
        if (queue := self._queue()) is not None:
            now = self._model.snapshot
            known = filters.known_addresses(now, queue.adapter)
            if not mac:
                mac, vlan = filters.own_address(now, queue.adapter, queue.vm or "")
            self._ask_about(queue, filters.set_filter(queue, known, mac, vlan))

    def _ask_clear(self, row: FilterView) -> None:
        queues_of = (queue for queue in self._model.snapshot.queues if queue.adapter == row.adapter)
        queue = next((queue for queue in queues_of if queue.queue_id == row.queue_id), None)
        self._ask_about(row, filters.clear_filter(row, queue))

    def action_clear_filter(self) -> None:
        """Clear the filter under the cursor, or one of the queue's."""
        if self._with_marked("filters", batch.clear_marked) or self._with_marked(
            "queues", batch.clear_queues
        ):
            return
        row = self.subject
        if isinstance(row, FilterView):
            self._ask_clear(row)
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
            self._ask_clear(rows[0])
        else:
            lines = [
                f"{one.filter_id:>5}  {one.config.mac}  VLAN {one.config.vlan or 'any'}"
                for one in rows
                if one.config is not None
            ]
            self._pick("Clear which filter", lines, lambda index: self._ask_clear(rows[index]))

    def action_new_queue(self) -> None:
        """Allocate a queue: for the port under the cursor, on the adapter shown, or on a chosen one."""
        row = self.subject
        if isinstance(row, (PortView, PairView, NearMissView)):
            self.action_give_queue()
            return
        self._with_adapter(
            "New queue on",
            lambda one: self._ask_task(queues.new_queue(one, lambda: self._model.snapshot)),
        )

    def _with_adapter(self, title: str, then: Callable[[AdapterConfig], None]) -> None:
        """Call ``then`` with the shown adapter; if there are several, let the user choose one."""
        config = self._model.snapshot.config
        wanted = self._model.choices.adapter
        known = [one for one in config.adapters if wanted in (None, one.name)] if config is not None else []
        if not known:
            self._tell("no adapter is known yet")
        elif len(known) == 1:
            then(known[0])
        else:
            self._pick(title, [one.name for one in known], lambda index: then(known[index]))

    def action_give_queue(self) -> None:
        """Allocate a queue for the MAC and VLAN under the cursor."""
        task = give_queue(self.subject, lambda: self._model.snapshot)
        if isinstance(task, str):
            self._tell(task)
        else:
            self._ask_task(task)

    def action_complete_queue(self) -> None:
        """Give the allocated queue its buffers."""
        if not self._with_marked("queues", batch.complete_marked) and (queue := self._queue()) is not None:
            self._ask_about(queue, queues.complete_queue(queue))

    def action_edit_queue(self) -> None:
        """Resize or rename the queue."""
        if not self._with_marked("queues", batch.resize_marked) and (queue := self._queue()) is not None:
            self._ask_about(queue, queues.edit_queue(queue))

    def action_free_queue(self) -> None:
        """Free the queue, its filters first."""
        if not self._with_marked("queues", batch.free_marked) and (queue := self._queue()) is not None:
            if queue.queue_id == 0:
                self._tell("the default queue can't be freed")
            else:
                self._ask_about(queue, queues.free_queue(queue))

    def action_change_vm(self, verb: str = "") -> None:
        """Pause, resume, migrate or remove the VM under the cursor, or one the user chooses."""
        if self._of_marked_vms(verb):
            return
        row = self.subject
        known = host_changes.known_vms(self._model.snapshot.config, self._model.choices.adapter)
        name = row.config.vm if isinstance(row, PortView) else getattr(row, "vm", None)
        adapter = getattr(row, "adapter", None)
        found = [vm for vm in known if vm.name == name and vm.adapter == adapter]
        if not known:
            self._tell("no VM is known yet")
        elif found:
            self._with_vm(found[0], verb)
        else:
            wide = min(32, max(len(vm.name) for vm in known))
            several = len({vm.adapter for vm in known}) > 1
            lines = [f"{vm.name:<{wide}}  {f'{vm.adapter}  ' if several else ''}{vm.words}" for vm in known]
            self._pick("Which VM", lines, lambda index: self._with_vm(known[index], verb))

    def _of_marked_vms(self, verb: str) -> bool:
        """Apply a verb, or one the user chooses, to the VMs of the marked queues; False if none is marked."""
        verbs = host_changes.VERBS
        marked = self._kind == "queues" and bool(self._model.choices.marks.of("queues"))
        if self._named is not None or not marked:
            return False

        def ask(chosen: host_changes.Verb) -> None:
            self._with_marked("queues", partial(batch.change_vms, verb=chosen))

        if verb in verbs:
            ask(next(one for one in verbs if one == verb))
        else:
            lines = [f"{one:<8} {what}" for one, what in verbs.items()]
            self._pick("VMs of the marked queues", lines, lambda index: ask([*verbs][index]))
        return True

    def _with_vm(self, vm: host_changes.Vm, verb: str) -> None:
        for one in host_changes.VERBS:
            if one == verb:
                self._ask_task(host_changes.change_vm(vm, one))
                return
        names = list(host_changes.VERBS)
        lines = [f"{one:<8} {what}" for one, what in host_changes.VERBS.items()]
        at = names.index("resume") if vm.paused else 0
        self._pick(
            f"VM {printable(vm.name)}: {vm.words}",
            lines,
            lambda index: self._ask_task(host_changes.change_vm(vm, names[index])),
            at,
        )

    def _pick(self, title: str, lines: list[str], then: Callable[[int], None], at: int = 0) -> None:
        """Open a list of lines and call ``then`` with the index of the chosen one."""

        def chosen(index: int | None) -> None:
            if index is not None:
                then(index)

        open_dialog(self, ChooseDialog(title, lines, at), chosen)

    def action_apply_fix(self) -> None:
        """Apply the fix of the finding under the cursor."""
        row = self.subject
        if not isinstance(row, FindingRow):
            self._tell("the cursor is on no finding")
            return
        shown, newest = self._model.snapshot.status, self._model.newest.status
        if shown is not None and newest is not None and shown.started_at != newest.started_at:
            self._tell("this fix is outdated: the engine was started again since")
            return
        task = advice.apply_fix(row.finding, self._model.newest)
        if isinstance(task, str):
            self._tell(task)
        else:
            self._ask(RequestDialog(self._link, self._model.host, task), from_past=True)

    def action_set_adapter(self) -> None:
        """Change the settings of the adapter shown, or of one the user chooses."""
        self._with_adapter("Settings of", lambda one: self._ask_task(host_changes.set_adapter(one)))

    def action_set_balancer(self) -> None:
        """Turn the balancer on or off, or change its settings."""
        config = self._model.snapshot.config
        task = "no host has reported yet" if config is None else host_changes.set_balancer(config)
        if isinstance(task, str):
            self._tell(task)
        else:
            self._ask_task(task)

    def action_set_rate(self) -> None:
        """Change the rate of the traffic, or of one mix of it."""

        def ask(now: traffic.Received) -> None:
            if not now.mixes:
                self._tell("no frames come: there is no mix whose rate could be set; the mix can be written")
            elif len(now.mixes) == 1:
                self._ask_task(traffic.set_rate(now, 0))
            else:
                lines = [traffic.mix_words(mix) for mix in now.mixes]
                self._pick(
                    "Rate of which mix", lines, lambda index: self._ask_task(traffic.set_rate(now, index))
                )

        self._with_traffic(ask)

    def action_edit_traffic(self) -> None:
        """Edit the traffic."""
        self._with_traffic(lambda now: self._ask_task(traffic.edit_traffic(now)))

    @work(exclusive=True, group="traffic")
    async def _with_traffic(self, then: Callable[[traffic.Received], None]) -> None:
        """Query the engine's traffic and call ``then`` with it, unless a dialog was opened meanwhile."""
        host = self._model.host
        if not host:
            self._tell("no host has reported yet")
            return
        try:
            response = await self._link.request(host, "query_traffic", {})
        except TimeoutError:
            self._tell(f"no answer from {host} on what it receives", "warning")
            return
        except ConnectionError as error:
            self._tell(f"the broker is not there ({error})", "warning")
            return
        now = traffic.received(response, self._model.snapshot.traffic_targets)
        if isinstance(now, str):
            self._tell(now)
        elif self.app.screen is not self:
            self._tell(f"{host} answered on its traffic while another dialog was open; ask again", "warning")
        elif self._model.host == host:
            then(now)
