"""Textual driver of a session: reads input from the server and writes the screen to it."""

from textual import messages
from textual.drivers.web_driver import WebDriver


class SessionDriver(WebDriver):
    """Ends its app when the input from the server ends, for any reason: the screen has no viewer then."""

    def run_input_thread(self) -> None:
        try:
            super().run_input_thread()
        finally:
            self._app.post_message(messages.ExitApp())
