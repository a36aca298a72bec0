"""Settings of a running host and the requests that change them: adapter limits, traffic, balancer.

``engine.balance`` decides when the balancer moves which queues.
"""

from typing import Any, Literal

import msgspec

from engine.counted import counted, noun
from engine.ndis.adapter import Adapter
from engine.ndis.effects import (
    Effect,
    Indication,
    Observe,
    SetBalancer,
    SetLink,
    SetTraffic,
    change,
    changed_by,
)
from engine.ndis.outcome import NdisError, NdisStatus, Outcome, answer, done, invalid
from engine.ndis.queue import key_in_words, vlan_of
from engine.ndis.vm_requests import free_all_queues
from engine.scenario.keys import keys_of
from engine.scenario.load import ScenarioError, dotted, read_balancer, read_traffic
from engine.scenario.model import CHANGEABLE, SET_KEYS, BalancerSpec, TrafficSpec
from engine.scenario.relations import MisfitError, check_set

_NAMED = 3


def set_adapter(adapter: Adapter, observe: Observe, driver: str, **given: Any) -> Outcome:
    """Change keys of an adapter that are in ``CHANGEABLE``.

    Limits are at most what they were at start. A new processor set moves no queue. Without VMQ all queues but
    the default one are freed. None takes a key of the processor set away.
    """
    if not given:
        raise invalid(f"params: nothing to change ({', '.join(CHANGEABLE)} fit)")
    if "max_queues" in given:
        most = adapter.started.max_queues
        _check_limit("max_queues", given["max_queues"], len(adapter.queues) - 1, most)
    if "max_filters" in given:
        most = adapter.started.max_filters
        _check_limit("max_filters", given["max_filters"], len(adapter.filters), most)
    if given.get("vlan_filtering") is False:
        _check_no_vlan_number(adapter)
    before = adapter.spec
    spec = msgspec.structs.replace(before, **given)
    try:
        check_set((), spec, adapter.processors)
    except MisfitError as misfit:
        raise invalid(f"{dotted(misfit.path)}: {misfit}") from None
    adapter.spec = spec
    words = {
        "link_gbps": f"has a link of {spec.link_gbps:.12g} Gbit/s",
        "max_queues": f"has {counted(spec.max_queues, 'queue')}",
        "max_filters": f"has {counted(spec.max_filters, 'filter')}",
        "vlan_filtering": f"has VLAN filtering {'on' if spec.vlan_filtering else 'off'}",
        "vmq": "has VMQ on" if spec.vmq else f"has VMQ off, and frees {_queues(len(adapter.queues) - 1)}",
    }
    changed = [key for key in CHANGEABLE if getattr(spec, key) != getattr(before, key)]
    changes = [words[key] for key in changed if key in words]
    effects: list[Effect] = []
    indications: list[Indication] = []
    result: dict[str, Any] = {}
    if "vmq" in changed and not spec.vmq:
        effects, indications = free_all_queues(adapter, observe, f"VMQ turned off by {driver}")
    if set(changed) & set(SET_KEYS):
        words_of_set, result = _new_set(adapter)
        changes.append(words_of_set)
    if spec.link_gbps != before.link_gbps:
        effects.append(SetLink(adapter.index, spec.link_gbps))
    if changed:
        settings = [change(key, getattr(before, key), getattr(spec, key)) for key in changed]
        told = Indication("adapter_changed", adapter.index, None, None, changed_by(driver, settings))
        indications = [told, *indications]
    what = " and ".join(changes) or "is as it was"
    message = f"{adapter.title} {what}"
    return done(message, result=result, effects=effects, indications=indications, changed=bool(changed))


def _queues(count: int) -> str:
    return counted(count, "queue") if count else "no queue"


def _new_set(adapter: Adapter) -> tuple[str, dict[str, Any]]:
    """Return the words on an adapter's processor set and on the queues outside it, and the result."""
    processors = adapter.processors
    cpus = processors.configured(adapter.spec.set_keys)
    if cpus is None:
        return "has no processor set that is known", {"processor_set": None, "outside": []}
    outside = [
        queue
        for queue_id, queue in sorted(adapter.queues.items())
        if not queue.is_default and queue.home_cpu not in cpus
    ]
    words = f"has {noun(len(cpus), 'processor')} {processors.names_of_set(cpus)}"
    if outside:
        named = [
            f"queue {one.queue_id} ({one.vm or one.name}) on {processors.name(one.home_cpu)}"
            for one in outside[:_NAMED]
        ]
        more = [f"{len(outside) - _NAMED:,} more"] if len(outside) > _NAMED else []
        words += (
            f"; {counted(len(outside), 'queue stays', 'queues stay')} outside until"
            f" {'it is' if len(outside) == 1 else 'they are'} moved: {', '.join(named + more)}"
        )
    return words, {"processor_set": list(cpus), "outside": [one.queue_id for one in outside]}


def _check_limit(key: str, value: int, in_use: int, most: int) -> None:
    """Check that a limit is not below the number in use, nor above its value at start, which sized memory."""
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


_DOES = {"capture": "plays a capture", "interface": "reads a live interface"}


