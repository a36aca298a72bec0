"""Log records of an engine: start and end, events, refused requests, delays."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine import __version__
from engine.bus.urls import BrokerUrl
from engine.logs import note
from engine.ndis.outcome import Outcome
from engine.telemetry.events import Event
from engine.telemetry.stats import Stats

_BEHIND_NS: Final = 500_000_000
_BACK_NS: Final = 100_000_000

_LEVELS: Final = {
    "worker_died": logging.ERROR,
    "worker_replaced": logging.WARNING,
    "worker_down": logging.ERROR,
    "broker_restarted": logging.WARNING,
    "bad_request": logging.WARNING,
    "messages_dropped": logging.WARNING,
    "queue_free_aborted": logging.WARNING,
    "reading_failed": logging.WARNING,
    "reading_late": logging.WARNING,
    "reading_trouble": logging.WARNING,
}

_log = logging.getLogger(__name__)


class EngineLog:
    """Writes the log records of one engine, or of an agent."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._behind = False

    def started(self, url: BrokerUrl, *, own_broker: bool, cpus: int, adapters: Sequence[str]) -> None:
        """Log that the engine is running, connected to the broker at ``url``."""
        note(
            _log,
            logging.INFO,
            "engine_started",
            host=self._host,
            version=__version__,
            url=url,
            own_broker=own_broker,
            cpus=cpus,
            adapters=", ".join(adapters),
        )

    def cleared(self, removed: list[Path]) -> None:
        """Log the removed files that crashed engines had left; nothing if there were none."""
        if removed:
            note(_log, logging.WARNING, "leftovers_removed", files=", ".join(map(str, removed)))

    def ended(self, last: Stats | None) -> None:
        """Log the end of the engine, with the simulated time of its last reading."""
        sim_s = None if last is None else round(last.sim_time_ns / 1e9, 3)
        note(_log, logging.INFO, "engine_ended", host=self._host, sim_seconds=sim_s)

    def failed(self, failure: BaseException) -> None:
        """Log the error that ends the engine, with its traceback."""
        _log.error("engine_failed", exc_info=failure)

    def happened(self, event: Event) -> None:
        """Log an event that is also published, at the level of its kind."""
        note(
            _log,
            _LEVELS.get(event.event, logging.INFO),
            event.event,
            adapter=event.adapter,
            queue_id=event.queue_id,
            state=event.state,
            cause=event.cause,
        )

    def not_decoded(self, client: str, reason: str) -> None:
        """Log a request that could not be decoded."""
        note(_log, logging.WARNING, "request_not_decoded", client=client, why=reason)

    def answered(self, client: str, op: str, what_if: bool, outcome: Outcome) -> None:
        """Log an answered request if it was refused or changed something."""
        refused = outcome.status != "ok"
        if not refused and (what_if or not outcome.effects):
            return
        note(
            _log,
            logging.WARNING if refused else logging.INFO,
            "request_refused" if refused else "request_done",
            client=client or "(this process)",
            op=op,
            ndis_status=str(outcome.ndis_status),
            message=outcome.message,
        )

    def read(self, stats: Stats) -> None:
        """Process a reading: log when the engine falls behind the wall clock, and when it has caught up."""
        if self._behind != (stats.behind_ns > (_BACK_NS if self._behind else _BEHIND_NS)):
            self._behind = not self._behind
            note(
                _log,
                logging.WARNING if self._behind else logging.INFO,
                "behind" if self._behind else "on_time_again",
                behind_ms=stats.behind_ns // 1_000_000,
                given_up_ms=stats.given_up_ns // 1_000_000,
                real_time_ratio=stats.real_time_ratio,
            )
