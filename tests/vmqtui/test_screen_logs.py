"""What a dashboard logs: what was asked for and what became of it, and what ended it."""

from typing import Any

import pytest
from textual import work

from engine.bus.errors import NotConnected, RequestTimeout
from engine.bus.messages import Response
from tests.vmqtui.scripted import ScriptedLink
from vmqtui.app import VmqApp
from vmqtui.cli.run import status_of
from vmqtui.link import BusLink

Noted = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    found: Noted = []
    monkeypatch.setattr("vmqtui.link.note", lambda log, level, event, **fields: found.append((event, fields)))
    return found


class Answering:
    """A watcher that gives, or raises, what it is told."""

    def __init__(self, answer: Response | Exception) -> None:
        self.answer = answer

    async def request(
        self,
        host: str,
        op: str,
        params: dict[str, Any],
        *,
        id: str | None = None,
    ) -> Response:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def ask(answer: Response | Exception, op: str = "free_queue", **params: Any) -> None:
    link = BusLink()
    link._watcher = Answering(answer)  # type: ignore[assignment]  # a stand-in
    await link.request("hv01", op, params)


OK = Response(id="1", status="ok", ndis_status="NDIS_STATUS_SUCCESS", message="freed")
REFUSED = Response(id="1", status="error", ndis_status="NDIS_STATUS_RESOURCES", message="queue_id: 9 is none")


async def test_a_request_is_logged_with_its_fate(noted: Noted) -> None:
    await ask(OK, queue_id=1)
    await ask(REFUSED, queue_id=9)
    with pytest.raises(TimeoutError):
        await ask(RequestTimeout("hv01 did not answer"), queue_id=1)
    with pytest.raises(ConnectionError):
        await ask(NotConnected("no connection"), queue_id=1)
    assert [event for event, _ in noted] == [
        "request_done",
        "request_refused",
        "request_unanswered",
        "request_unanswered",
    ]
    done, refused, *_ = (fields for _, fields in noted)
    assert (done["host"], done["op"], done["params"]) == ("hv01", "free_queue", '{"queue_id": 1}')
    assert refused["ndis_status"] == "NDIS_STATUS_RESOURCES"
    assert all(fields["took_ms"] >= 0 for _, fields in noted)


async def test_what_is_only_asked_about_is_not_logged_and_parameters_are_bounded(noted: Noted) -> None:
    await ask(OK, what_if=True)
    await ask(OK, op="query_traffic")
    await ask(OK, op="set_traffic", mix=["x" * 5000])
    [(_, fields)] = noted
    assert len(fields["params"]) == 512


class Failing(VmqApp):
    def on_mount(self) -> None:
        super().on_mount()
        self._fail()

    @work
    async def _fail(self) -> None:
        password = "s3cret"
        raise RuntimeError(f"the screen has {len(password)} faults")


async def test_a_screen_that_fails_says_so_in_a_sentence_and_shows_no_variables(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = Failing(ScriptedLink())
    await app.run_async(headless=True)
    with caplog.at_level("ERROR"):
        assert status_of(app) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: internal error: ")
    assert said.err.count("\n") == 1
    assert "s3cret" not in said.err
    assert "internal_error" in caplog.text
