"""Panels of one queue (its facts, its rates over time, its buffers), and the map of receive buffers."""

from textwrap import wrap

from engine.counted import counted
from engine.telemetry.stats import Source
from engine.view.rates import ratio
from engine.view.rows import QueueView
from vmqtui.columns.column import drops_level, load_level, low_level, use_level, vlan_text
from vmqtui.columns.filters import driver_words
from vmqtui.columns.queues import STATE_GLYPHS, state_level
from vmqtui.columns.sources import MARKS
from vmqtui.draw import FREE as FREE_GLYPH
from vmqtui.draw import Line, TrendScale, bands, clip, fit, points_of, stacked, trend, width_of
from vmqtui.numbers import UNKNOWN, compact, decimal, grouped, percent, size
from vmqtui.printable import printable
from vmqtui.state.buffer_memory import Region, pool, regions
from vmqtui.state.history import covered_s
from vmqtui.state.model import Model
from vmqtui.state.placement import is_remote, load_of
from vmqtui.state.series import ShortHistory
from vmqtui.state.snapshot import QUEUE_DETAILS, series_of
from vmqtui.widgets.panels import ModelCanvas, time_axis

OUTSTANDING, PENDING, FREE = ("█", "bar2"), ("▓", "bar"), (FREE_GLYPH, "track")
"""Glyph and colour role of each state of a buffer."""
_SPACES = {"host": "host ", "guest": "guest"}


def _owned(buffers: int | None, partly: bool = False) -> str:
    """Return a sentence on buffers of a measured host, of which the number in use is not known."""
    if buffers is None:
        return "its receive buffers are not known"
    return f"{'at least ' * partly}{counted(buffers, 'buffer')}; how many of them hold frames is not known"


def is_use_known(queue: QueueView) -> bool:
    """Whether the number of a queue's buffers in use is known."""
    return any(queue.count(name) is not None for name in ("pending", "outstanding", "free_buffers"))


def queue_memory(queue: QueueView, width: int, measured: bool, moment: str, named: bool = True) -> list[Line]:
    """Return a heading and a line for each memory region of a queue, with the low-water mark; of a measured
    host that does not know which buffers are in use, a line that says so. ``named``: say of which queue;
    ``moment``: what the shown one is called."""
    name: Line = (
        [(f" {printable(queue.label)}", "strong"), (f"  queue {queue.queue_id} ", "title")] if named else []
    )
    if measured and not is_use_known(queue):
        return [clip([*name, (f" {_owned(queue.count('total_buffers'))}", "text")], width)]
    total, low = queue.count("total_buffers"), queue.count("low_free_buffers")
    level = low_level(low, total)
    mark = queue.high_water
    heading: Line = [
        *name,
        (f" {counted(total, 'buffer')}", "text"),
        (f"  {grouped(queue.count('free_buffers'))} free {moment}", "dim"),
        ("  fewest free ", "dim"),
        (f"{'▲' if level == 'bad' else '△' if level == 'warn' else ''}{grouped(low)}", level or "text"),
    ]
    if mark is not None:  # the sign alone says as much, beside the number that it stands for
        words = " ┃ low-water mark"
        heading.append((words if width_of(heading) + len(words) <= width else " ┃", "dim"))
    lines: list[Line] = [heading]
    lines += [_region(region, queue, width, mark, named) for region in regions(queue)]
    if queue.vm is None and queue.settings is not None:
        lines.append([(" guest  frames for VMs are copied to their ports' places by the switch", "dim")])
    return [clip(line, width) for line in lines]


