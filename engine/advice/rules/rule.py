"""What a rule is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from engine.advice.evidence import Evidence
from engine.advice.finding import Finding
from engine.advice.thresholds import AdviceThresholds

Look = Callable[[Evidence, AdviceThresholds], Iterator[Finding]]
Measure = Callable[[Evidence, Finding], float | None]
Unit = Literal["load", "frames/s", "queues", "buffers", "moves", "processors", "share"]


@dataclass(frozen=True)
class Rule:
    """A rule: ``symptom`` is what people report, ``rows`` where "What goes wrong in practice" has it.

    ``look`` finds; ``measure`` reads the one number that the fix shall change, ``unit`` is that number's.
    ``better`` says which way it should go. ``thresholds`` names those it heeds.
    """

    id: str
    title: str
    symptom: str
    rows: tuple[int, ...]
    look: Look
    measure: Measure
    unit: Unit
    better: Literal["lower", "higher"] = "lower"
    thresholds: tuple[str, ...] = ()
