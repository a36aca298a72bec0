"""The check of a twin: it runs, and its loads, drops and shares stand beside the measured ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.advice.evidence import Evidence
from engine.measure.host import MeasuredHost
from engine.measure.twin import Twin
from engine.service.trial import Trial
from engine.view.adapter import AdapterView

Measure = Literal["load", "drops", "share"]
NEAR: Final = 0.1
"""Largest relative error of a load that counts as near."""
_SMALL_LOAD: Final = 0.005
"""A difference of load up to this is near, however small the load is."""
_QUIET_LOAD: Final = 0.01


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


def check_twin(measured: MeasuredHost, twin: Twin, seconds: float = 1.0) -> TwinCheck:
    """Run a twin for ``seconds`` of simulated time, and compare it with its host.

    Raises the errors of ``Trial.run``.
    """
    host = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    return compare(host, Trial(twin.scenario, seconds).run(), twin)


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
