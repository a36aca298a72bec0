"""The twin runs: its loads, drops and shares stand beside the measured ones, and fixes are tried on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding, Request
from engine.advice.rules import RULES, findings
from engine.advice.thresholds import AdviceThresholds
from engine.advice.verdict import to_type
from engine.measure.host import MeasuredHost
from engine.measure.twin import Twin
from engine.service.machine import Progress
from engine.service.trial import Diagnosis, Trial, TriedFix, diagnose
from engine.view.adapter import AdapterView

Measure = Literal["load", "drops", "share"]
NEAR: Final = 0.1
"""Largest relative error of a load that counts as near."""
_SMALL_LOAD: Final = 0.005
"""A difference of load up to this is near, however small the load is."""
_QUIET_LOAD: Final = 0.01
_ALIKE: Final = 0.25
"""Largest relative difference of a finding's metric with which the twin still has the same problem."""


@dataclass(frozen=True)
class Compared:
    """One number of the host and of its twin. ``where`` names the processor, adapter or queue.

    A ``load`` is a share of a processor's time, ``drops`` are frames per second of an adapter, a ``share``
    is a queue's part of its adapter's frames. None: not known.
    """

    measure: Measure
    where: str
    measured: float | None
    twin: float | None

    @property
    def difference(self) -> float | None:
        """The twin's number less the measured one."""
        return None if self.measured is None or self.twin is None else self.twin - self.measured

    @property
    def error(self) -> float | None:
        """The difference as a part of what was measured; None if unknown, or if nothing was measured and
        the twin has something."""
        difference = self.difference
        if difference is None or self.measured is None:
            return None
        if not self.measured:
            return 0.0 if not difference else None
        return difference / self.measured


@dataclass(frozen=True)
class TwinCheck:
    """The numbers of a host beside those of its twin, which ran for ``seconds`` of simulated time."""

    rows: Sequence[Compared]
    seconds: float

    def of(self, measure: Measure) -> list[Compared]:
        """Return the rows of a measure."""
        return [one for one in self.rows if one.measure == measure]

    @property
    def worst_load(self) -> Compared | None:
        """The load with the largest error; None if all are near, or none is known."""
        far = [one for one in self.of("load") if not _is_near(one)]
        return max(far, key=lambda one: abs(one.difference or 0.0), default=None)

    @property
    def compared_loads(self) -> int:
        """The number of loads that are known on both sides."""
        return sum(one.difference is not None for one in self.of("load"))


def _is_near(one: Compared) -> bool:
    difference = one.difference
    if difference is None or one.measured is None:
        return True
    return abs(difference) <= max(NEAR * one.measured, _SMALL_LOAD)


def check_twin(
    measured: MeasuredHost,
    twin: Twin,
    seconds: float = 1.0,
    progress: Callable[[float], None] = lambda share: None,
) -> TwinCheck:
    """Run a twin for ``seconds`` of simulated time, and compare it with its host.

    ``progress`` is called with the finished share (0..1).

    Raises the errors of ``Trial.run``.
    """
    host = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    return compare(host, Trial(twin.scenario, seconds).run(progress=progress), twin)


def compare(host: Evidence, model: Evidence, twin: Twin) -> TwinCheck:
    """Compare a measured host with a run of its twin."""
    rows: list[Compared] = []
    for cpu in host.cpus:
        number = twin.cpus.get(cpu.cpu)
        theirs = None if number is None else model.cpu.get(number)
        load = None if theirs is None else theirs.load
        if cpu.queues or (cpu.load or 0.0) > _QUIET_LOAD or (load or 0.0) > _QUIET_LOAD:
            rows.append(Compared("load", f"processor {cpu.processor}", cpu.load, load))
    for adapter in host.adapters:
        of_model = model.by_name.get(twin.adapters[adapter.adapter])
        if of_model is not None:
            rows += _of_adapter(adapter, of_model, twin)
    return TwinCheck(rows, model.span_s)


def _of_adapter(adapter: AdapterView, model: AdapterView, twin: Twin) -> list[Compared]:
    rows = [Compared("drops", adapter.adapter, adapter.drops, model.drops)]
    total, of_model = _total(adapter), _total(model)
    ids = twin.queue_ids[adapter.adapter]
    for queue in adapter.queues:
        pps = queue.pps
        theirs = model.by_id.get(ids.get(queue.queue_id, -1))
        of_theirs = None if theirs is None else theirs.pps
        share = pps / total if pps is not None and total else None
        of_twin = of_theirs / of_model if of_theirs is not None and of_model else None
        if share or of_twin or queue.queue_id == 0:
            rows.append(Compared("share", f"{adapter.adapter}, {queue.called}", share, of_twin))
    return rows


def _total(adapter: AdapterView) -> float | None:
    """Return the frames per second of all queues of an adapter; the port's where one is not known."""
    return adapter.pps if adapter.steered_rate is None else adapter.steered_rate


