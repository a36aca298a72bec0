"""What a change would do, asked of the engine before it is made."""

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.text import Text
from textual import work
from textual.widgets import Static

from vmqtui.link import Link
from vmqtui.printable import printable
from vmqtui.tasks.foresight import foretold
from vmqtui.tasks.task import Foreseen, Step
from vmqtui.widgets.canvas import palette_of

SETTLE_S: Final = 0.2
"""How long typing must rest before the engine is asked."""
_MOST_STEPS: Final = 3


class Preview(Static):
    """Asks what if, and shows the answer; a newer question takes the place of an older one."""

    def __init__(self, link: Link, host: str) -> None:
        super().__init__("", id="preview")
        self.display = False
        self._link = link
        self._host = host
        self._asked: tuple[object, ...] | None = None

    def clear(self) -> None:
        """There is nothing to foresee."""
        if self._asked is not None:
            self._asked = None
            self.workers.cancel_group(self, "preview")
            self.display = False

    def ask(self, steps: Sequence[Step], *, at_once: bool = False) -> None:
        """Show what these steps would do, as far as that can be foreseen."""
        steps = [step for step in steps if step.foresee is not None or step.foreseen is not None]
        asked = tuple((step.op, repr(step.foresee)) for step in steps)
        if not steps:
            self.clear()
        elif asked != self._asked:
            self._asked = asked
            self._ask(steps, 0.0 if at_once else SETTLE_S)

    @work(exclusive=True, group="preview")
    async def _ask(self, steps: Sequence[Step], delay: float) -> None:
        self.display = True
        self.update(Text("… what would happen", palette_of(self).style("dim")))
        await asyncio.sleep(delay)
        lines = Text()
        for step in steps[:_MOST_STEPS]:
            try:
                told = await self._told(step)
            except (TimeoutError, ConnectionError) as error:
                why = f"no answer from {self._host}" if isinstance(error, TimeoutError) else str(error)
                self._asked = None
                self.update(Text(f"no preview: {printable(why)}", palette_of(self).style("warn")))
                return
            lines.append(
                f"{'≈' if told.fits else '△'} {told.words}\n",
                palette_of(self).style("accent" if told.fits else "warn"),
            )
        if len(steps) > _MOST_STEPS:
            lines.append(f"… and {len(steps) - _MOST_STEPS} more like it\n", palette_of(self).style("dim"))
        lines.right_crop(1)
        self.update(lines)

    async def _told(self, step: Step) -> Foreseen:
        """What a step would do: the engine's answer, or what is known without asking."""
        if step.foresee is None and step.foreseen is not None:
            return step.foreseen
        assert step.foresee is not None
        return foretold(step, await self._link.request(self._host, step.op, step.foresee | {"what_if": True}))
