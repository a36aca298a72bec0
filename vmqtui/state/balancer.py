"""What there is to say of a host's balancer."""

from vmqtui.state.snapshot import Snapshot


def balancer_words(snapshot: Snapshot) -> str:
    """That it is on, and how many queues it has away from home; "" while it is off or not told of."""
    if snapshot.config is None or snapshot.config.balancer.get("mode", "off") == "off":
        return ""
    away = sum(row.home_cpu not in (None, row.cpu) for row in snapshot.queues)
    return f"balancer on, {away} away from home (⌂)" if away else "balancer on"
