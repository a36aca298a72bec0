"""Where memory lives, drawn: an adapter's buffers, and a queue's in host and guest memory."""

from engine.counted import counted
from vmqtui.columns.shared import low_level, use_level
from vmqtui.draw import FREE as FREE_GLYPH
from vmqtui.draw import Line, bands, clip, fit
from vmqtui.numbers import compact, grouped, size
from vmqtui.printable import printable
from vmqtui.state.memory import Region, pool, regions
from vmqtui.state.rows import QueueRow, ratio
from vmqtui.widgets.panels import ModelCanvas

OUTSTANDING, PENDING, FREE = ("█", "bar2"), ("▓", "bar"), (FREE_GLYPH, "track")
"""Glyph and role of what a buffer does."""
_SPACES = {"host": "host ", "guest": "guest"}


def queue_memory(queue: QueueRow, width: int) -> list[Line]:
    """A queue's regions, a line each, with its low-water mark."""
    total, low = queue.count("total_buffers"), queue.count("low_free_buffers")
    level = low_level(low, total)
    mark = queue.high_water
    lines: list[Line] = [
        [
            (f" {printable(queue.label)}", "strong"),
            (f"  queue {queue.queue_id}  ", "title"),
            (counted(total, "buffer"), "text"),
            (f"  {grouped(queue.count('free_buffers'))} free now", "dim"),
            ("  fewest free ", "dim"),
            (f"{'▲' if level == 'bad' else '△' if level == 'warn' else ''}{grouped(low)}", level or "text"),
            (" ┃ low-water mark" if mark is not None else "", "dim"),
        ]
    ]
    lines += [_region(region, queue, width, mark) for region in regions(queue)]
    if queue.vm is None and queue.settings is not None:
        lines.append([(" guest  frames for VMs are copied to their ports' places by the switch", "dim")])
    return [clip(line, width) for line in lines]


def _region(region: Region, queue: QueueRow, width: int, mark: float | None) -> Line:
    owner = f" of {printable(queue.vm or '')}" if region.space == "guest" else ""
    room = max(8, width - 46 - len(owner))
    outstanding, pending = ratio(region.outstanding, region.places), ratio(region.pending, region.places)
    line: Line = [
        (f" {_SPACES[region.space]} ", "title"),
        (fit(region.what, 16), "text"),
        (f"{grouped(region.bytes_each):>7} B ", "dim"),
    ]
    if outstanding is None or pending is None:
        line.append((fit("–", room), "dim"))
    else:
        level = use_level(outstanding + pending)
        parts = [
            (outstanding, OUTSTANDING[0], level or OUTSTANDING[1]),
            (pending, PENDING[0], level or PENDING[1]),
            (1 - outstanding - pending, *FREE),
        ]
        line += bands(parts, room, mark if region.space == "host" else None)
    return [*line, (f" {size(region.size):>9}", "text"), (owner, "dim")]


class MemoryMap(ModelCanvas):
    """Every adapter's buffers, and below those of the queue under the cursor."""

    queue: QueueRow | None = None

    def paint(self, width: int, height: int) -> list[Line]:
        own = queue_memory(self.queue, width) if self.queue is not None else []
        room = height - len(own)
        lines: list[Line] = []
        adapters = self.adapters()
        if self.queue is not None:  # its own adapter first, where there is not room for all
            adapters.sort(key=lambda row: row.adapter != (self.queue.adapter if self.queue else ""))
        for adapter in adapters[: max(1, room // 3)]:
            buffers = pool(adapter)
            node = adapter.config.numa_node if adapter.config else None
            total = None if buffers.total is None else buffers.total * (buffers.bytes_each or 0)
            lines.append(
                [
                    (f" {printable(adapter.adapter)}", "strong"),
                    ("  host address space", "title"),
                    (f", NUMA node {'–' if node is None else node}", "dim"),
                    (f"  {counted(buffers.total, 'buffer')} × {grouped(buffers.bytes_each)} B", "text"),
                    (f" = {size(total)}", "strong"),
                ]
            )
            counts = (buffers.outstanding, buffers.pending, buffers.free)
            shares = [ratio(count, buffers.total) for count in counts]
            kinds = (OUTSTANDING, PENDING, FREE)
            if None not in shares:
                parts = [(share or 0.0, *kind) for share, kind in zip(shares, kinds, strict=True)]
                lines.append([(" ", "text"), *bands(parts, width - 2)])
            names = ("outstanding", "pending", "free in queues")
            told: Line = []
            for (glyph, role), name, count in zip(kinds, names, counts, strict=True):
                told += [(f" {glyph}", role), (f" {name} ", "dim"), (f"{_count(count, width)} ", "text")]
            told += [(" ╌", "track"), (" in no queue ", "dim"), (_count(buffers.in_no_queue, width), "text")]
            lines.append(told)
        return [clip(line, width) for line in (*lines, *own)][:height]


def _count(count: int | None, width: int) -> str:
    return compact(count) if width < 90 else grouped(count)
