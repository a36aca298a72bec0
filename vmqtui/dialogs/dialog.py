"""The base of every dialog: a modal screen that opens over the dashboard alone, and ends once."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """Ends once, with the first result; None when it was closed without one.

    Keys that arrive together reach a dialog before the first of them is handled, and an answer may arrive
    at the moment of an Esc. So ``dismiss`` decides here when a dialog ends: later calls have no effect, and
    its actions are off from then on. Handlers that do more than dismiss check ``ended``, and use widgets they
    hold, not ``query_one``: they may run before the dialog is composed and after its widgets are removed.
    """

    ended = False
    """Whether it has its result. It may still be on the screen for a moment."""

    def draw(self) -> None:
        """Show the model as it is now; does nothing unless a dialog overrides it."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """End with a result, unless it has ended."""
        if self.ended:
            return AwaitComplete()
        self.ended = True
        return super().dismiss(result)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self.ended


def open_dialog(
    over: Screen[Any], dialog: Dialog[Result], then: Callable[[Result | None], None] | None = None
) -> bool:
    """Open a dialog over a screen and call ``then`` with its result; whether it was opened.

    It is not opened over another dialog: keys that arrive together, or a late answer, may ask for a second.
    """
    opens = over.app.screen is over
    if opens:
        over.app.push_screen(dialog, then)
    return opens
