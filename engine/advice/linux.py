"""Advice for a Linux host: where its rings may go, and what its administrator types or looks at.

A line is printed only where it is certain. The interrupt of a ring has no number that every driver tells, so
moving one is described, not printed. ``ethtool -G`` and ``-g`` are those of ethtool(8), ``smp_affinity_list``
is that of the kernel's "SMP IRQ affinity".
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.room import resize
from engine.view.rows import QueueView

_MOST_RING: Final = 4096
"""No larger ring is proposed: the largest of many drivers."""
_GROWTH: Final = 4
_MOST_NAMED: Final = 16
_NAMED: Final = 4


def note(text: str) -> str:
    """Return a comment line. It must not hold a name from outside, which could contain a line break."""
    return f"# {text}"


def interrupts(adapter: str, functions: Sequence[str] = ()) -> list[str]:
    """Show the interrupts of an adapter's rings and virtual functions; virtio has the names of its device."""
    names = " ".join(f"-e {shlex.quote(name)}" for name in dict.fromkeys([adapter, *functions]))
    return [f"grep {names} -e virtio /proc/interrupts"]


def affinity(adapter: str, moves: Sequence[tuple[QueueView, int]]) -> list[str]:
    """Return how rings, and functions whose interface this machine has, get to processors."""
    if not moves:
        return interrupts(adapter)
    shown = moves[:_MOST_NAMED]
    return [
        note("Each ring has an interrupt: N is the number at the start of its row."),
        *interrupts(adapter, [queue.vm for queue, _ in shown if queue.vm is not None]),
        *(
            note(
                f"Queue {queue.queue_id} to processor {cpu}: "
                f"echo {cpu} > /proc/irq/N/smp_affinity_list (as root)"
            )
            for queue, cpu in shown
        ),
        *([note(f"… and {len(moves) - _MOST_NAMED} more")] if len(moves) > _MOST_NAMED else []),
        note("To take it back: write what cat /proc/irq/N/smp_affinity_list showed before."),
        note("Where irqbalance runs it moves them again, unless it was started with --banirq=N for each."),
    ]


def ring_size(adapter: str, size: int) -> list[str]:
    """Return the lines that set the receive descriptors of each of an adapter's rings."""
    name = shlex.quote(adapter)
    return [
        note('Reaches all rings. The most that the driver takes is under "Pre-set maximums".'),
        f"ethtool -g {name}",
        note("Many drivers restart the adapter for this: it receives nothing for a moment."),
        note("To take it back: set the RX that was shown before."),
        f"ethtool -G {name} rx {size}",
        note("Check:"),
        f"ethtool -g {name}",
    ]


def rings(adapter: str) -> list[str]:
    """Show how many rings an adapter has, and how it spreads flows over them."""
    name = shlex.quote(adapter)
    about = note("How many rings there are, and how flows are spread over them:")
    return [about, f"ethtool -l {name}", f"ethtool -x {name}"]


def _to_look(finding: Finding, fix: str, commands: list[str]) -> Finding:
    """Return a finding whose fix is to look: it changes nothing, so the model has nothing to try."""
    return msgspec.structs.replace(
        finding, fix=fix, commands=commands, requests=[], after=None, estimated=False
    )


def _one_queue(finding: Finding, evidence: Evidence) -> Finding:
    device = finding.vm or finding.adapter  # the function's own interface has its rings
    return _to_look(
        finding,
        "One ring is one processor's: look whether more rings, or another spread of flows over them, "
        "would help. A single flow stays on one ring",
        rings(device),
    )


def _spread(finding: Finding, evidence: Evidence) -> Finding:
    """Return a finding whose fix moves rings; the lines are those of ``affinity``."""
    moves = [
        f"queue {one.params['queue_id']} to processor {evidence.processors.name(one.params['cpu'])}"
        for one in finding.requests
        if one.op == "set_queue_parameters"
    ]
    more = f", and {len(moves) - _NAMED} more" if len(moves) > _NAMED else ""
    fix = f"Let other processors serve the interrupts of its rings: {', '.join(moves[:_NAMED])}{more}"
    return msgspec.structs.replace(finding, fix=fix) if moves else finding


def _numa(finding: Finding, evidence: Evidence) -> Finding:
    cause = "A processor of another node reaches the adapter and its rings over the link between them, which "
    return msgspec.structs.replace(_spread(finding, evidence), cause=cause + "takes longer and varies.")


def _full(finding: Finding, evidence: Evidence) -> Finding:
    if finding.requests:
        return _spread(finding, evidence)
    return msgspec.structs.replace(
        finding,
        fix="Look how flows are spread over the rings: the processors that serve them have no time left"
        if finding.key == "all"
        else "Look whether more rings, or another spread of flows over them, would help",
        commands=rings(finding.adapter),
    )


def _few_buffers(finding: Finding, evidence: Evidence) -> Finding:
    if finding.vm is not None:
        return msgspec.structs.replace(
            finding,
            fix="Look at the guest that has this virtual function: whether it runs, how large its ring is",
            requests=[],
            commands=[f"ip -details link show dev {shlex.quote(finding.adapter)}"],
            cause="The function's guest does not take its frames in time, or they come in bursts larger than "
            "its ring.",
        )
    total = finding.numbers.get("total_buffers")
    size = min(_GROWTH * total, _MOST_RING) if isinstance(total, int) else 0
    larger = isinstance(total, int) and size > total
    adapter = evidence.by_name[finding.adapter]
    sizes = [resize(adapter, one, size) for one in adapter.queues if larger and one.vm is None]
    return msgspec.structs.replace(
        finding,
        requests=sizes,
        fix=f"Give its ring {size:,} descriptors, or as many as the driver takes"
        if larger
        else "Its ring is large already: look for what lets its processor come late",
        commands=ring_size(finding.adapter, size)
        if larger
        else [f"ethtool -g {shlex.quote(finding.adapter)}"],
        cause="Frames come in bursts larger than the ring, or its processor comes late; on the whole it has "
        "time, so a larger ring would bridge it.",
    )


def _churn(finding: Finding, evidence: Evidence) -> Finding:
    return _to_look(
        finding,
        "Look for what moves its interrupt (irqbalance, as a rule), and let it stay",
        [
            *interrupts(finding.adapter),
            note("irqbalance leaves interrupt N alone if it is started with --banirq=N."),
            "systemctl status irqbalance",
        ],
    )


def _near_miss(finding: Finding, evidence: Evidence) -> Finding:
    return _to_look(
        finding,
        "Look at the switch port outside, then at the VLAN of the virtual function",
        [
            note("ip link set dev … vf N vlan V replaces the VLAN of a virtual function."),
            f"ip -details link show dev {shlex.quote(finding.adapter)}",
        ],
    )


def _slow_link(finding: Finding, evidence: Evidence) -> Finding:
    name = shlex.quote(finding.adapter)
    return msgspec.structs.replace(finding, commands=[f"ethtool {name}", f"ethtool -i {name}"])


_TOLD: Final[Mapping[str, Callable[[Finding, Evidence], Finding]]] = {
    "piled-queues": _spread,
    "numa-span": _numa,
    "one-queue-one-processor": _one_queue,
    "full-processor": _full,
    "too-few-buffers": _few_buffers,
    "affinity-churn": _churn,
    "near-miss-vlan": _near_miss,
    "slow-link": _slow_link,
}


def told(finding: Finding, evidence: Evidence) -> Finding:
    """Return a finding with the words and lines of Linux, if its host runs that."""
    if not evidence.is_linux or finding.rule not in _TOLD:
        return finding
    return _TOLD[finding.rule](finding, evidence)
