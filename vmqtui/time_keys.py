"""What the keys of time do. The dashboard is one of these."""

from vmqtui.controls import Controls
from vmqtui.dialogs.dialog import open_dialog
from vmqtui.dialogs.when import WhenDialog
from vmqtui.widgets.timeline import Timeline


class TimeKeys(Controls):
    """A screen whose views can be held at a moment, and led back to it."""

    def draw(self) -> None:
        """Show the model as it is now."""
        raise NotImplementedError

    def _went(self, done: bool) -> None:
        if done:
            self.draw()
        else:
            self._tell("there is no reading yet")

    def action_pause(self) -> None:
        """Hold what is shown, or go on."""
        self._went(self._model.pause())

    def action_step(self, by: int) -> None:
        """Show the reading before or after."""
        self._went(self._model.step(by))

    def action_skip(self, seconds: int) -> None:
        """Show what was so many seconds later, or earlier."""
        self._went(self._model.skip(seconds))

    def action_go_to_time(self) -> None:
        """Show what was at a time that is typed."""
        ends = self._model.ends()
        if ends is None:
            self._went(False)
            return

        def typed(time_ns: int | None) -> None:
            if time_ns is not None:
                self._went(self._model.go_to(time_ns))

        open_dialog(self, WhenDialog(*ends), typed)

    def action_change_speed(self, step: int) -> None:
        """Play a recording faster, or slower."""
        speed = self._model.change_speed(step)
        if speed is None:
            self._tell("only a recording plays faster or slower; what is seen here is live")
        else:
            self.draw()

    def on_timeline_scrubbed(self, event: Timeline.Scrubbed) -> None:
        self._went(self._model.scrub(event.fraction))