def _region(region: Region, queue: QueueView, width: int, mark: float | None, named: bool) -> Line:
    owner = f" of {printable(queue.vm or '')}" if region.space == "guest" and named else ""
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
    """The buffers of every adapter, and below them those of the queue under the cursor."""

    queue: QueueView | None = None

    def paint(self, width: int, height: int) -> list[Line]:
        measured = self.model.snapshot.measured
        own = queue_memory(self.queue, width, measured, self.model.moment) if self.queue is not None else []
        room = height - len(own)
        lines: list[Line] = []
        adapters = self.adapters()
        if self.queue is not None:  # its adapter first, because not all may fit
            adapters.sort(key=lambda row: row.adapter != (self.queue.adapter if self.queue else ""))
        for adapter in adapters[: max(1, room if measured else room // 3)]:
            if measured and not any(map(is_use_known, adapter.queues)):
                counts = [queue.count("total_buffers") for queue in adapter.queues]
                known = [count for count in counts if count is not None]
                owned = _owned(sum(known) if known else None, len(known) < len(counts))
                lines.append([(f" {printable(adapter.adapter)}", "strong"), (f"  {owned}", "text")])
                continue
            buffers = pool(adapter)
            node = adapter.config.numa_node if adapter.config else None
            each = buffers.bytes_each
            total = None if buffers.total is None or each is None else buffers.total * each
            lines.append(
                [
                    (f" {printable(adapter.adapter)}", "strong"),
                    ("  host address space", "title"),
                    (f", NUMA node {'–' if node is None else node}", "dim"),
                    (f"  {counted(buffers.total, 'buffer')} × {grouped(each)} B", "text"),
                    (f" = {size(total)}", "strong"),
                ]
            )
            uses = (buffers.outstanding, buffers.pending, buffers.free)
            shares = [ratio(count, buffers.total) for count in uses]
            kinds = (OUTSTANDING, PENDING, FREE)
            if None not in shares:
                parts = [(share or 0.0, *kind) for share, kind in zip(shares, kinds, strict=True)]
                lines.append([(" ", "text"), *bands(parts, width - 2)])
            names = ("outstanding", "pending", "free in queues")
            told: Line = []
            for (glyph, role), name, count in zip(kinds, names, uses, strict=True):
                told += [(f" {glyph}", role), (f" {name} ", "dim"), (f"{_count(count, width)} ", "text")]
            told += [(" ╌", "track"), (" in no queue ", "dim"), (_count(buffers.in_no_queue, width), "text")]
            lines.append(told)
        return [clip(line, width) for line in (*lines[: max(1, room)], *own)][:height]


def _count(count: int | None, width: int) -> str:
    return compact(count) if width < 90 else grouped(count)


_COUNTERS = (
    ("steered", "steered_frames"),
    ("received", "received_frames"),
    ("dropped", "dropped_no_buffer"),
    ("indicated", "indicated_frames"),
    ("returned", "returned_frames"),
    ("discarded", "discarded_frames"),
    ("lost", "lost_frames"),
    ("switch dropped", "switch_dropped_frames"),
    ("interrupts", "interrupts"),
    ("DPCs", "dpcs"),
)
_TROUBLE = frozenset({"dropped_no_buffer", "discarded_frames", "lost_frames", "switch_dropped_frames"})


class QueueCanvas(ModelCanvas):
    """Base of canvases that show one queue."""

    queue: QueueView | None = None
    gone = False
    """Whether the queue was freed, so that the panel shows its last values."""

    def source(self, name: str) -> Source:
        """Return how a counter of the queue, or its ``cpu``, is known."""
        adapter = self.queue.adapter if self.queue is not None else None
        return self.model.snapshot.sources("queues", adapter).get(name, "exact")


class QueueFacts(QueueCanvas):
    """The name, VM, processor, state and counters of a queue."""

    def paint(self, width: int, height: int) -> list[Line]:
        queue = self.queue
        if queue is None:
            return [[(" Enter on a queue shows it here", "dim")]]
        lines = [self._what(queue), self._whose(queue), self._where(queue), *self._known_as(queue)]
        counters = self._counters(queue, width)
        room = height - len(lines) - len(counters)
        if room > 0:
            counters = [[], *counters]
        return [clip(line, width) for line in (*lines, *counters)][:height]

    def _what(self, queue: QueueView) -> Line:
        state, level = queue.state, state_level(queue)
        sign = STATE_GLYPHS.get(state or "", UNKNOWN)
        line: Line = [
            (f" {sign} ", "good" if state == "running" else level),
            (state or UNKNOWN, "text" if state == "running" else level),
        ]
        if queue.config is not None:
            line.append((f"  operational {queue.config.operational_state}", "dim"))
            if not self.model.snapshot.measured:  # which has no overlying driver that could change it
                line.append((f"  driver {driver_words(queue.config.driver)}", "dim"))
        if self.gone:
            return [(" ✗ freed: the last that was known  ", "bad"), *line]
        return line

    def _whose(self, queue: QueueView) -> Line:
        if queue.vm is None:
            takes_rest = queue.queue_id == 0 and (
                not self.model.snapshot.measured or self._has_filters(queue)
            )
            words = "none: it takes what no filter does" if takes_rest else "none"
            return [(" VM  ", "title"), (words, "dim")]
        known = queue.settings.queues if queue.settings is not None else []
        others = [one.queue_id for one in known if one.vm == queue.vm and one.queue_id != queue.queue_id]
        line: Line = [(" VM  ", "title"), (printable(queue.vm), "strong")]
        if queue.config is not None and queue.config.vm_paused:
            line.append(("  △ paused: it returns no buffer", "warn"))
        delay = queue.config.return_delay_us if queue.config is not None else None
        if delay is not None:
            words = f"returns a buffer {delay:,} µs after it got it" if delay else "returns buffers at once"
            line.append((f"  {words}", "dim"))
        if others:
            line.append((f"  also queue {', '.join(map(str, others[:6]))}", "dim"))
        return line

    @staticmethod
    def _has_filters(queue: QueueView) -> bool:
        return queue.settings is not None and bool(queue.settings.filters)

    def _where(self, queue: QueueView) -> Line:
        snapshot = self.model.snapshot
        cpu = next((one for one in snapshot.cpus if one.cpu == queue.cpu), None)
        line: Line = [(" CPU ", "title"), (f"{queue.processor or UNKNOWN}", "strong")]
        if queue.cpu is not None and self.source("cpu") != "exact":
            line.append((f"  {self.source('cpu')}", "dim"))
        if cpu is None:
            return line
        if cpu.config is not None:
            core, node = (UNKNOWN if one is None else one for one in (cpu.config.core, cpu.config.numa_node))
            line.append((f"  core {core}, NUMA {node}", "dim"))
            if queue.settings is not None and is_remote(queue, cpu):
                line.append((f" △ its buffers are on node {queue.settings.numa_node}", "warn"))
        if cpu.down:
            return [*line, ("  ▲ down: its queues' frames are lost", "bad")]
        load = load_of(queue, cpu, snapshot.config.cpu_model if snapshot.config else {})
        line += [
            ("  load ", "dim"),
            (percent(cpu.load), load_level(cpu.load) or "text"),
            (f", about {percent(load)} its own" if load is not None else "", "dim"),
        ]
        return line

    def _known_as(self, queue: QueueView) -> list[Line]:
        """Return a line with the switch ports of the queue's VM; none if it has no port."""
        index = self.model.snapshot.index.adapters.get(queue.adapter)
        ports = [port for port in index.settings.ports if port.vm == queue.vm] if index and queue.vm else []
        if not ports:
            return []
        shown = [f"{port.mac} VLAN {vlan_text(port.vlan)}" for port in ports[:2]]
        more = f"  and {len(ports) - 2} more" if len(ports) > 2 else ""
        return [[(" port", "title"), (f" {', '.join(shown)}{more}", "text")]]

    def _counters(self, queue: QueueView, width: int) -> list[Line]:
        measured = self.model.snapshot.measured
        deltas = self.model.choices.deltas
        shown = [one for one in _COUNTERS if not measured or queue.count(one[1]) is not None]
        across = 2 if width >= 56 else 1
        cells: list[Line] = []
        for name, key in shown:
            value = queue.since(key) if deltas else queue.count(key)
            # No port has the MAC of broadcast and multicast, which the default queue takes: no trouble.
            trouble = key in _TROUBLE and (queue.queue_id != 0 or key != "switch_dropped_frames")
            bad = bool(value) and trouble
            sign = "▲" if bad else ""
            cells.append(
                [
                    (f" {'Δ' if deltas else ''}{fit(name + MARKS[self.source(key)], 14 - deltas)}", "dim"),
                    (f"{sign + grouped(value):>13} ", "bad" if bad else "text" if value else "dim"),
                ]
            )
        rows = -(-len(cells) // across)
        lines = [[span for cell in cells[row::rows] for span in cell] for row in range(rows)]
        unknown = ", ".join(name for name, key in _COUNTERS if (name, key) not in shown)
        if unknown:
            lines += [[(f" {line}", "dim")] for line in wrap(f"not known: {unknown}", max(10, width - 2))]
        return lines


class QueueRates(QueueCanvas):
    """Rates over the chosen span: frames as a chart, the others as trends."""

    def __init__(self, model: Model, widget_id: str) -> None:
        super().__init__(model, widget_id)
        self._trail = ShortHistory()

    def note(self) -> None:
        """Record the values that the model's history lacks."""
        queue, stats = self.queue, self.model.snapshot.stats
        if queue is None or stats is None or self.gone:
            return
        self._trail.note(
            queue.identity,
            stats.sim_time_ns,
            {name: value(queue) for name, value in QUEUE_DETAILS.items()},
            covered_s(self.model.snapshot),
            lambda name: self.model.details(series_of(queue, name)),
        )

    def paint(self, width: int, height: int) -> list[Line]:
        queue, stats = self.queue, self.model.snapshot.stats
        if queue is None or stats is None:
            return []
        room = max(8, width - 19)

        def row(
            title: str,
            value: str,
            level: str,
            name: str,
            of: str,
            scale: TrendScale = "count",
            role: str = "trend",
        ) -> Line:
            if self.model.snapshot.measured and queue.count(of) is None:
                return []
            span = self.model.span_s
            seen = self._trail.peaks(name, span, points_of(room), stats.sim_time_ns)
            if name == "drops" and any(seen):
                role = "bad"
            return [
                (f" {title + MARKS[self.source(of)]:<8}", "dim"),
                (f"{value:>8} ", level or "text"),
                (trend(seen, room, scale), role),
            ]

        drops, use = queue.drops, queue.buffer_use
        dropping = ("▲" if drops else "") + compact(drops)
        interrupts, dpcs = (compact(queue.rate(name)) for name in ("interrupts", "dpcs"))
        rows = (
            row("Mbit/s", decimal(queue.mbits), "", "mbits", "steered_bytes", "amount"),
            row("drop/s", dropping, drops_level(drops), "drops", "dropped_no_buffer"),
            row("buffers", percent(use), use_level(use), "use", "pending", "share", "bar"),
            row("intr/s", interrupts, "", "interrupts", "interrupts"),
            row("DPC/s", dpcs, "", "dpcs", "dpcs"),
        )
        lines = [line for line in rows if line]
        of_frames = self.source(
            "steered_frames" if queue.count("steered_frames") is not None else "received_frames"
        )
        title = f" {fit('pkt/s' + MARKS[of_frames], 8)}"
        chart = max(1, height - len(lines) - 1)
        body, top = stacked([(self.model.peaks(((series_of(queue),),), room)[0], "bar")], room, chart)
        head: list[Line] = []
        for n, line in enumerate(body):
            if n == 0:
                label: Line = [(title, "dim"), (f"{compact(queue.pps):>8} ", "strong")]
            elif n == 1 and top:
                label = [(f"{'top ' + compact(top):>17} ", "faint")]
            else:
                label = [(" " * 18, "faint")]
            head.append([*label, *line])
        foot: Line = [(" " * 18 + time_axis(self.model.span_s, room, self.model.moment), "faint")]
        return [clip(line, width) for line in (*head, *lines, foot)][:height]


class QueueMemory(QueueCanvas):
    """The buffers of a queue in host and guest memory."""

    def paint(self, width: int, height: int) -> list[Line]:
        if self.queue is None:
            return []
        return queue_memory(self.queue, width, self.model.snapshot.measured, self.model.moment, named=False)[
            :height
        ]
