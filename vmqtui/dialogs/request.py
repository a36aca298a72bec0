"""A dialog that sends requests one after another and normally stays open until all are answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Input, Static, TextArea

from engine.counted import counted
from engine.ndis.operations import decode
from engine.ndis.outcome import NdisError
from vmqtui.dialogs.dialog import Dialog
from vmqtui.dialogs.fields import Choice, FieldLine, RowField
from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.state.rows import Row
from vmqtui.tasks.foresight import foretold, stands_alone
from vmqtui.tasks.submission import Submission
from vmqtui.tasks.task import Ending, Foreseen, Step, Task, Values, in_words, several
from vmqtui.widgets.canvas import palette_of
from vmqtui.widgets.table import LiveTable

SETTLE_S: Final = 0.2
"""Pause in typing, in seconds, before the preview is requested."""
_MOST_STEPS: Final = 3
"""Most expected effects that are shown."""
_AGAIN: Final = "not answered yet: it is sent again as the same request, which is carried out once"
_MOST_ASKED: Final = 32
"""Most requests of a batch whose effects are asked for before it."""


class Preview(Static):
    """Sends "what if" requests and shows the answers; newer requests cancel older ones."""

    def __init__(self, link: Link, host: str, is_open: Callable[[Step], bool]) -> None:
        """``is_open``: whether a request was sent and has no answer (``Submission.is_open``)."""
        super().__init__("", id="preview")
        self._is_open = is_open
        self.display = False
        self._link = link
        self._host = host
        self._asked: tuple[object, ...] | None = None

    def clear(self) -> None:
        """Hide the preview and cancel its requests."""
        if self._asked is not None:
            self._asked = None
            self.workers.cancel_group(self, "preview")
            self.display = False

    def ask(self, steps: Sequence[Step], *, at_once: bool = False) -> None:
        """Show the effect of the steps that can be foreseen, after a pause in typing unless ``at_once``."""
        steps = [
            one if stands_alone(one, steps[:place]) else replace(one, foresee=None)
            for place, one in enumerate(steps)
        ]
        steps = [
            one
            for one in steps
            if one.foresee is not None or one.foreseen is not None or one.group is not None
        ]
        asked = tuple((step.key, step.op, repr(step.foresee), self._is_open(step)) for step in steps)
        if not steps:
            self.clear()
        elif asked != self._asked:
            self._asked = asked
            self._ask(steps, 0.0 if at_once else SETTLE_S)

    @work(exclusive=True, group="preview")
    async def _ask(self, steps: Sequence[Step], delay: float) -> None:
        self.display = True
        of_many = any(step.group is not None for step in steps)
        told: dict[str, Foreseen] = {}
        for step in steps if of_many else steps[:_MOST_STEPS]:
            if (effect := self._known(step)) is not None:
                told[step.key] = effect
        unknown = [step for step in steps if step.foresee is not None and step.key not in told]
        self._show(steps, told, "… what would happen", "dim")
        await asyncio.sleep(delay)
        words, role, most = "", "dim", _MOST_ASKED if of_many else _MOST_STEPS
        if of_many and len(unknown) > most:
            words = f"… {counted(len(unknown) - most, 'request')} not foreseen"
        try:
            for step in unknown[:most]:
                params = (step.foresee or {}) | {"what_if": True}
                told[step.key] = foretold(step, await self._link.request(self._host, step.op, params))
        except (TimeoutError, ConnectionError) as error:
            why = f"no answer from {self._host}" if isinstance(error, TimeoutError) else str(error)
            words, role = f"no preview: {printable(why)}", "warn"
            self._asked = None
        self._show(steps, told, words, role)

    def _show(self, steps: Sequence[Step], told: Mapping[str, Foreseen], words: str, role: str) -> None:
        """Show the effects by the keys of steps, and a sentence; without a batch, one or the other."""
        lines = [Text(words, palette_of(self).style(role))] if words else []
        if any(step.group is not None for step in steps):
            lines = [*self._of_batch(steps, told), *lines]
        elif not words:
            lines = self._lines([told[step.key] for step in steps if step.key in told], len(steps))
        self.update(Text("\n").join(lines))

    def _known(self, step: Step) -> Foreseen | None:
        """The effect of a step that is known here: that it is sent again, why it can't be sent, or its own
        ``foreseen``."""
        if self._is_open(step):
            return Foreseen(_AGAIN)
        if step.hindered is not None and (why := step.hindered()):
            return Foreseen(why, fits=False)
        return step.foreseen if step.foresee is None else None

    def _lines(self, told: Sequence[Foreseen], count: int) -> list[Text]:
        """The first effects of ``count`` requests, a line each."""
        style, lines = palette_of(self).style, list[Text]()
        for one in told[:_MOST_STEPS]:
            role = "accent" if one.fits else "warn"
            mark = "△" if not one.fits else "≈" if lines else "after ⏎ ≈"
            lines.append(Text(f"{mark} {one.words}", style(role)))
        if count > _MOST_STEPS:
            lines.append(Text(f"… and {count - _MOST_STEPS:,} more like it", style("dim")))
        return lines

    def _of_batch(self, steps: Sequence[Step], told: Mapping[str, Foreseen]) -> list[Text]:
        """What a batch sends, the rows that can't be changed with each reason, and the first effects."""
        refused: dict[str, dict[str, None]] = {}
        fits: list[Foreseen] = []
        for step in steps:
            effect = told.get(step.key)
            if step.group is None or effect is None:
                continue
            if effect.fits:
                fits.append(Foreseen(f"{step.group.name}: {effect.words}"))
            else:
                refused.setdefault(effect.words, {})[step.group.name] = None
        out = {step.group for step in steps if step.hindered is not None and step.hindered()}
        rest = [step for step in steps if step.group not in out]
        some, every = (len({step.group for step in of}) for of in (rest, steps))
        rows = f"{some:,} of {counted(every, 'row')}" if some < every else counted(every, "row")
        words = f"sends {counted(len(rest), 'request')} for {rows}" if rest else "nothing can be sent"
        style = palette_of(self).style
        lines = [Text(words, style("strong" if rest else "warn"))]
        for why, names in refused.items():
            lines.append(Text(f"△ {several(list(names), 6, ', ')}: {why}", style("warn")))
        lines += self._lines(fits, len(fits))
        return lines


