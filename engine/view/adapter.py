"""An adapter at one moment: its port, its default queue, and its free queues and buffers."""

from collections.abc import Hashable, Sequence
from functools import cached_property

import msgspec

from engine.telemetry.config import AdapterConfig, Vlan
from engine.telemetry.stats import AdapterStats
from engine.view.index import AdapterIndex
from engine.view.pairs import PairView, pairs_of
from engine.view.rates import CounterTable, known_sum, ratio, whole_sum
from engine.view.rows import QueueTable, QueueView


class AdapterView(msgspec.Struct, frozen=True, eq=False, dict=True):
    """An adapter: counters of its port, its default queue by reason and by pair, and sums over its queues."""

    adapter: str
    index: AdapterIndex | None
    now: AdapterStats
    before: AdapterStats | None
    seconds: float | None
    queues: Sequence[QueueView]
    queue_table: QueueTable
    port: CounterTable
    reasons: CounterTable
    interface: CounterTable | None = None
    """The kernel's counters of the live interface that feeds the adapter, if any."""

    @property
    def config(self) -> AdapterConfig | None:
        return self.index.settings if self.index else None

    @property
    def known(self) -> AdapterConfig:
        """The configuration; every adapter of an ``Evidence`` has one."""
        assert self.index is not None
        return self.index.settings

    @property
    def name(self) -> str:
        return self.adapter

    @property
    def identity(self) -> Hashable:
        return self.adapter

    @property
    def processor_set(self) -> tuple[int, ...] | None:
        """The processors of its set; None if nothing is known of one."""
        return self.index.processor_set if self.index else None

    @property
    def set_words(self) -> str | None:
        """The processors of its set in words; None if nothing is known of one."""
        return self.index.set_words if self.index else None

    @property
    def steered_rate(self) -> float | None:
        """Frames per second of all its queues; None if those of one are unknown."""
        return self.queue_table.total_frames_rate()

    def count(self, name: str) -> int | None:
        return self.port.count(name, 0)

    def since(self, name: str) -> int | None:
        return self.port.since(name, 0)

    @property
    def pps(self) -> float | None:
        return self.port.rate("offered_frames", 0)

    @property
    def mbits(self) -> float | None:
        rate = self.port.rate("offered_bytes", 0)
        return None if rate is None else rate * 8e-6

    @property
    def team(self) -> str | None:
        """Name and mode of its team; None if it is in none."""
        config = self.config
        return f"{config.team} {config.team_mode}" if config is not None and config.team else None

    @property
    def team_words(self) -> str:
        """The team in words: ``team0, sum of queues``, ``team0, primary``; "" if it is in none."""
        config = self.config
        if config is None or not config.team:
            return ""
        return f"{config.team}, {config.team_mode}{'' if config.team_mode == 'primary' else ' of queues'}"

    @property
    def link_use(self) -> float | None:
        gbps = self.config.link_gbps if self.config else None
        return ratio(self.mbits, None if gbps is None else gbps * 1000)

    @property
    def drops(self) -> float | None:
        return self.queue_table.total_rate("dropped_no_buffer")

    @property
    def least_drops(self) -> float | None:
        """A lower bound of ``drops``: those of the queues whose drops are known; None if of none."""
        drops = self.drops
        return known_sum(one.drops for one in self.queues) if drops is None else drops

    @property
    def lost(self) -> float | None:
        """Frames per second lost because the worker of a processor died or was down."""
        return self.queue_table.total_rate("lost_frames")

    @property
    def unread(self) -> float | None:
        """Frames per second that its live interface lost before the engine read them; None without one."""
        if self.interface is None:
            return None
        counters = ("kernel_dropped_frames", "interface_dropped_frames")
        return whole_sum(self.interface.rate(name, 0) for name in counters)

    @property
    def port_errors(self) -> float | None:
        return whole_sum((self.port.rate("runt", 0), self.port.rate("oversize", 0)))

    def reason(self, name: str) -> float | None:
        """Return the frames per second that the default queue took for this reason."""
        return self.reasons.rate(name, 0)

    @property
    def default(self) -> QueueView | None:
        """The default queue."""
        return next((queue for queue in self.queues if queue.queue_id == 0), None)

    @property
    def default_pps(self) -> float | None:
        default = self.default
        return default.pps if default else None

    @property
    def buffers_given(self) -> int | None:
        total = whole_sum(queue.count("total_buffers") for queue in self.queues)
        return None if total is None else int(total)

    @property
    def pairs_known(self) -> bool:
        """Whether the engine sends the MAC and VLAN pairs of the default queue."""
        return self.now.default_queue_top is not None

    @cached_property
    def pairs(self) -> Sequence[PairView]:
        """The pairs whose frames the default queue took, in the order of the engine's sketch."""
        before = self.before.default_queue_top if self.before else None
        top = self.now.default_queue_top
        return pairs_of(self.adapter, top, before, self.seconds, self.index, self.default_pps)

    @cached_property
    def by_id(self) -> dict[int, QueueView]:
        """Its queues by id."""
        return {one.queue_id: one for one in self.queues}

    @cached_property
    def of_vms(self) -> Sequence[QueueView]:
        """Every queue but the default one."""
        return [one for one in self.queues if one.queue_id != 0]

    def queue_of(self, vm: str | None) -> QueueView | None:
        """Return the first running queue of a VM, if any."""
        of_vm = (one for one in self.of_vms if one.vm == vm and vm is not None)
        return next((one for one in of_vm if one.state == "running"), None)

    @property
    def free_queues(self) -> int | None:
        """The number of queues that can still be allocated; None if the adapter's number is unknown."""
        most = self.known.max_queues
        return None if most is None else most - len(self.of_vms)

    @property
    def free_filters(self) -> int | None:
        """The number of filters that can still be set; None if the adapter's number is unknown."""
        most = self.known.max_filters
        return None if most is None else most - len(self.known.filters)

    @property
    def next_queue_id(self) -> int:
        """The id of the next queue: the lowest unused one."""
        return next(number for number in range(1, len(self.by_id) + 2) if number not in self.by_id)

    @cached_property
    def buffers_left(self) -> int | None:
        """The number of buffers in no queue; None if the adapter's or any queue's count is unknown."""
        counts, total = [one.count("total_buffers") for one in self.queues], self.known.buffers
        return None if total is None or None in counts else total - sum(one or 0 for one in counts)

    @cached_property
    def unused_buffers(self) -> Sequence[tuple[QueueView, int]]:
        """Running queues with the number of their never used buffers, largest number first."""
        unused = [(one, one.count("low_free_buffers") or 0) for one in self.queues if one.state == "running"]
        return sorted(unused, key=lambda pair: (-pair[1], pair[0].queue_id))

    @cached_property
    def _filter_table(self) -> CounterTable:
        before = self.before.filters if self.before else None
        return CounterTable(self.now.filters, before, self.seconds, from_zero=self.queue_table.from_zero)

    def matched_pps(self, filter_id: int) -> float | None:
        """Return the frames per second that a filter matched."""
        table = self._filter_table
        return table.rate("matched_frames", table.index.get((filter_id,), -1))

    def pair_pps(self, mac: str | None, vlan: Vlan) -> float | None:
        """Return a lower bound of a pair's frames/s in the default queue; 0 if the sketch lacks the pair."""
        if not self.pairs_known:
            return None
        return next((one.least_pps for one in self.pairs if (one.mac, one.vlan) == (mac, vlan)), 0.0)
