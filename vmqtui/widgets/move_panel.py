"""Before and after: what a move would do to two processors, and what it did."""

from engine.counted import counted
from vmqtui.columns.shared import load_level
from vmqtui.draw import Line, bar, clip, fit
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.state.moves import Move
from vmqtui.state.placement import Forecast, Side
from vmqtui.state.rows import QueueRow
from vmqtui.widgets.panels import ModelCanvas


class MovePanel(ModelCanvas):
    """The queue under the matrix's cursor; a proposal with its forecast; else what the last move did."""

    def __init__(self, model: Model, widget_id: str) -> None:
        super().__init__(model, widget_id)
        self.queue: QueueRow | None = None
        self.load: float | None = None
        self.proposal: Forecast | None = None
        self.last: Move | None = None

    def paint(self, width: int, height: int) -> list[Line]:
        if self.queue is None:
            return [[(" no queue yet", "dim")]]
        lines = [self._who(self.queue)]
        if self.proposal is not None:
            lines += self._sides(self.proposal.source, self.proposal.target, "about", width)
            lines += [[(f" △ {words}", "warn")] for words in self.proposal.warnings]
            if self.screen.check_action("move_queue", ()):
                lines.append(
                    [(" m", "accent"), (" moves it, ", "dim"), ("← →", "accent"), (" leave it", "dim")]
                )
        elif self.last is not None:
            lines += self._done(self.last, width)
        elif self.screen.check_action("move_queue", ()):
            lines.append(
                [
                    (" ← →", "accent"),
                    (" another queue  ", "dim"),
                    ("↑ ↓", "accent"),
                    (" a processor for it, ", "dim"),
                    ("m", "accent"),
                    (" moves it there", "dim"),
                ]
            )
        if self.proposal is not None and 4 + len(self.proposal.warnings) > height:
            del lines[1]  # what speaks against it is worth more than a heading
        return [clip(line, width) for line in lines[:height]]

    def _who(self, queue: QueueRow) -> Line:
        several = len(self.model.snapshot.adapter_names) > 1
        of = f" of {printable(queue.adapter)}" if several else ""
        return [
            (f" {printable(queue.label)}", "strong"),
            (f"  queue {queue.queue_id}{of} on {queue.processor}", "title"),
            (f"  {compact(queue.pps)} pkt/s", "text"),
            (f"  ≈{percent(self.load)} of a processor" if self.load is not None else "", "text"),
            (f"  {compact(queue.rate('interrupts'))} intr/s", "dim"),
            (f"  {compact(queue.rate('dpcs'))} DPC/s", "dim"),
            (f"  backlog {compact(queue.count('pending'))}", "dim"),
        ]

    def _sides(self, source: Side, target: Side, after: str, width: int) -> list[Line]:
        room = max(4, min(24, (width - 44) // 2))
        head: Line = [(f"{'':7}{fit('before', room + 8)}   {after}", "header")]
        return [head, *(self._side(side, room) for side in (source, target))]

    def _side(self, side: Side, room: int) -> Line:
        line: Line = [(f" {side.processor:>5} ", "text")]
        for n, load in enumerate((side.before, side.after)):
            if n:
                line.append((" → ", "accent"))
            level = load_level(load)
            parts = [(load, level or "bar")] if load is not None else []
            line += [*bar(parts, room), (f"{percent(load):>7} ", level or "text")]
        return [*line, (f" {side.queues_before} → {counted(side.queues_after, 'queue')}", "dim")]

    def _done(self, move: Move, width: int) -> list[Line]:
        words: Line = [
            (f" ✓ {printable(move.label)} moved", "good"),
            (f" {move.source.processor} → {move.target.processor}", "strong"),
        ]
        if not move.measured:
            words.append(("  measuring what came of it …", "dim"))
        return [words, *self._sides(move.source, move.target, "now", width)]
