"""The balancer over time, against a model of its own: queues with loads, and processors that add them up."""

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.balance.balancer import LONGEST_REST, NEVER_NS, Balancer, BalancerReading, QueueCounters
from engine.balance.decide import Move, QueueKey
from engine.scenario.model import BalancerSpec, CpuSpec, HostSpec
from tests.slow import examples

MS = 1_000_000
BUDGET = 1000
CPU = CpuSpec(
    cycles_per_interrupt=0, cycles_per_dpc=0, cycles_per_frame=1, cycles_per_byte=0, remote_copy_factor=1.0
)


@dataclass
class Lab:
    """Queues of so many frames, each a cycle, a window; processors have BUDGET cycles a window."""

    host: HostSpec
    spec: BalancerSpec
    cpus: list[int]

    def __post_init__(self) -> None:
        self.homes = list(self.cpus)
        self.frames = [0] * len(self.cpus)
        self.busy = [0] * self.host.cpus
        self.now_ns = 0
        self.balancer = Balancer(self.host, CPU)
        self.balancer.begin(self.spec, self.counters())

    def counters(self) -> BalancerReading:
        queues = [
            QueueCounters(
                QueueKey(0, number, number), cpu, home, 0,
                movable=True, is_held=False, copied_bytes_limit=0,
                steered_frames=frames, steered_bytes=0, dropped_no_buffer=0, interrupts=0, dpcs=0,
            )
            for number, (cpu, home, frames) in enumerate(zip(self.cpus, self.homes, self.frames, strict=True))
        ]  # fmt: skip
        budgets = [BUDGET * self.now_ns // (self.spec.interval_ms * MS)] * self.host.cpus
        return BalancerReading(self.now_ns, list(self.busy), budgets, queues)

    def loads(self, frames: list[int]) -> list[int]:
        loads = [0] * self.host.cpus
        for cpu, count in zip(self.cpus, frames, strict=True):
            loads[cpu] += count
        return loads

    def window(self, frames: list[int]) -> list[Move]:
        """Let a window pass in which these frames come, and make the moves decided on."""
        for cpu, load in enumerate(self.loads(frames)):
            self.busy[cpu] += min(load, BUDGET)
        self.frames = [old + new for old, new in zip(self.frames, frames, strict=True)]
        self.now_ns = self.balancer.due_ns
        moves = self.balancer.poll(self.counters())
        for move in moves:
            assert self.cpus[move.key.queue_id] == move.source
            self.cpus[move.key.queue_id] = move.target
            self.balancer.moved(move, self.now_ns)
        return moves


SPECS = st.builds(
    BalancerSpec,
    mode=st.just("dynamic"),
    interval_ms=st.sampled_from([1, 10, 100]),
    scale_out=st.sampled_from([0.5, 0.8, 1.0]),
    scale_in=st.sampled_from([0.0, 0.2, 0.4]),
    cooldown_ms=st.sampled_from([0, 30, 250]),
    max_moves=st.integers(1, 5),
)


@st.composite
def labs(draw: st.DrawFn) -> Lab:
    cpus = draw(st.sampled_from([2, 4, 8]))
    host = HostSpec(
        name="h", cpus=cpus, hyperthreading=draw(st.booleans()), numa_nodes=draw(st.sampled_from([1, 2]))
    )
    queues = draw(st.lists(st.integers(0, cpus - 1), min_size=1, max_size=10))
    return Lab(host, draw(SPECS), queues)


def usable(host: HostSpec) -> set[int]:
    return {cpu for cpu in range(host.cpus) if not host.hyperthreading or cpu % 2 == 0}


@settings(max_examples=examples(30), deadline=None)
@given(labs(), st.data())
def test_every_move_keeps_to_the_rules_whatever_comes(lab: Lab, data: st.DataObject) -> None:
    spec, last = lab.spec, dict[int, int]()
    amounts = st.lists(st.integers(0, 900), min_size=len(lab.cpus), max_size=len(lab.cpus))
    for _ in range(12):
        frames = data.draw(amounts)
        loads = lab.loads(frames)
        due_ns = lab.balancer.due_ns
        moves = lab.window(frames)

        assert due_ns % (spec.interval_ms * MS) == 0
        assert len(moves) <= spec.max_moves
        assert len({move.key for move in moves}) == len(moves)
        for move in moves:
            number = move.key.queue_id
            assert move.target in usable(lab.host) - {move.source}
            assert lab.now_ns - last.get(number, -NEVER_NS) >= spec.cooldown_ms * MS
            last[number] = lab.now_ns
            assert round(move.source_load * BUDGET) == loads[move.source]
            loads[move.source] -= frames[number]
            loads[move.target] += frames[number]
            assert round(move.source_after * BUDGET) == loads[move.source]
            assert round(move.target_after * BUDGET) == loads[move.target]
            if move.reason == "scale_out":
                assert move.source_load >= spec.scale_out > move.target_load
                assert max(move.source_after, move.target_after) < move.source_load
            else:
                assert move.target == lab.homes[number]
                assert move.target_after <= spec.scale_in


@settings(max_examples=examples(30), deadline=None)
@given(labs(), st.data())
def test_under_a_steady_load_moves_come_to_an_end(lab: Lab, data: st.DataObject) -> None:
    amounts = st.lists(st.integers(0, 900), min_size=len(lab.cpus), max_size=len(lab.cpus))
    frames = data.draw(amounts)
    for _ in range(20 + 4 * len(lab.cpus) * (1 + lab.spec.cooldown_ms // lab.spec.interval_ms) // 4):
        lab.window(frames)
    assert not any(lab.window(frames) for _ in range(3 + lab.spec.cooldown_ms // lab.spec.interval_ms))


def swinging(cooldown_ms: int) -> Lab:
    spec = BalancerSpec(mode="dynamic", interval_ms=100, cooldown_ms=cooldown_ms, scale_in=0.4)
    return Lab(HostSpec(name="h", cpus=2), spec, [0, 0])


def test_what_swings_with_the_load_moves_ever_less() -> None:
    lab = swinging(cooldown_ms=200)
    times: dict[int, list[int]] = {0: [], 1: []}
    for n in range(600):
        for move in lab.window([500, 500] if n % 4 < 2 else [10, 10]):
            times[move.key.queue_id].append(lab.now_ns)
    for of_queue in times.values():
        rests = [later - earlier for earlier, later in pairwise(of_queue)]
        assert min(rests) >= 200 * MS
        assert rests[-1] >= 200 * MS * LONGEST_REST / 2
        assert len(rests) < 20  # of 150 swings


def test_a_queue_moved_by_somebody_else_rests_too() -> None:
    lab = swinging(cooldown_ms=1000)
    lab.window([10, 10])
    lab.cpus[0] = lab.homes[0] = 1
    lab.window([10, 10])
    lab.cpus[1] = lab.homes[1] = 1
    # The first was seen at 200 ms to have been moved, so it may move at 1,200 ms, the tenth window from here.
    moves = [lab.window([500, 500]) for _ in range(10)]
    assert [len(made) for made in moves] == [0] * 9 + [1]


def test_off_is_never_due() -> None:
    lab = swinging(cooldown_ms=0)
    lab.balancer.begin(replace_mode(lab.spec), lab.counters())
    assert lab.balancer.due_ns == NEVER_NS


def replace_mode(spec: BalancerSpec) -> BalancerSpec:
    return BalancerSpec(mode="off", interval_ms=spec.interval_ms)


def test_decisions_are_skipped_only_where_there_is_nothing_to_do() -> None:
    lab = swinging(cooldown_ms=0)
    lab.window([500, 500])
    assert lab.cpus.count(1) == 1
    lab.balancer.skip_to(10_000 * MS)
    assert lab.balancer.due_ns == 200 * MS  # there was load
    assert lab.window([0, 0])  # and a queue was away from home
    lab.balancer.skip_to(10_050 * MS)
    assert lab.balancer.due_ns == 300 * MS
    lab.window([0, 0])
    lab.balancer.skip_to(10_050 * MS)
    assert lab.balancer.due_ns == 10_000 * MS


def test_frames_without_a_buffer_count_only_where_the_processor_is_to_blame() -> None:
    lab = swinging(cooldown_ms=0)

    def with_drops(is_held: bool) -> list[Move]:
        counters = lab.counters()
        dropping = [
            replace(one, steered_frames=2000, dropped_no_buffer=1500, is_held=is_held)
            for one in counters.queues
        ]
        balancer = Balancer(lab.host, CPU)
        balancer.begin(lab.spec, counters)
        return balancer.poll(BalancerReading(100 * MS, [BUDGET, 0], [BUDGET, BUDGET], dropping))

    assert [move.queue_load for move in with_drops(is_held=False)] == [2.0]
    assert [move.queue_load for move in with_drops(is_held=True)] == [0.5]
