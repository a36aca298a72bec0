"""Rules about the states of queues: allocated and never completed, paused, freeing."""

from collections.abc import Iterator

from engine.advice import powershell
from engine.advice.evidence import Evidence, Rule
from engine.advice.finding import Finding, Request
from engine.advice.needs import PAIRS, WANTED
from engine.advice.room import buffers_from, resize
from engine.advice.rules.unserved import FEWEST_BUFFERS, pair_pps
from engine.advice.thresholds import AdviceThresholds

_NO_LINE = (
    "No documented line allocates a queue again or sets its filters. Look at queues, weights and usage:"
)


def never_completed(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue whose allocation was never completed: it has no buffers and takes no frames."""
    for adapter in evidence.adapters:
        for queue in adapter.of_vms:
            wanted = queue.known.buffers
            if queue.state not in ("allocated", "set") or wanted is None:
                continue
            since_ns = evidence.trace.uncompleted_since.get((adapter.name, queue.queue_id, queue.generation))
            waited_s = _waited_s(evidence, since_ns)
            # If since_ns is 0, the scenario itself left the queue incomplete: no request to wait for.
            if since_ns and waited_s is not None and waited_s < thresholds.uncompleted_s:
                continue
            left = adapter.buffers_left or 0
            buffers, requests = buffers_from(adapter, wanted, without=queue.queue_id)
            if FEWEST_BUFFERS <= buffers < wanted:
                requests.append(resize(adapter, queue, buffers))
            if buffers >= min(FEWEST_BUFFERS, wanted):
                requests.append(
                    Request(
                        op="complete_allocation",
                        params={"adapter": adapter.name, "queue_ids": [queue.queue_id]},
                    )
                )
            vm = queue.vm or queue.known.name
            yield Finding(
                rule="never-completed",
                severity="warn",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{queue.called} is {queue.state}: its allocation was never completed",
                numbers={
                    "waited_s": waited_s,
                    "suggested_buffers": wanted,
                    "buffers_left": left,
                    "filters": len(queue.filters),
                },
                cause="Completion gives a queue its buffers. With less than half of what it suggested left "
                "on the adapter it fails (NDIS_STATUS_RESOURCES), and the VM's frames stay in queue 0."
                if left < wanted
                else "Nobody asked to complete it; until then it has no buffers, and the VM's frames stay in "
                "queue 0.",
                fix="Set buffers free that others never used, and complete it"
                if left < wanted
                else "Complete it",
                requests=requests if requests and requests[-1].op == "complete_allocation" else [],
                commands=[
                    powershell.note(_NO_LINE),
                    powershell.queues_of(adapter.name),
                    powershell.show_vm(vm),
                ],
                measure="receive buffers it has",
                value=float(queue.count("total_buffers") or 0),
                after=float(min(buffers, wanted)) if requests else None,
                estimated=True,
                queue_id=queue.queue_id,
                vm=queue.vm,
            )


def _waited_s(evidence: Evidence, since_ns: int | None) -> float | None:
    return None if since_ns is None else (evidence.stats.sim_time_ns - since_ns) / 1e9


def _total_buffers(evidence: Evidence, finding: Finding) -> float | None:
    queue = evidence.queue(finding.adapter, finding.queue_id)
    count = queue.count("total_buffers") if queue else None
    return None if count is None else float(count)


def paused_queue(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a paused queue (one without filters) while the default queue gets frames for its VM."""
    for adapter in evidence.adapters:
        for queue in adapter.of_vms:
            if queue.state != "paused" or queue.vm is None:
                continue
            pairs = [
                one
                for one in adapter.pairs
                if one.reason == "no_queue"
                and one.port_vm == queue.vm
                and one.least_pps >= thresholds.stray_pps
            ]
            if not pairs:
                continue
            first = max(pairs, key=lambda one: one.least_pps)
            yield Finding(
                rule="paused-queue",
                severity="warn",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{queue.called} is paused, without a filter, and frames for its VM come",
                numbers={
                    "pps": sum(one.least_pps for one in pairs),
                    "buffers": queue.count("total_buffers"),
                    "mac": first.mac,
                    "vlan": first.vlan,
                },
                cause="Its last filter was cleared, or none was ever set, so no frame can find it; its "
                "buffers lie idle.",
                fix="Set the filters of its VM on it",
                requests=[
                    Request(
                        op="set_filter",
                        params={
                            "adapter": adapter.name,
                            "queue_id": queue.queue_id,
                            "mac": one.mac,
                            "vlan": one.vlan,
                        },
                    )
                    for one in pairs
                ],
                commands=[
                    powershell.note(_NO_LINE),
                    powershell.queues_of(adapter.name),
                    powershell.show_vm(queue.vm),
                ],
                measure="its VM's frames in the default queue",
                value=first.least_pps,
                after=0.0,
                estimated=True,
                queue_id=queue.queue_id,
                vm=queue.vm,
                mac=first.mac,
                vlan=first.vlan,
            )


def free_pending(evidence: Evidence, thresholds: AdviceThresholds) -> Iterator[Finding]:
    """Report a queue whose free waits for buffers that its VM does not return."""
    for adapter in evidence.adapters:
        for queue in adapter.of_vms:
            if queue.state not in ("dma_stopped", "freeing"):
                continue
            key = (adapter.name, queue.queue_id, queue.generation)
            waited_s = _waited_s(evidence, evidence.trace.freeing_since.get(key))
            if waited_s is not None and waited_s < thresholds.free_pending_s:
                continue
            vm, held = queue.vm, queue.count("outstanding")
            paused = None if evidence.is_measured else queue.known.vm_paused  # a real host does not tell
            holder = vm or "its VM"
            op = "resume_vm" if paused else "remove_vm"
            yield Finding(
                rule="free-pending",
                severity="warn",
                adapter=adapter.name,
                key=queue.key,
                where=queue.called,
                says=f"{queue.called} is freeing and waits for {holder}, which holds its buffers",
                numbers={
                    "outstanding": held,
                    "waited_s": waited_s,
                    "vm_paused": None if paused is None else "yes" if paused else "no",
                },
                cause=f"A queue is gone only when its last buffer has come back, and {holder} "
                + ("is paused, so it returns none." if paused else "does not return them."),
                fix=_FREE_ITS_BUFFERS[paused].format(holder),
                requests=[Request(op=op, params={"adapter": adapter.name, "vm": vm})]
                if vm and paused is not None
                else [],
                commands=[]
                if vm is None
                else [powershell.show_state(vm)]
                if paused is None
                else powershell.resume(vm)
                if paused
                else powershell.shut_down(vm),
                measure="buffers it waits for",
                value=None if held is None else float(held),
                after=0.0 if vm and paused is not None else None,
                estimated=True,
                queue_id=queue.queue_id,
                vm=vm,
            )


_FREE_ITS_BUFFERS = {
    True: "Resume {}, which then returns them",
    False: "Tear {} down",
    None: "Look whether {} is paused: resumed, it returns them",
}
"""What frees the buffers that a VM holds, by whether it is paused; None: not known."""


def _held(evidence: Evidence, finding: Finding) -> float | None:
    if finding.adapter not in evidence.by_name:
        return None
    queue = evidence.queue(finding.adapter, finding.queue_id)
    if queue is None or queue.state not in ("dma_stopped", "freeing"):
        return 0.0  # the free has completed
    count = queue.count("outstanding")
    return None if count is None else float(count)


RULES = (
    Rule(
        "never-completed",
        "An allocation was never completed",
        "a VM has a queue, and its frames reach the default queue",
        (2, 8),
        never_completed,
        _total_buffers,
        "buffers",
        "higher",
        thresholds=("uncompleted_s",),
        needs=(WANTED,),
    ),
    Rule(
        "paused-queue",
        "A paused queue, and frames for its VM",
        "a VM has a queue, and its frames reach the default queue",
        (7,),
        paused_queue,
        pair_pps,
        "frames/s",
        thresholds=("stray_pps",),
        needs=(PAIRS,),
    ),
    Rule(
        "free-pending",
        "A free that does not complete",
        "a free that never completes",
        (9,),
        free_pending,
        _held,
        "buffers",
        thresholds=("free_pending_s",),
    ),
)
