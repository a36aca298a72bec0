"""Rules about receive buffers, and about slow links."""

from collections.abc import Iterator

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Request
from engine.advice.needs import BUFFERS, BUSY, FRAMES, HELD, LINK, PLACE, PORT, SHORTAGE, WANTED
from engine.advice.room import buffers_from, resize, shared_buffers
from engine.advice.rules.moves import swings
from engine.advice.thresholds import AdviceThresholds
from engine.counted import counted
from engine.scenario.values import MAX_BUFFERS
from engine.view.adapter import AdapterView
from engine.view.rows import QueueView

_GROWTH_OF_DROPPING = 8
"""Growth factor for a queue that drops: counters don't show the size of a burst, so the fix is generous."""


def drops_pps(evidence: Evidence, finding: Finding) -> float | None:
    """Return the frames per second that the finding's queue drops without a free buffer."""
    queue = evidence.queue(finding.adapter, finding.queue_id)
    return queue.rate("dropped_no_buffer") if queue else None


def vm_paused(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a paused VM that gets frames: it returns no buffers, so its queue runs out of them."""
    for adapter in evidence.adapters:
        for queue in adapter.of_vms:
            vm = queue.vm
            if not queue.known.vm_paused or vm is None or queue.known_pps < thresholds.idle_pps:
                continue
            if queue.state != "running":
                continue
            drops = queue.rate("dropped_no_buffer")
            yield Finding(
                rule="vm-paused",
                severity="bad" if drops else "warn",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{vm} is paused and holds the buffers of {queue.called}, and frames come",
                numbers={
                    "pps": queue.known_pps,
                    "drops_pps": drops,
                    "outstanding": queue.count("outstanding"),
                    "total_buffers": queue.count("total_buffers"),
                },
                cause="A VM that does not run returns no buffers; when it has all of them, every frame is "
                "dropped (low-resource receive).",
                fix=f"Resume {vm}",
                requests=[Request(op="resume_vm", params={"adapter": adapter.name, "vm": vm})],
                commands=powershell.resume(vm),
                measure="frames dropped for want of a buffer",
                value=drops,
                queue_id=queue.queue_id,
                vm=vm,
            )


def too_few(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue that ran short of buffers on a processor with time: bursts exceed its buffers."""
    swinging = swings(evidence, thresholds)
    for adapter in evidence.adapters:
        short = [
            one
            for one in adapter.queues
            if one.known.cpu not in swinging  # else its processor was full at the time of the drops
            and _ran_short(evidence, one, thresholds)
        ]
        short.sort(key=lambda one: -(one.rate("dropped_no_buffer") or 0.0))
        wanted = {one.queue_id: _wanted(one) for one in short}
        shares, most = shared_buffers(adapter, wanted), _most_set(adapter)
        for queue in short:
            more, requests = shares[queue.queue_id]
            if adapter.buffers_left is None:  # then the adapter itself refuses what it can't give
                more, requests = wanted[queue.queue_id], []
            yield _too_few(evidence, adapter, queue, more, requests, most)


def _ran_short(evidence: Evidence, queue: QueueView, thresholds: AdviceThresholds) -> bool:
    total, low, drops = queue.count("total_buffers"), _low(queue), queue.rate("dropped_no_buffer")
    if not total or low is None or low > thresholds.low_buffers_share * total:
        return False
    cpu = evidence.serving(queue)
    busy = cpu is None or cpu.load is None or cpu.load >= thresholds.busy_load
    if busy or queue.known.vm_paused or queue.state != "running":
        return False
    # Without drops the shortage may be an old one, because the gauge keeps its minimum.
    return bool(drops) or queue.fell("low_free_buffers")


def _low(queue: QueueView) -> int | None:
    """Return the fewest buffers that a queue had free: none where it dropped frames for want of one."""
    low = queue.count("low_free_buffers")
    return 0 if low is None and queue.rate("dropped_no_buffer") else low


def _wanted(queue: QueueView) -> int:
    """Return how many more buffers a queue that ran short wants."""
    total = queue.count("total_buffers") or 0
    growth = _GROWTH_OF_DROPPING if queue.rate("dropped_no_buffer") else 2
    return max(0, min(growth * total, MAX_BUFFERS) - total)


def _most_set(adapter: AdapterView) -> int:
    """Return the most buffers that a queue of an adapter has: ``*ReceiveBuffers`` is at least that."""
    return max((one.count("total_buffers") or 0 for one in adapter.queues), default=0)


def _why_short(queue: QueueView) -> str:
    """Return why a queue ran short of buffers, by how long its VM keeps them."""
    delay, pps, total = queue.known.return_delay_us, queue.pps, queue.count("total_buffers")
    if delay is None:
        return "Frames come in bursts larger than the queue, or the VM keeps their buffers long"
    if not delay:
        return "Frames come in bursts larger than the queue: its VM returns a buffer at once"
    keeps = f"Its VM returns a buffer {delay:,} µs after it got it"
    if pps is None or total is None:
        return f"{keeps}, and frames come in bursts larger than what is left of the queue"
    kept = round(pps * delay / 1e6)
    needs = f"{keeps}: {pps:,.0f} frames/s keep {counted(kept, 'buffer')} there, and the queue has {total:,}"
    return needs if kept >= total else f"{needs}; bursts take the rest"


def _too_few(
    evidence: Evidence, adapter: AdapterView, queue: QueueView, more: int, requests: list[Request], most: int
) -> Finding:
    total, low = queue.count("total_buffers") or 0, _low(queue) or 0
    drops, cpu = queue.rate("dropped_no_buffer"), evidence.serving(queue)
    return Finding(
        rule="too-few-buffers",
        severity="bad" if drops else "warn",
        adapter=adapter.name,
        key=queue.key,
        where=queue.called,
        says=f"{queue.called} had {low:,} of its {counted(total, 'buffer')} free at its worst"
        + (", and dropped frames" if drops else ""),
        numbers={
            "total_buffers": total,
            "low_free_buffers": low,
            "drops_pps": drops,
            "load": cpu.load if cpu else None,
            "buffers_in_no_queue": adapter.buffers_left,
        },
        cause=f"{_why_short(queue)}; the processor has time, so more buffers would bridge it.",
        fix=f"Give it {counted(total + more, 'buffer')}" if more else "The adapter has none to give",
        requests=[*requests, resize(adapter, queue, total + more)] if more else requests,
        commands=powershell.receive_buffers(adapter.name, max(total + more, most)) if more else [],
        measure="frames dropped for want of a buffer",
        value=drops,
        queue_id=queue.queue_id,
        vm=queue.vm,
    )


def fewer_than_suggested(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue that got fewer buffers than it suggested."""
    for adapter in evidence.adapters:
        most = _most_set(adapter)
        for queue in adapter.queues:
            total, wanted = queue.count("total_buffers"), queue.known.buffers
            if not total or wanted is None or total >= wanted or queue.state not in ("running", "paused"):
                continue
            more, requests = buffers_from(adapter, wanted - total, without=queue.queue_id)
            requests.append(resize(adapter, queue, total + more))
            drops = queue.rate("dropped_no_buffer")
            yield Finding(
                rule="fewer-than-suggested",
                severity="bad" if drops else "note",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{queue.called} suggested {counted(wanted, 'buffer')} and got {total:,}",
                numbers={
                    "suggested_buffers": wanted,
                    "total_buffers": total,
                    "low_free_buffers": queue.count("low_free_buffers"),
                    "drops_pps": drops,
                },
                cause="The adapter had too few left when the batch was completed, and shared them out.",
                fix=f"Take {more} from queues that never used theirs"
                if more
                else "No queue has any to spare: suggest what it has",
                requests=requests,
                commands=powershell.receive_buffers(adapter.name, max(wanted, most)),
                measure="receive buffers it has",
                value=float(total),
                after=float(total + more),
                estimated=True,
                queue_id=queue.queue_id,
                vm=queue.vm,
            )


def _total(evidence: Evidence, finding: Finding) -> float | None:
    queue = evidence.queue(finding.adapter, finding.queue_id)
    count = queue.count("total_buffers") if queue else None
    return None if count is None else float(count)


def slow_link(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a full link below ``slow_link_gbps``."""
    for adapter in evidence.adapters:
        gbps, use = adapter.known.link_gbps, _use(evidence, adapter.name)
        if gbps is None or use is None:
            continue
        if gbps >= thresholds.slow_link_gbps or use < thresholds.busy_load:
            continue
        yield Finding(
            rule="slow-link",
            severity="warn",
            adapter=adapter.name,
            key="link",
            where=adapter.name,
            says=f"{adapter.name} has a link of {gbps:g} Gbit/s, which is full",
            numbers={"link_gbps": gbps, "link_use": use},
            cause="Frames wait for the wire, not for a processor: below 10 Gbit/s one processor can usually "
            "serve the whole link, so queues do not help.",
            fix=f"Use a link of {thresholds.slow_link_gbps:g} Gbit/s",
            requests=[
                Request(
                    op="set_adapter",
                    params={"adapter": adapter.name, "link_gbps": thresholds.slow_link_gbps},
                )
            ],
            commands=powershell.link(adapter.name),
            measure="share of the link in use",
            value=use,
            after=None,
            estimated=True,
        )


def vmq_on_slow_link(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report queues of VMs on a link below ``slow_link_gbps`` with room: Windows leaves VMQ off there."""
    for adapter in evidence.adapters:
        gbps, use, queues = adapter.known.link_gbps, _use(evidence, adapter.name), len(adapter.of_vms)
        full = use is not None and use >= thresholds.busy_load
        if gbps is None or gbps >= thresholds.slow_link_gbps or full or not queues:
            continue
        yield Finding(
            rule="vmq-on-slow-link",
            severity="note",
            adapter=adapter.name,
            key="vmq",
            where=adapter.name,
            says=f"{adapter.name} has a link of {gbps:g} Gbit/s, and {counted(queues, 'queue')} of VMs",
            numbers={"link_gbps": gbps, "link_use": use, "queues": queues},
            cause="Below 10 Gbit/s one processor can usually serve the whole link: Microsoft sees no reason "
            "for VMQ there and leaves it off, and with some drivers VMs lose the network with it on.",
            fix="Leave VMQ off there; where VMs lose the network, update the driver or turn it off",
            requests=[Request(op="set_adapter", params={"adapter": adapter.name, "vmq": False})],
            commands=powershell.vmq_off(adapter.name),
            measure="queues of VMs on the link",
            value=float(queues),
            after=0.0,
            estimated=True,
        )


def _queues_on(evidence: Evidence, finding: Finding) -> float | None:
    adapter = evidence.by_name.get(finding.adapter)
    return None if adapter is None else float(len(adapter.of_vms))


def _use(evidence: Evidence, adapter: str) -> float | None:
    """Return the used share of a link, including 20 bytes of preamble and gap per frame; None if unknown."""
    seen = evidence.by_name.get(adapter)
    if seen is None:
        return None
    size, frames = seen.port.rate("offered_bytes", 0), seen.port.rate("offered_frames", 0)
    gbps = seen.known.link_gbps
    if size is None or frames is None or not gbps:
        return None
    return min(1.0, (size + 20 * frames) * 8e-9 / gbps)


_OF_QUEUES = (
    *("shared-with-default", "piled-queues", "one-queue-one-processor", "odd-processors", "numa-span"),
    *("full-processor", "affinity-churn", "balancer-off", "load-swings"),
    *("team-overlap", "team-differs", "sets-overlap"),
    *("vm-without-queue", "more-vms-than-queues", "idle-queue-held"),
    *("never-completed", "paused-queue", "missing-filter", "shadowed-filter"),
)
"""Rules whose problem is one of VMs' queues, of which there is none where VMQ is off."""

RULES = (
    Rule(
        "vm-paused",
        "A paused VM holds the buffers",
        "low-resource drops",
        (8,),
        vm_paused,
        drops_pps,
        "frames/s",
        thresholds=("idle_pps",),
        needs=(HELD, FRAMES),
    ),
    Rule(
        "too-few-buffers",
        "Too few buffers for the bursts",
        "low-resource drops",
        (8,),
        too_few,
        drops_pps,
        "frames/s",
        thresholds=("low_buffers_share", "busy_load"),
        needs=(BUSY, SHORTAGE, BUFFERS, PLACE),
        on_linux=True,
    ),
    Rule(
        "fewer-than-suggested",
        "Fewer buffers than suggested",
        "low-resource drops",
        (8,),
        fewer_than_suggested,
        _total,
        "buffers",
        "higher",
        needs=(WANTED, BUFFERS),
    ),
    Rule(
        "slow-link",
        "A full link below 10 Gbit/s",
        "slow, although no processor is busy",
        (1,),
        slow_link,
        lambda evidence, finding: _use(evidence, finding.adapter),
        "share",
        thresholds=("slow_link_gbps", "busy_load"),
        needs=(LINK, PORT),
        on_linux=True,
    ),
    Rule(
        "vmq-on-slow-link",
        "VMQ on a link below 10 Gbit/s",
        "queues that nobody uses; VMs that lose the network",
        (1,),
        vmq_on_slow_link,
        _queues_on,
        "queues",
        thresholds=("slow_link_gbps", "busy_load"),
        needs=(LINK, PORT),
        moots=_OF_QUEUES,
    ),
)
