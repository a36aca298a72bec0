"""Contract rule 1 and the default queue's reasons as a plain ordered scan, sharing nothing with kernels."""

from dataclasses import dataclass, field


@dataclass
class RefQueue:
    """A queue and its filters, (filter id, MAC, VLAN test)."""

    queue_id: int
    running: bool
    filters: list[tuple[int, bytes, int | str | None]] = field(default_factory=list)


@dataclass
class Verdict:
    """What became of a frame: ``error``, or a queue, the filter credited, the reason, whether a port fits."""

    error: str | None = None
    queue: int = 0
    filter: int | None = None
    reason: str | None = None
    has_port: bool = False


def passes(test: int | str | None, vid: int | None) -> bool:
    """Whether a VLAN test passes a frame's VID (None: untagged)."""
    if test is None:
        return True
    if test == "untagged":
        return vid is None or vid == 0
    return vid == test


def steer(
    frame: bytes, wire: int, queues: list[RefQueue], ports: list[tuple[bytes, int | str | None]], longest: int
) -> Verdict:
    """Steer one frame by scanning every queue and filter in order."""
    if len(frame) < 14 or (frame[12:14] == b"\x81\x00" and len(frame) < 16):
        return Verdict(error="runt")
    if wire > longest or len(frame) > longest:
        return Verdict(error="oversize")
    mac = frame[0:6]
    vid = int.from_bytes(frame[14:16], "big") & 0xFFF if frame[12:14] == b"\x81\x00" else None
    has_port = any(mac == port and passes(test, vid) for port, test in ports)
    for queue in sorted(queues, key=lambda one: one.queue_id):
        if not queue.running or queue.queue_id == 0:
            continue
        credited = [f for f, m, test in sorted(queue.filters) if m == mac and passes(test, vid)]
        if credited:
            return Verdict(queue=queue.queue_id, filter=credited[0], has_port=has_port)
    own = [
        f
        for queue in queues
        if queue.queue_id == 0
        for f, m, test in sorted(queue.filters)
        if m == mac and passes(test, vid)
    ]
    known = {m for q in queues if q.queue_id != 0 for _, m, _ in q.filters} | {port for port, _ in ports}
    if mac == b"\xff" * 6:
        reason = "broadcast"
    elif mac[0] & 1:
        reason = "multicast"
    elif has_port:
        reason = "no_queue"
    elif mac in known:
        reason = "vlan_mismatch"
    else:
        reason = "unknown_unicast"
    return Verdict(filter=min(own, default=None), reason=reason, has_port=has_port)