class RequestDialog(Dialog[None]):
    """A form for a task: fields, a preview, and the requests; reports its ending once, if it sent any.

    After a refusal, typed text stays and completed steps are not repeated. If the dialog is closed while it
    waits, its requests continue, and it reports after the last answer.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        # Priority makes text typed or pasted right after Tab go into the next field.
        Binding("tab", "app.focus_next", "Next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Previous", show=False, priority=True),
        Binding("down", "step(1)", "Next", show=False, priority=True),
        Binding("up", "step(-1)", "Previous", show=False, priority=True),
        # The keys of rows have no priority, so that keys which arrive together keep their order.
        Binding("down", "row(1)", "Down", show=False),
        Binding("up", "row(-1)", "Up", show=False),
        Binding("enter", "take_row", "Do it", show=False),
    ]

    def __init__(self, link: Link, host: str, task: Task) -> None:
        super().__init__()
        self.asked = task
        self.submission: Submission = Submission(link, host)
        self.preview: Preview = Preview(link, host, self.submission.is_open)
        """The preview of the change."""
        self.report: Callable[[Ending], None] = lambda ending: None
        """Called once with the ending of the dialog."""
        self.refused: bool = False
        """Whether the shown sentence is a refusal."""
        self._over: bool = False
        """Whether a batch ended with rows that are not done: it shows its result and sends nothing more."""
        self._reviewed: tuple[Sequence[Row], str] | None = None
        """The rows and the value that were reviewed when it was last drawn."""
        self._filled_in: Mapping[str, str] = {}
        """The texts that were filled in as the task proposed, by the keys of fields."""
        self._submitted: str | None = None
        """The value that was submitted last; its sentence stays while the rows change."""
        self._rows = next((RowField(one, one.rows) for one in task.fields if one.rows is not None), None)
        self._lines_of_form = [
            FieldLine(field) if field.rows is None or self._rows is None else self._rows
            for field in task.fields
        ]
        self._answer = Static("", id="answer")
        self._do = Button(Text(task.button), id="do", compact=True)
        self.cancel: Button = Button("Cancel", id="cancel", compact=True)

    def compose(self) -> ComposeResult:
        wide = any(field.several_lines for field in self.asked.fields)
        with VerticalScroll(id="dialog", can_focus=False, classes="wide" if wide else "") as dialog:
            dialog.border_title = self.asked.title.replace("[", r"\[")
            if self.asked.explanation:
                yield Static(Text(self.asked.explanation), id="explanation")
            if self.asked.warning:
                yield Static(Text(f"△ {self.asked.warning}", palette_of(self).style("warn")), id="warning")
            yield from self._lines_of_form
            yield self.preview
            yield self._answer
            with Horizontal(id="buttons"):
                yield self._do
                yield self.cancel

    def on_mount(self) -> None:
        if self.asked.destructive:
            self._do.add_class("destructive")
            self.cancel.focus()
        if self._rows is not None:
            self._rows.begin()
        self.check(at_once=True)

    def draw(self) -> None:
        if self._rows is None:
            return
        self._rows.draw()
        now = self._rows.given, self._rows.text
        if now == self._reviewed or self.ended or self.submission.under_way or self.refused or self._over:
            return
        self._reviewed = now
        self._review(submitted=self._rows.text == self._submitted)

    def on_key(self, event: events.Key) -> None:
        if self.asked.destructive and event.key == "y" and not self.asked.fields:
            event.stop()
            self.submit()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill_in()
        self.check()

    def _fill_in(self) -> None:
        """Write what the task proposes, unless the user has edited one of its fields."""
        if self.asked.proposed is None or self.submission.under_way or self.submission.done:
            return
        lines = {line.field.key: line for line in self._lines_of_form}
        proposed = self.asked.proposed({key: line.text for key, line in lines.items()})
        if all(lines[key].text == self._filled_in.get(key, "") for key in proposed):
            self._filled_in = proposed
            for key, text in proposed.items():
                if isinstance(editor := lines[key].editor, Input):
                    editor.value = text

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        self.check()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        self.check()

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        if self._rows is not None and self._rows.text != self._submitted:
            self._submitted = None
        if not self.submission.under_way:
            self.check()

    def on_live_table_chosen(self, event: LiveTable.Chosen) -> None:
        self.submit()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.submit()

    def on_choice_submitted(self, event: Choice.Submitted) -> None:
        self.submit()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self.submit()
        else:
            self.action_close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "step" and (isinstance(self.focused, TextArea) or self._rows is not None):
            return False  # the arrows move the cursor there
        if action in ("row", "take_row") and self._rows is None:
            return False
        return super().check_action(action, parameters)

    def action_step(self, step: int) -> None:
        """Go to the next field, or to the previous one if ``step`` is negative."""
        if step > 0:
            self.app.action_focus_next()
        else:
            self.app.action_focus_previous()

    def action_row(self, step: int) -> None:
        """Move the cursor of the rows, even if another widget has the focus."""
        if self._rows is not None:
            self.call_later(self._rows.action_cursor, step)  # after the rows are shown

    def action_take_row(self) -> None:
        """Submit the row under the cursor."""
        self.call_later(self.submit)

    def action_close(self) -> None:
        """Close the dialog; its remaining requests continue. A batch that is being sent stops first."""
        if self.ended:
            return
        if self.submission.under_way and self.submission.of_many and not self.submission.stopped:
            self.submission.stop()
            self.cancel.label = "Close"
            self._wait("stopping after the request that is under way")
            return
        self.dismiss()
        if not self.submission.under_way:
            self._report("left" if self.submission.done else "")

    def _report(self, failed: str) -> None:
        ending = self.submission.ending(failed)
        if ending is not None and self.submission.of_many:
            ending = replace(ending, words=f"{self.asked.title}: {ending.words}")
        if ending is not None:
            self.report(ending)

    def check(self, submitted: bool = False, at_once: bool = False) -> Sequence[Step]:
        """Validate each field, then the requests made from all of them, and request a preview.

        Returns the requests to send; none if a value is invalid or nothing would change.
        """
        if self.ended or self._over:
            return ()
        steps = self._review(submitted)
        self.preview.ask([step for step in steps if step.key not in self.submission.answers], at_once=at_once)
        return steps

    def _review(self, submitted: bool = False) -> Sequence[Step]:
        """Show the first validation error, or the task's remark; return the requests made from the fields.

        The error of an empty field is shown only if the form is ``submitted``.
        """
        values: Values = {}
        complaint: tuple[FieldLine | RowField, str] | None = None
        for line in self._lines_of_form:
            field = line.field
            try:
                values[field.key] = field.check(line.text)
            except ValueError as error:
                loud = bool(line.text) or submitted
                line.mark("✗" if loud else "·", "bad" if loud else "dim")
                if loud and complaint is None:
                    complaint = line, f"{field.label}: {error}" if field.label else str(error)
            else:
                line.mark("✓", "good")
        steps: Sequence[Step] = ()
        words = complaint[1] if complaint else ""
        if len(values) == len(self.asked.fields):
            steps, words = self._plan(values, submitted)
            if not words and self.asked.remark is not None:
                self.say(self.asked.remark(values), "accent" if steps else "dim")
                return steps
        self.say(words, "warn")
        if complaint is not None and submitted:
            complaint[0].editor.focus()
        return steps

    def _plan(self, values: Values, submitted: bool) -> tuple[Sequence[Step], str]:
        """The requests made from the values, and a sentence if there are none because of an error."""
        try:
            steps = self.asked.plan(values)
            for step in steps:
                if step.foresee is not None:
                    decode(step.op, step.foresee)  # the engine's own validation
        except ValueError as error:
            return (), str(error)
        except NdisError as error:
            return (), in_words(error.status, error.message)
        return steps, "" if steps or not submitted else self.asked.unchanged

    def say(self, words: str, role: str, others: Sequence[str] = ()) -> None:
        """Show the completed steps under the fields, then a sentence, and others below it."""
        if self.ended:
            return
        self.refused = role == "bad"
        lines = Text()
        palette = palette_of(self)
        of_many = self.submission.of_many
        if of_many and self.submission.under_way:
            lines.append(f"{self.submission.progress()}\n", palette.style("good"))
        for done in () if of_many else self.submission.titles():
            lines.append(f"✓ {printable(done)}\n", palette.style("good"))
        lines.append("\n".join(map(printable, (words, *others))), palette.style(role))
        self._answer.display = bool(lines)
        self._answer.update(lines)

    def submit(self) -> None:
        """Send the requests, unless a value is invalid or they are being sent."""
        if self._rows is not None:
            self._submitted = self._rows.text
        if not self.submission.under_way and (steps := self.check(submitted=True)):
            self._do.disabled = True
            self.preview.clear()
            # The worker belongs to the app, not to this screen, so it continues after the dialog is closed.
            self.app.run_worker(self._run(self.submission.send(steps, self._wait)))
            if self.submission.of_many:
                self.cancel.label = "Stop"
                self.cancel.focus()

    def _wait(self, words: str) -> None:
        self.say(f"… {words}", "accent")
        self._lock_fields()

    def _lock_fields(self) -> None:
        """Disable the fields whose values a completed step has sent."""
        sent = {key for step, _ in self.submission.done for key in step.uses}
        for line in self._lines_of_form:
            if line.field.key in sent:
                line.editor.disabled = True

    async def _run(self, sending: Awaitable[str]) -> None:
        failed = await sending
        if failed and not self.ended and self.submission.of_many:
            self._over = True
            self._do.display = False
            self.cancel.label = "Close"
            first, *others = self.submission.summary()
            self.say(first, "warn", others)
        elif failed and not self.ended:
            self._do.disabled = False
            self._lock_fields()
            self.say(f"✗ {failed}", "bad")
        else:
            self.dismiss()
            self._report(failed)
