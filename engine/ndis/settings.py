"""What a running adapter lets itself be changed: the request ``set_adapter``."""

from typing import Final

import msgspec

from engine.counted import counted
from engine.ndis.adapter import Adapter
from engine.ndis.effects import Effect, Observe, SetLink
from engine.ndis.outcome import Outcome, done
from engine.ndis.queue import key_in_words, vlan_of
from engine.ndis.statuses import invalid

CHANGEABLE: Final = ("link_gbps", "max_queues", "max_filters", "vlan_filtering")
"""Keys of ``[[adapter]]`` that are not fixed while the engine runs."""


def set_adapter(
    adapter: Adapter,
    observe: Observe,
    driver: str,
    *,
    link_gbps: float | None = None,
    max_queues: int | None = None,
    max_filters: int | None = None,
    vlan_filtering: bool | None = None,
) -> Outcome:
    """Change an adapter's link speed, its limits within its memory, or whether it filters VLANs."""
    wanted = {
        "link_gbps": link_gbps,
        "max_queues": max_queues,
        "max_filters": max_filters,
        "vlan_filtering": vlan_filtering,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    if not given:
        raise invalid(f"params: nothing to change ({', '.join(CHANGEABLE)} fit)")
    if max_queues is not None:
        _check_limit("max_queues", max_queues, len(adapter.queues) - 1, adapter.started.max_queues)
    if max_filters is not None:
        _check_limit("max_filters", max_filters, len(adapter.filters), adapter.started.max_filters)
    if vlan_filtering is False:
        _check_no_vlan_number(adapter)
    before = adapter.spec
    spec = adapter.spec = msgspec.structs.replace(before, **given)
    words = {
        "link_gbps": f"has a link of {spec.link_gbps:.12g} Gbit/s",
        "max_queues": f"has {counted(spec.max_queues, 'queue')}",
        "max_filters": f"has {counted(spec.max_filters, 'filter')}",
        "vlan_filtering": f"has VLAN filtering {'on' if spec.vlan_filtering else 'off'}",
    }
    changes = [words[key] for key in CHANGEABLE if getattr(spec, key) != getattr(before, key)]
    effects: list[Effect] = []
    if spec.link_gbps != before.link_gbps:
        effects.append(SetLink(adapter.index, spec.link_gbps))
    what = " and ".join(changes) or "is as it was"
    return done(f"{adapter.title} {what}", effects=effects, changed=bool(changes))


def _check_limit(key: str, value: int, in_use: int, most: int) -> None:
    """Memory is sized at the start, and what is in use stays."""
    if value < in_use:
        raise invalid(f"{key}: {value} is less than the {in_use} in use ({in_use}..{most} fits)")
    if value > most:
        raise invalid(f"{key}: {value} is more than the engine was started with ({in_use}..{most} fits)")


def _check_no_vlan_number(adapter: Adapter) -> None:
    numbered = [one for _, one in sorted(adapter.filters.items()) if isinstance(vlan_of(one.key), int)]
    if numbered:
        first = numbered[0]
        others = f", and {len(numbered) - 1} more with a VLAN number" if len(numbered) > 1 else ""
        raise invalid(
            f"vlan_filtering: false does not fit while filter {first.filter_id} ({key_in_words(first.key)})"
            f" of queue {first.queue_id} is set{others} (true fits, or clear_filter first)"
        )
