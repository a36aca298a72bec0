"""What came of a request."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.ndis.effects import Effect, Indication
from engine.ndis.statuses import NdisStatus


@dataclass(frozen=True)
class Outcome:
    """The answer to a request, and what it makes the data plane do and the engine publish.

    ``message`` is a sentence for the person who asked. ``effects`` are to be carried out in order before the
    next request is applied. ``changed``: the configuration is another one, under a new revision.
    """

    ndis_status: NdisStatus
    message: str
    result: dict[str, Any] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    indications: tuple[Indication, ...] = ()
    changed: bool = False

    @property
    def status(self) -> Literal["ok", "error"]:
        """The answer's ``status``."""
        return "ok" if self.ndis_status.is_ok else "error"


def answer(message: str, result: dict[str, Any]) -> Outcome:
    """The outcome of a request that asks and changes nothing."""
    return Outcome(NdisStatus.SUCCESS, message, result)


def done(
    message: str,
    *,
    result: dict[str, Any] | None = None,
    effects: list[Effect] | None = None,
    indications: list[Indication] | None = None,
    status: NdisStatus = NdisStatus.SUCCESS,
    changed: bool = True,
) -> Outcome:
    """The outcome of a request that was carried out."""
    return Outcome(status, message, result or {}, tuple(effects or ()), tuple(indications or ()), changed)
