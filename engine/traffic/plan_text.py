"""Write a plan as a scenario file, with the reason for each decision as a comment."""

from collections.abc import Callable
from typing import Final

from engine.counted import counted
from engine.scenario.model import AdapterSpec, QueueSpec
from engine.scenario.processor_set import SetLine
from engine.scenario.values import one_line
from engine.traffic.plan import Plan, QueueReason
from engine.traffic.plan_placement import MARGIN, MAX_BUFFER_BYTES, MAX_BUFFERS

WriteSet = Callable[[str, SetLine], str]
"""Returns the command for a real host that gives the adapter of this name a processor set."""


def to_toml(planned: Plan, title: str = "", write_set: WriteSet | None = None) -> str:
    """Return the plan as TOML, which ``loads`` parses to its scenario; ``title`` is the first comment.

    With ``write_set``, comments have the commands that give a real host's adapters their processor sets.
    """
    host = planned.scenario.host
    lines = [f"# {one_line(title)}"] if title else []
    lines += [f"# {sentence}" for sentence in (*_method(planned), *_commands(planned, write_set))]
    lines += [
        "",
        "[host]",
        *([f'name = "{host.name}"'] if planned.hardware.host_name is not None else []),
        f"cpus = {host.cpus}",
        *(["hyperthreading = true"] if host.hyperthreading else []),
        *([f"numa_nodes = {host.numa_nodes}"] if host.numa_nodes > 1 else []),
    ]
    reasons = iter(planned.reasons)
    for adapter in planned.scenario.adapter:
        lines += _adapter(planned, adapter)
        for queue in adapter.queue:
            lines += _queue(queue, next(reasons))
    for team in planned.scenario.team:
        members = ", ".join(map(_quoted, team.members))
        lines += [
            "",
            "[[team]]",
            f"name = {_quoted(team.name)}",
            f"members = [{members}]",
            f'mode = "{team.mode}"',
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _adapter(planned: Plan, adapter: AdapterSpec) -> list[str]:
    return [
        "",
        "[[adapter]]",
        f"name = {_quoted(adapter.name)}",
        *(
            [
                f'base_processor = "{adapter.base_processor}"',
                f'max_processor = "{adapter.max_processor}"',
                f"max_processors = {adapter.max_processors}",
            ]
            if adapter.base_processor is not None
            else []
        ),
        f'ndis_version = "{adapter.ndis_version}"',
        f"link_gbps = {float(adapter.link_gbps)!r}",
        f"max_queues = {adapter.max_queues}",
        f"max_filters = {adapter.max_filters}",
        f"max_frame_bytes = {adapter.max_frame_bytes}  # the longest frame seen, at least 1518",
        *([f"buffers = {adapter.buffers}"] if adapter.buffers is not None else []),
        f"default_queue_buffers = {adapter.default_queue_buffers}"
        f"  # {planned.default_peak:,} of its frames would have waited at once",
        f"default_queue_cpu = {adapter.default_queue_cpu}",
        *([f"numa_node = {adapter.numa_node}"] if planned.scenario.host.numa_nodes > 1 else []),
    ]


def _queue(queue: QueueSpec, reason: QueueReason) -> list[str]:
    lines = [
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
    return lines


def _waiting(reason: QueueReason) -> str:
    if reason.peak is None:
        return "by its frames: too many destinations to follow the bursts of each"
    return f"{reason.peak:,} of its frames would have waited at once"


_TEAM: Final = {
    "sum": [
        "Team in mode sum (switch independent with Hyper-V port or dynamic; SET): the ports' queues add up.",
        "A VM has its queue on one port, where its frames come in; ports share no processor (event 106).",
    ],
    "min": [
        "Team in mode min (static or LACP): a VM's frames come in on any port, so it has a queue on each, on",
        "the same processor, and all ports have the same set (event 106). Loads are those of the whole team.",
    ],
    "primary": [
        "Team in mode primary (switch independent, address hash): all frames come in on the first port, and",
        "on another when that fails, so each has the same queues and the same set (event 106).",
    ],
}


def _of_ports(planned: Plan) -> str:
    """Return the processors of the default queues, in words."""
    cpus = dict.fromkeys(adapter.default_queue_cpu for adapter in planned.scenario.adapter)
    if len(cpus) == 1:
        return f"is on processor {next(iter(cpus))}"
    return f"of each port is on a processor of the port's own ({', '.join(map(str, cpus))})"


def _commands(planned: Plan, write_set: WriteSet | None) -> list[str]:
    """Return the commands for a real host's processor sets, with their effect, as lines."""
    if write_set is None or len(planned.sets) != len(planned.scenario.adapter):
        return []
    several = len(planned.sets) > 1
    names = [adapter.name for adapter in planned.scenario.adapter]
    return [
        f"The same {'sets' if several else 'set'} on a Windows host (Get-NetAdapterVmq shows what is set now;"
        " a line",
        "moves all queues of its adapter and restarts it: VMs lose the network for seconds"
        f"{'; one port after the other' if several else ''}):",
        *(f"  {write_set(name, line)}" for name, line in zip(names, planned.sets, strict=True)),
    ]


def _method(planned: Plan) -> list[str]:
    """Return sentences that explain the decisions, as lines."""
    host, adapter = planned.scenario.host, planned.scenario.adapter[0]
    macs = {one.mac for each in planned.scenario.adapter for queue in each.queue for one in queue.filter}
    filters = sum(len(queue.filter) for each in planned.scenario.adapter for queue in each.queue)
    several = len(planned.scenario.adapter) > 1
    shared = adapter.default_queue_cpu in planned.eligible
    shares = planned.processors.values()
    even = max(shares) * len(planned.processors) / (sum(shares) or 1.0)
    kinds = [
        *([f"those of NUMA node {adapter.numa_node}, where the adapter is"] if host.numa_nodes > 1 else []),
        *(["even ones, since 2k and 2k+1 share a core"] if host.hyperthreading else []),
    ]
    return [
        f"Queues: {len(planned.reasons):,}, one for each destination MAC"
        f"{f' ({len(macs):,}) on each port' if several and planned.hardware.parts == 1 else ''}, most frames"
        f" first. Filters: {filters:,}.",
        *_TEAM.get(planned.hardware.team or "", []),
        "Processors: longest processing time first: the queue whose frames cost most is placed first, each",
        "with the processor that has least to do; what frames cost is by the defaults of [cpu].",
        *([f"Only {', and '.join(kinds)}."] if kinds else []),
        f"Shares of all work: {', '.join(f'{cpu}: {one:.1%}' for cpu, one in planned.processors.items())};"
        f" the busiest has {even:.2f}× the mean.",
        f"The default queue {_of_ports(planned)}"
        f"{', and is placed first.' if shared else ', which is left to it and to the host.'}",
        f"Buffers: {MARGIN} times the frames that would have waited at once at a processor of its own, as a",
        "power of two, 16 to 4,096 (default queue: 64 to 8,192).",
        *(
            [
                "They were cut so that all fit"
                f" {counted(planned.hardware.max_buffers or MAX_BUFFERS, 'buffer')}"
                f"{' a port' if several else ''} and {MAX_BUFFER_BYTES >> 20} MiB in all."
            ]
            if planned.buffers_bounded
            else []
        ),
        f"The default queue takes {planned.default_queue}.",
        *planned.notes,
    ]