# --- advice -------------------------------------------------------------------------------------------


def advise_on(
    measured: MeasuredHost,
    twin: Twin,
    seconds: float = 1.0,
    thresholds: AdviceThresholds | None = None,
    progress: Progress = lambda doing, share: None,
) -> Diagnosis:
    """Return the findings on what was measured, with the effects of their fixes on the twin.

    Numbers and lines are those of the host, and no request is offered. ``modelled``, ``after``, ``cleared``,
    ``raises`` and ``withheld`` are of the twin, which runs for ``seconds`` with each fix; unknown where the
    twin does not have the problem, or can't have the fix. Evidence and ``together`` are the twin's. Raises
    the errors of ``Trial.run``.
    """
    host = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    found = findings(host, thresholds)

    def asked(model: Evidence) -> list[Finding]:
        return [_in_twin(one, host, model, twin) for one in found]

    diagnosis = diagnose(Trial(twin.scenario, seconds), thresholds, asked=asked, progress=progress)
    known = {one.identity for one in findings(diagnosis.evidence, thresholds)}
    tried = [
        replace(one, finding=_of_host(own, one, known))
        for own, one in zip(found, diagnosis.tried, strict=True)
    ]
    return replace(diagnosis, tried=tried)


def _of_host(own: Finding, tried: TriedFix, known: set[tuple[str, str, str]]) -> Finding:
    """Return a finding of the host with the effect that its fix has on the twin."""
    one = tried.finding
    return msgspec.structs.replace(
        to_type(own),
        fix=one.fix,
        commands=one.commands,
        modelled=one.modelled,
        after=one.after,
        cleared=one.cleared if one.identity in known or one.cleared is False else None,
        estimated=False,
        raises=one.raises,
        withheld=one.withheld,
    )


def _in_twin(finding: Finding, host: Evidence, model: Evidence, twin: Twin) -> Finding:
    """Return a finding in the names and ids of the twin, with its fix if the twin has the same problem."""
    adapter = twin.adapters.get(finding.adapter, finding.adapter)
    queue_id = twin.queue_ids.get(finding.adapter, {}).get(finding.queue_id or 0)
    queue = model.by_name[adapter].by_id.get(queue_id or 0) if adapter in model.by_name else None
    changes: dict[str, Any] = {"adapter": adapter, "requests": [], "generation": None, "filter_id": None}
    if finding.queue_id is not None and queue is not None:
        own = host.by_name[finding.adapter].by_id[finding.queue_id]
        changes |= {"queue_id": queue_id, "generation": queue.generation}
        changes |= {"key": queue.key} if finding.key == own.key else {}
    if finding.cpu is not None:
        changes["cpu"] = twin.cpus.get(finding.cpu)
    theirs = msgspec.structs.replace(finding, **changes)
    modelled = RULES[finding.rule].measure(model, theirs)
    requests = [_request(one, host, model, twin) for one in finding.requests]
    possible = [one for one in requests if one is not None]
    if not _is_alike(finding.value, modelled) or len(possible) < len(requests):
        possible = []
    return msgspec.structs.replace(theirs, requests=possible, modelled=modelled)


def _is_alike(measured: float | None, modelled: float | None) -> bool:
    """Return whether a metric of the twin is near the host's."""
    if measured is None or modelled is None:
        return False
    return abs(modelled - measured) <= _ALIKE * abs(measured)


def _request(request: Request, host: Evidence, model: Evidence, twin: Twin) -> Request | None:
    """Return a request in the names and ids of the twin; None if the twin lacks what it is about."""
    params = dict(request.params)
    known = params.get("adapter")
    if known is not None and known not in twin.adapters:
        return None
    ids = twin.queue_ids.get(str(known), {})
    if known is not None:
        params["adapter"] = twin.adapters[known]
    if params.get("cpu") is not None:
        params["cpu"] = twin.cpus.get(params["cpu"])
    if "queue_id" in params and request.queue_from is None:
        params["queue_id"] = ids.get(params["queue_id"])
    if "queue_ids" in params and request.queue_from is None:
        params["queue_ids"] = [ids[one] for one in params["queue_ids"] if one in ids] or None
    if "filter_id" in params:
        params["filter_id"] = _filter(params["filter_id"], str(known), host, model, twin)
    ours = ("cpu", "queue_id", "queue_ids", "filter_id")
    if any(name in params and params[name] is None for name in ours):
        return None
    return Request(op=request.op, params=params, queue_from=request.queue_from)


def _filter(filter_id: int, adapter: str, host: Evidence, model: Evidence, twin: Twin) -> int | None:
    """Return the twin's id of a filter: the one with the same MAC and VLAN."""
    tests = {one.filter_id: (one.mac, one.vlan) for one in host.by_name[adapter].known.filters}
    theirs = model.by_name[twin.adapters[adapter]].known.filters
    same = (one.filter_id for one in theirs if (one.mac, one.vlan) == tests.get(filter_id))
    return next(same, None)
