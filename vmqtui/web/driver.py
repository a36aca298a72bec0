"""A session's end of the line to the server."""

from textual import messages
from textual.drivers.web_driver import WebDriver


class SessionDriver(WebDriver):
    """Ends its app when the server is gone, however that ended: nobody would see it any more."""

    def run_input_thread(self) -> None:
        try:
            super().run_input_thread()
        finally:
            self._app.post_message(messages.ExitApp())
