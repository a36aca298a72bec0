"""The base class of dialogs: a modal screen that opens only over the dashboard and returns one result."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """A dialog that ends once, with the first result; None if it was closed without one.

    Keys that arrive together reach a dialog before the first of them is handled, and an answer may arrive
    together with an Esc. So the first call of ``dismiss`` ends the dialog: later calls have no effect, and
    its actions are disabled. Handlers that do more than dismiss must check ``ended``, and must use widgets
    held in attributes, not ``query_one``: they may run before compose or after the widgets are removed.
    """

    ended: bool = False
    """Whether it has a result. It may stay on the screen for a moment after that."""

    @property
    def is_seen(self) -> bool:
        """Whether it is on the screen: on one smaller than the dashboard needs, only that is shown."""
        return not (self.has_class("-tiny") or self.has_class("-flat"))

    def draw(self) -> None:
        """Show the current model. The default does nothing."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """End with ``result``; does nothing if the dialog has ended."""
        if self.ended:
            return AwaitComplete()
        self.ended = True
        return super().dismiss(result)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self.ended


def open_dialog(
    over: Screen[Any], dialog: Dialog[Result], then: Callable[[Result | None], None] | None = None
) -> bool:
    """Open a dialog over a screen and call ``then`` with its result; return whether it was opened.

    It is not opened if ``over`` is covered by another dialog: keys that arrive together, or a late answer,
    may try to open a second one.
    """
    opens = over.app.screen is over
    if opens:
        over.app.push_screen(dialog, then)
    return opens
