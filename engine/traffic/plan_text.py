"""Write a plan as a scenario file, with the reason for each decision as a comment."""

from engine.counted import counted
from engine.scenario.values import one_line
from engine.traffic.plan import Plan, QueueReason
from engine.traffic.plan_placement import MARGIN, MAX_BUFFER_BYTES, MAX_BUFFERS


def to_toml(planned: Plan, title: str = "") -> str:
    """Return the plan as TOML, which ``loads`` parses to its scenario; ``title`` is the first comment."""
    host, adapter = planned.scenario.host, planned.scenario.adapter[0]
    hardware = planned.hardware
    lines = [f"# {one_line(title)}"] if title else []
    lines += [
        *(f"# {sentence}" for sentence in _method(planned)),
        "",
        "[host]",
        *([f'name = "{host.name}"'] if hardware.host_name is not None else []),
        f"cpus = {host.cpus}",
        *(["hyperthreading = true"] if host.hyperthreading else []),
        *([f"numa_nodes = {host.numa_nodes}"] if host.numa_nodes > 1 else []),
        "",
        "[[adapter]]",
        f'name = "{adapter.name}"',
        f'ndis_version = "{adapter.ndis_version}"',
        f"link_gbps = {float(adapter.link_gbps)!r}",
        f"max_queues = {adapter.max_queues}",
        f"max_filters = {adapter.max_filters}",
        f"max_frame_bytes = {adapter.max_frame_bytes}  # the longest frame seen, at least 1518",
        *([f"buffers = {adapter.buffers}"] if adapter.buffers is not None else []),
        f"default_queue_buffers = {adapter.default_queue_buffers}"
        f"  # {planned.default_peak:,} of its frames would have waited at once",
        f"default_queue_cpu = {adapter.default_queue_cpu}",
        *([f"numa_node = {adapter.numa_node}"] if host.numa_nodes > 1 else []),
    ]
    for queue, reason in zip(adapter.queue, planned.reasons, strict=True):
        lines += [
            "",
            f"  [[adapter.queue]]  # {reason.load}",
            f'  name = "{queue.name}"',
            f'  vm = "{queue.vm}"',
            f"  cpu = {queue.cpu}  # {reason.share:.1%} of all work; placed as number {reason.place:,}",
            f"  buffers = {queue.buffers}  # {_waiting(reason)}",
        ]
        for spec, load in zip(queue.filter, reason.filters, strict=True):
            vlan = f'"{spec.vlan}"' if isinstance(spec.vlan, str) else spec.vlan
            lines += [
                f"    [[adapter.queue.filter]]  # {load}",
                f'    mac = "{spec.mac}"',
                f"    vlan = {vlan}",
            ]
    return "\n".join(lines) + "\n"


def _waiting(reason: QueueReason) -> str:
    if reason.peak is None:
        return "by its frames: too many destinations to follow the bursts of each"
    return f"{reason.peak:,} of its frames would have waited at once"


def _method(planned: Plan) -> list[str]:
    """Return sentences that explain the decisions, as lines."""
    host, adapter = planned.scenario.host, planned.scenario.adapter[0]
    shared = adapter.default_queue_cpu in planned.eligible
    shares = planned.processors.values()
    even = max(shares) * len(planned.processors) / (sum(shares) or 1.0)
    kinds = [
        *([f"those of NUMA node {adapter.numa_node}, where the adapter is"] if host.numa_nodes > 1 else []),
        *(["even ones, since 2k and 2k+1 share a core"] if host.hyperthreading else []),
    ]
    return [
        f"Queues: {len(adapter.queue):,}, one for each destination MAC, most frames first. Filters:"
        f" {sum(len(queue.filter) for queue in adapter.queue):,}.",
        "Processors: longest processing time first: the queue whose frames cost most is placed first, each",
        "with the processor that has least to do; what frames cost is by the defaults of [cpu].",
        *([f"Only {', and '.join(kinds)}."] if kinds else []),
        f"Shares of all work: {', '.join(f'{cpu}: {one:.1%}' for cpu, one in planned.processors.items())};"
        f" the busiest has {even:.2f}× the mean.",
        f"The default queue is on processor {adapter.default_queue_cpu}"
        f"{', and is placed first.' if shared else ', which is left to it and to the host.'}",
        f"Buffers: {MARGIN} times the frames that would have waited at once at a processor of its own, as a",
        "power of two, 16 to 4,096 (default queue: 64 to 8,192).",
        *(
            [
                "They were cut so that all fit"
                f" {counted(planned.hardware.max_buffers or MAX_BUFFERS, 'buffer')}"
                f" and {MAX_BUFFER_BYTES >> 20} MiB."
            ]
            if planned.buffers_bounded
            else []
        ),
        f"The default queue takes {planned.default_queue}.",
        *planned.notes,
    ]
