"""A dialog that sends requests one after another and stays open until they are answered."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.tasks.task import Answers, Step, Task, Values, refusal
from vmqtui.widgets.canvas import palette_of


class RequestDialog(ModalScreen[str | None]):
    """Ends with a sentence about what was done, or None when nothing was.

    What was typed stays after a refusal, and steps that were done are not done again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        # At once, so that what is typed or pasted right after goes into the next field.
        Binding("tab,down", "app.focus_next", "Next", show=False, priority=True),
        Binding("shift+tab,up", "app.focus_previous", "Previous", show=False, priority=True),
    ]

    def __init__(self, link: Link, host: str, task: Task) -> None:
        super().__init__()
        self.link = link
        self.host = host
        self.asked = task
        self._answers: Answers = {}
        self._done: list[str] = []
        self.waiting = False
        """Whether an answer is awaited."""
        self.refused = False
        """Whether the last thing said is a refusal."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="dialog", can_focus=False) as dialog:
            dialog.border_title = self.asked.title.replace("[", r"\[")
            if self.asked.explanation:
                yield Static(Text(self.asked.explanation), id="explanation")
            yield from self.compose_body()
            for field in self.asked.fields:
                with Horizontal(classes="field"):
                    yield Label(Text(field.label), classes="label")
                    yield Input(field.value, placeholder=field.hint, id=f"field-{field.key}", compact=True)
                    yield Static("", id=f"mark-{field.key}", classes="mark")
            yield Static("", id="answer", classes="form" if self.asked.fields else None)
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
        self._validate()

    def on_key(self, event: events.Key) -> None:
        if self.asked.destructive and event.key == "y" and not self.asked.fields:
            event.stop()
            self.submit()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._validate()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.submit()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self.submit()
        else:
            self.action_close()

    def action_close(self) -> None:
        """Leave; what was sent stays sent."""
        if self.waiting:
            self.dismiss("closed before the answer came: it may still take effect")
        else:
            self.dismiss("; ".join(self._done) + ", then left" if self._done else None)

    def _validate(self, submitted: bool = False) -> Values | None:
        """Check every field and mark it; the values, or None when one does not fit.

        The first complaint is shown; one about an empty field only when the form is ``submitted``.
        """
        palette = palette_of(self)
        values: Values = {}
        complaint: tuple[Input, str] | None = None
        for field in self.asked.fields:
            widget = self.query_one(f"#field-{field.key}", Input)
            mark = self.query_one(f"#mark-{field.key}", Static)
            try:
                values[field.key] = field.check(widget.value.strip())
            except ValueError as error:
                loud = bool(widget.value) or submitted
                mark.update(Text("✗" if loud else "·", palette.style("bad" if loud else "dim")))
                if loud and complaint is None:
                    complaint = widget, f"{field.label}: {error}"
            else:
                mark.update(Text("✓", palette.style("good")))
        self.say(complaint[1] if complaint else "", "warn")
        if complaint is not None and submitted:
            complaint[0].focus()
        return values if len(values) == len(self.asked.fields) else None

    def say(self, words: str, role: str) -> None:
        """Show a sentence under the fields, after what is done already."""
        self.refused = role == "bad"
        lines = Text()
        palette = palette_of(self)
        for done in self._done:
            lines.append(f"✓ {printable(done)}\n", palette.style("good"))
        lines.append(printable(words), palette.style(role))
        self.query_one("#answer", Static).update(lines)

    def submit(self) -> None:
        """Send the requests, unless a value does not fit or they are under way."""
        if self.waiting:
            return
        values = self._validate(submitted=True)
        if values is not None:
            self._run(self.asked.plan(values))

    @work(exclusive=True, group="request")
    async def _run(self, steps: Sequence[Step]) -> None:
        self._set_waiting(True)
        notes: list[str] = []
        try:
            for step in steps:
                if step.key in self._answers:
                    continue
                self.say(f"… {step.title}: waiting for {self.host}", "accent")
                try:
                    response = await self.link.request(self.host, step.op, step.params(self._answers))
                except TimeoutError:
                    self.say(f"✗ {step.title}: no answer from {self.host}; it may still take effect", "bad")
                    return
                except (KeyError, TypeError, ValueError):
                    self.say(f"✗ {step.title}: the engine's answer had no usable queue_id", "bad")
                    return
                except ConnectionError as error:
                    self.say(f"✗ {step.title}: the broker is not there ({error}); nothing was sent", "bad")
                    return
                refused = refusal(step, response)
                if refused is not None:
                    self.say(f"✗ {step.title}: {refused}", "bad")
                    return
                self._answers[step.key] = response
                pending = response.ndis_status == "NDIS_STATUS_PENDING"
                self._done.append(f"{step.title}: pending" if pending else step.title)
                notes.append(response.message)
                for key in step.uses:
                    self.query_one(f"#field-{key}", Input).disabled = True
        finally:
            self._set_waiting(False)
        extra = next((note for note in reversed(notes) if note), "")
        self.dismiss("; ".join(self._done) + (f" · {extra}" if extra else ""))

    def _set_waiting(self, waiting: bool) -> None:
        self.waiting = waiting
        if self.is_attached:
            self.query_one("#do", Button).disabled = waiting