class TrafficSettings:
    """The source of the frames of all adapters of a host.

    ``spec`` is the host's own traffic, if any. ``played`` describes a source, such as a capture, that
    replaces it, or is None. ``adapters`` has the names of the adapters and teams that traffic may name.
    """

    def __init__(self, spec: TrafficSpec | None, adapters: list[str], played: str | None = None) -> None:
        self.spec = spec
        self.adapters = adapters
        self.played = played

    @property
    def source(self) -> Literal["capture", "interface", "synthetic", "none"]:
        """The kind of source; "none" if no frames arrive."""
        if self.played is not None:
            return "interface" if self.played.startswith("interface ") else "capture"
        return "synthetic" if self.spec is not None and self.spec.mix else "none"

    @property
    def words(self) -> str:
        """The description of the source in the config message."""
        return self.source if self.played is None else self.played

    def copy(self) -> "TrafficSettings":
        """An independent copy."""
        return TrafficSettings(self.spec, self.adapters, self.played)


def query_traffic(traffic: TrafficSettings, observe: Observe, driver: str) -> Outcome:
    """Return the traffic, defaults included, under a scenario's keys, in the form ``set_traffic`` accepts."""
    own = None if traffic.played is not None or traffic.spec is None else _plain(traffic.spec)
    return answer(f"frames come from: {traffic.words}", {"source": traffic.source, "traffic": own})


def set_traffic(traffic: TrafficSettings, observe: Observe, driver: str, **given: Any) -> Outcome:
    """Replace keys of the traffic and restart it; with an empty ``mix``, no frames arrive."""
    if traffic.played is not None:
        raise NdisError(
            NdisStatus.NOT_SUPPORTED,
            f"op: set_traffic does not fit an engine that {_DOES[traffic.source]}"
            " (one started without it fits)",
        )
    if not given:
        raise invalid("params: nothing to change (seed and mix fit)")
    before = traffic.spec or TrafficSpec()
    try:
        after = read_traffic(given, before, traffic.adapters)
    except ScenarioError as error:
        raise invalid(str(error)) from None
    if after == before:
        return done("the traffic is as it was", changed=False)
    traffic.spec = after
    return done(
        f"the traffic is {_mixes(after)}, seed {after.seed}, from the next round on"
        if after.mix
        else "the traffic has no mix, so no frames come",
        effects=[SetTraffic(after)],
        indications=[
            Indication("traffic_changed", None, None, None, changed_by(driver, _changes(before, after)))
        ],
    )


def _changes(before: TrafficSpec, after: TrafficSpec) -> list[str]:
    changes = [] if before.seed == after.seed else [f"seed {before.seed} → {after.seed}"]
    if before.mix != after.mix:
        was, now = (f"{_mixes(spec)}{_rate(spec)}" for spec in (before, after))
        changes.append(f"{was} → {now}" if was != now else f"{now}, of other flows or patterns")
    return changes


def _mixes(traffic: TrafficSpec) -> str:
    if not traffic.mix:
        return "no mix"
    flows = sum(len(mix.flow) for mix in traffic.mix)
    return f"{counted(len(traffic.mix), 'mix', 'mixes')} of {counted(flows, 'flow')}"


def _rate(traffic: TrafficSpec) -> str:
    pps = sum(mix.rate_pps or 0 for mix in traffic.mix)
    gbps = sum(mix.rate_gbps or 0 for mix in traffic.mix)
    return (f", {pps:,.12g} pkt/s" if pps else "") + (f", {gbps:,.12g} Gbit/s" if gbps else "")


def _plain(traffic: TrafficSpec) -> dict[str, Any]:
    """Return the traffic as plain data; as in a file, keys without a value are left out."""
    plain: dict[str, Any] = _without_nothing(msgspec.to_builtins(traffic))
    return plain


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nothing(one) for key, one in value.items() if one is not None}
    return [_without_nothing(one) for one in value] if isinstance(value, list) else value


class BalancerSettings:
    """The host's current ``[balancer]`` settings."""

    def __init__(self, spec: BalancerSpec) -> None:
        self.spec = spec

    def copy(self) -> "BalancerSettings":
        """An independent copy."""
        return BalancerSettings(self.spec)


def set_balancer(balancing: BalancerSettings, observe: Observe, driver: str, **given: Any) -> Outcome:
    """Turn the balancer on or off, or change its settings; queues stay on their processors."""
    if not given:
        raise invalid(f"params: nothing to change ({', '.join(keys_of(BalancerSpec))} fit)")
    try:
        after = read_balancer(given, balancing.spec)
    except ScenarioError as error:
        raise invalid(str(error)) from None
    if after == balancing.spec:
        return done("the balancer is as it was", changed=False)
    settings = [
        change(key, getattr(balancing.spec, key), getattr(after, key))
        for key in keys_of(BalancerSpec)
        if getattr(balancing.spec, key) != getattr(after, key)
    ]
    balancing.spec = after
    if after.mode == "off":
        words = "the balancer is off; queues stay where they are"
    else:
        words = (
            f"the balancer looks every {after.interval_ms} ms: from {after.scale_out:.0%} load on queues move"
            f" to other processors, up to {after.scale_in:.0%} they move home"
        )
    told = Indication("balancer_changed", None, None, None, changed_by(driver, settings))
    return done(words, effects=[SetBalancer(after)], indications=[told])
