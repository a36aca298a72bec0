"""What must be true of the documents and messages that come out, whatever went in (CONTRACT 2 and 4)."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tests.end_to_end.oracle import Adapter, Frame, adapters_of, arrivals_ns, expect

Row = Mapping[str, Any]

QUEUE_COUNTERS = [
    "steered_frames",
    "steered_bytes",
    "received_frames",
    "dropped_no_buffer",
    "indicated_frames",
    "discarded_frames",
    "lost_frames",
    "returned_frames",
    "switch_dropped_frames",
    "interrupts",
    "dpcs",
]
QUEUE_GAUGES = ["pending", "outstanding", "free_buffers", "total_buffers"]
PORT_COUNTERS = ["offered_frames", "offered_bytes", "runt", "oversize"]
CPU_COUNTERS = ["busy_cycles", "budget_cycles", "interrupts", "dpcs", "indicated_frames", "queues"]
REASONS = ["broadcast", "multicast", "no_queue", "vlan_mismatch", "unknown_unicast"]


def rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """A table sent as columns, as rows."""
    assert len({len(column) for column in columns.values()}) == 1, "columns of unequal length"
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def identities(port: Row, queues: Sequence[Row], freed: Row, default_queue: Row) -> None:
    """The five identities of CONTRACT 2, and the reasons' sum."""
    steered = sum(queue["steered_frames"] for queue in queues) + freed["steered_frames"]
    assert port["offered_frames"] == port["runt"] + port["oversize"] + steered
    for queue in queues:
        assert all(queue[key] >= 0 for key in QUEUE_COUNTERS + QUEUE_GAUGES), queue
        assert queue["steered_frames"] == queue["received_frames"] + queue["dropped_no_buffer"], queue
        assert queue["received_frames"] == (
            queue["indicated_frames"] + queue["discarded_frames"] + queue["lost_frames"] + queue["pending"]
        ), queue
        assert queue["indicated_frames"] == queue["returned_frames"] + queue["outstanding"], queue
        assert queue["total_buffers"] == queue["free_buffers"] + queue["pending"] + queue["outstanding"], (
            queue
        )
    assert freed["steered_frames"] == freed["received_frames"] + freed["dropped_no_buffer"]
    assert freed["received_frames"] == (
        freed["indicated_frames"] + freed["discarded_frames"] + freed["lost_frames"]
    )
    assert freed["indicated_frames"] == freed["returned_frames"]
    assert sum(default_queue[reason] for reason in REASONS) == queues[0]["steered_frames"]


def replay_document(document: Row, adapters: Mapping[str, Adapter], fed: str, frames: list[Frame]) -> None:
    """A ``replay --json`` document: its form, and every count that steering alone decides."""
    assert document["schema"] == "vmq.replay/1"
    assert [each["name"] for each in document["adapters"]] == list(adapters)
    assert [cpu["id"] for cpu in document["cpus"]] == list(range(len(document["cpus"])))
    for row in document["adapters"]:
        adapter_row(row, adapters[row["name"]], frames if row["name"] == fed else [])
    arrivals = arrivals_ns(frames, adapters[fed].link_gbps)
    lasts(document, arrivals[-1] - arrivals[0])
    cpus(document)


def adapter_row(row: Row, adapter: Adapter, frames: list[Frame]) -> None:
    """An adapter of the document, which received these frames: every count that steering alone decides."""
    expected = expect(frames, adapter)
    identities(row["port"], row["queues"], row["freed"], row["default_queue"])
    assert {key: row["port"][key] for key in PORT_COUNTERS} == expected.port
    assert [queue["id"] for queue in row["queues"]] == [0, *sorted(adapter.queue_vms)]
    for queue in row["queues"]:
        assert queue["steered_frames"] == expected.frames[queue["id"]], queue
        assert queue["steered_bytes"] == expected.bytes[queue["id"]], queue
        assert queue["vm"] == adapter.queue_vms.get(queue["id"])
        assert queue["pending"] == queue["outstanding"] == 0
        assert queue["discarded_frames"] == queue["lost_frames"] == 0
    assert [
        (each["id"], each["queue"], each["mac"], each["vlan"], each["matched_frames"])
        for each in row["filters"]
    ] == [
        (number, queue_id, test.mac, test.vlan, expected.matched[number])
        for number, (queue_id, test) in sorted(adapter.filters.items())
    ]
    assert {key: row["default_queue"][key] for key in REASONS} == {
        key: expected.reasons[key] for key in REASONS
    }
    assert not any(row["freed"].values())


def lasts(document: Row, exact_ns: Fraction) -> None:
    """The time that the frames took."""
    exact = exact_ns / 10**9
    assert abs(document["sim_seconds"] - exact) <= max(1e-9, float(exact) * 2**-52)


def cpus(document: Row) -> None:
    """What processors did fits what the queues did that they served."""
    for cpu in document["cpus"]:
        assert set(CPU_COUNTERS) <= set(cpu)
        served = [
            queue for row in document["adapters"] for queue in row["queues"] if queue["cpu"] == cpu["id"]
        ]
        assert cpu["indicated_frames"] == sum(queue["indicated_frames"] for queue in served)
        assert cpu["dpcs"] <= sum(queue["dpcs"] for queue in served)
        assert cpu["interrupts"] <= sum(queue["interrupts"] for queue in served)
        assert cpu["dpcs"] >= max((queue["dpcs"] for queue in served), default=0)
        assert sum(queue["state"] == "running" for queue in served) <= cpu["queues"] <= len(served)


def without(document: Row, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def planned_as_the_contract_says(plan: str, frames: list[Frame]) -> None:
    """The paragraph of CONTRACT 4 about ``plan``, for captures of at most 4,096 destinations."""
    adapter = adapters_of(plan)["nic0"]
    assert adapter.max_frame_bytes == min(65535, max(1518, *(each.wire for each in frames)))
    good = [each for each in frames if not each.is_runt() and not each.is_oversize(adapter.max_frame_bytes)]
    can_be_tested = [each for each in good if not each.captured[0] & 1 and each.vid != 4095]
    destinations = {(each.mac, each.vid or "untagged") for each in can_be_tested if each.mac.strip("0:")}
    filters = list(adapter.filters.values())
    assert sorted(((test.mac, test.vlan) for _, test in filters), key=str) == sorted(destinations, key=str)
    macs = [{test.mac for queue, test in filters if queue == each} for each in adapter.queue_vms]
    assert all(len(each) == 1 for each in macs)
    assert len({mac for each in macs for mac in each}) == len(macs)
    counts = expect(frames, adapter).frames
    in_order = [counts[queue] for queue in sorted(adapter.queue_vms)]
    assert in_order == sorted(in_order, reverse=True)
