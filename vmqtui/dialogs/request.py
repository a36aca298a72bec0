"""A dialog that sends requests one after another and stays open until they are answered."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static, TextArea

from engine.bus.messages import Response
from engine.ndis.operations import decode
from engine.ndis.statuses import NdisError
from vmqtui.dialogs.fields import Choice, FieldLine
from vmqtui.dialogs.preview import Preview
from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.tasks.task import Answers, Ending, Step, Task, Values, in_words, refusal
from vmqtui.widgets.canvas import palette_of


class RequestDialog(ModalScreen[Ending | None]):
    """Ends with what was done, or None when nothing was.

    What was typed stays after a refusal, and steps that were done are not done again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        # At once, so that what is typed or pasted right after goes into the next field.
        Binding("tab", "app.focus_next", "Next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Previous", show=False, priority=True),
        Binding("down", "step(1)", "Next", show=False, priority=True),
        Binding("up", "step(-1)", "Previous", show=False, priority=True),
    ]

    def __init__(self, link: Link, host: str, task: Task) -> None:
        super().__init__()
        self.link = link
        self.host = host
        self.asked = task
        self.preview = Preview(link, host)
        """What the engine says the change would do."""
        self._lines_of_form = [FieldLine(field) for field in task.fields]
        self._answers: Answers = {}
        self._done: list[tuple[Step, Response]] = []
        self._unanswered = ""
        self.waiting = False
        """Whether an answer is awaited."""
        self.refused = False
        """Whether the last thing said is a refusal."""

    def compose(self) -> ComposeResult:
        wide = any(field.several_lines for field in self.asked.fields)
        with VerticalScroll(id="dialog", can_focus=False, classes="wide" if wide else "") as dialog:
            dialog.border_title = self.asked.title.replace("[", r"\[")
            if self.asked.explanation:
                yield Static(Text(self.asked.explanation), id="explanation")
            yield from self.compose_body()
            yield from self._lines_of_form
            yield self.preview
            yield Static("", id="answer")
            with Horizontal(id="buttons"):
                yield Button(Text(self.asked.verb), id="do", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def compose_body(self) -> ComposeResult:
        """Widgets between explanation and fields."""
        yield from ()

    def on_mount(self) -> None:
        if self.asked.destructive:
            self.query_one("#do").add_class("destructive")
            self.query_one("#cancel").focus()
        self.check(at_once=True)

    def on_key(self, event: events.Key) -> None:
        if self.asked.destructive and event.key == "y" and not self.asked.fields:
            event.stop()
            self.submit()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.check()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        self.check()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        self.check()

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
        # In a text of several lines the arrows move the cursor.
        return not (action == "step" and isinstance(self.focused, TextArea))

    def action_step(self, step: int) -> None:
        """Go to the next field, or the one before."""
        if step > 0:
            self.app.action_focus_next()
        else:
            self.app.action_focus_previous()

    def action_close(self) -> None:
        """Leave; what was sent stays sent."""
        if self.waiting:
            self._end("closed before the answer came: it may still take effect")
        elif self._done:
            self._end("; ".join(self._titles()) + ", then left")
        else:
            self._end("")

    def _end(self, words: str) -> None:
        done = bool(self._done or self._unanswered)
        ending = Ending(words, tuple(self._done), self._unanswered) if words or done else None
        self.dismiss(ending)

    def _titles(self) -> list[str]:
        pending = "NDIS_STATUS_PENDING"
        return [
            f"{step.title}: pending" if response.ndis_status == pending else step.title
            for step, response in self._done
        ]

    def check(self, submitted: bool = False, at_once: bool = False) -> Sequence[Step]:
        """Check every field by itself, then what they make together, and ask for its effect.

        The first complaint is shown; one about an empty field only when the form is ``submitted``. Gives
        the requests to send; none when something does not fit or nothing would change.
        """
        values: Values = {}
        complaint: tuple[FieldLine, str] | None = None
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
        self.say(words, "warn")
        if complaint is not None and submitted:
            complaint[0].editor.focus()
        self.preview.ask([step for step in steps if step.key not in self._answers], at_once=at_once)
        return steps

    def _plan(self, values: Values, submitted: bool) -> tuple[Sequence[Step], str]:
        """The requests that values make, or why they make none."""
        try:
            steps = self.asked.plan(values)
            for step in steps:
                if step.foresee is not None:
                    decode(step.op, step.foresee)  # the engine's own reading of it
        except ValueError as error:
            return (), str(error)
        except NdisError as error:
            return (), in_words(error.status, error.message)
        return steps, "" if steps or not submitted else "nothing is changed yet"

    def say(self, words: str, role: str) -> None:
        """Show a sentence under the fields, after what is done already."""
        self.refused = role == "bad"
        lines = Text()
        palette = palette_of(self)
        for done in self._titles():
            lines.append(f"✓ {printable(done)}\n", palette.style("good"))
        lines.append(printable(words), palette.style(role))
        answer = self.query_one("#answer", Static)
        answer.display = bool(lines)
        answer.update(lines)

    def submit(self) -> None:
        """Send the requests, unless a value does not fit or they are under way."""
        if not self.waiting and (steps := self.check(submitted=True)):
            self._run(steps)

    @work(exclusive=True, group="request")
    async def _run(self, steps: Sequence[Step]) -> None:
        self._set_waiting(True)
        self.preview.clear()
        try:
            for step in steps:
                if step.key in self._answers:
                    continue
                failed = await self._carry_out(step)
                if failed:
                    self.say(f"✗ {step.title}: {failed}", "bad")
                    return
        finally:
            self._set_waiting(False)
        notes = (response.message for _, response in reversed(self._done))
        extra = next((note for note in notes if note), "")
        self._end("; ".join(self._titles()) + (f" · {extra}" if extra else ""))

    async def _carry_out(self, step: Step) -> str:
        """Send one request and take its answer; why it was not done, if it was not."""
        self.say(f"… {step.title}: waiting for {self.host}", "accent")
        try:
            params = step.params(self._answers)
        except (KeyError, TypeError, ValueError):
            return "the engine's answer had no usable queue_id"
        self._unanswered = step.title
        try:
            response = await self.link.request(self.host, step.op, params)
        except TimeoutError:
            return f"no answer from {self.host}; it may still take effect"
        except ConnectionError as error:
            return f"the broker is not there ({error}); if it was sent before, it may still take effect"
        self._unanswered = ""
        refused = refusal(step, response)
        if refused is not None:
            return refused
        self._answers[step.key] = response
        self._done.append((step, response))
        for line in self._lines_of_form:
            if line.field.key in step.uses:
                line.editor.disabled = True
        return ""

    def _set_waiting(self, waiting: bool) -> None:
        self.waiting = waiting
        if self.is_attached:
            self.query_one("#do", Button).disabled = waiting


class AtOnceDialog(RequestDialog):
    """Asks for nothing: what it is for was chosen where it came from. It stays only after a refusal."""

    def on_mount(self) -> None:
        super().on_mount()
        self.submit()
