"""The dashboard on a broker that is named: by option or by environment, which mean the same."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.bus.discovery import ENVIRONMENT_VARIABLE
from tests.end_to_end.conftest import Here
from tests.end_to_end.test_readme import Terminal
from vmqtui.cli.dashboard import _follow
from vmqtui.cli.frames import SourceOptions
from vmqtui.cli.private import PrivateEngine
from vmqtui.cli.tied import TiedEngine, arguments
from vmqtui.link import BusLink
from vmqtui.testing import wait_until


@pytest.fixture
def terminal(lab: str, tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    named = {ENVIRONMENT_VARIABLE: lab, "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(tmp_path)}
    terminal = Terminal((120, 40), tmp_path / "tmux", os.environ | named)
    yield terminal
    terminal.close()


@pytest.mark.slow
def test_bare_vmqtui_attaches_to_the_broker_that_the_environment_names(terminal: Terminal) -> None:
    wait_until(lambda: "● live" in terminal.text, what="a live screen")
    assert " lab " in terminal.text.splitlines()[0]
    family = psutil.Process(terminal.pid).children(recursive=True)
    assert not any("engine" in one.cmdline() for one in family)


@pytest.mark.slow
async def test_an_engine_of_the_dashboards_own_joins_no_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mqtt://127.0.0.1:9")
    private = PrivateEngine(arguments(TiedEngine(duration_s=0)))
    try:
        url = await private.start()
        assert url is not None
        assert url.port != 9
    finally:
        private.stop()


class _Screen:
    """In place of a dashboard: whether it was asked to exit."""

    exited = False

    def exit(self) -> None:
        self.exited = True


@pytest.mark.slow
async def test_a_dashboard_ends_with_its_engine_that_fails_before_a_reading() -> None:
    private, screen = PrivateEngine(arguments(TiedEngine(SourceOptions(interface="nosuch0")))), _Screen()
    try:
        async with BusLink() as link:
            await _follow(private, "operator", link, screen, ())  # type: ignore[arg-type]  # a stand-in
        assert screen.exited
        assert "nosuch0" in str(private.error)
    finally:
        private.stop()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--scenario", "x.toml"], "--scenario"),
        (["engine", "--listen", "127.0.0.1:0"], "--listen"),
        (["engine", "--insecure"], "--insecure"),
        (["serve", "--capture", "x.pcap"], "--capture"),
    ],
)
def test_what_a_named_broker_rules_out_is_refused_whichever_way_it_is_named(
    arguments: list[str], named: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [] if arguments[0].startswith("--") else arguments[:1]
    option = here(*command, "--broker", "mqtt://127.0.0.1:9", *arguments[len(command) :])
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mqtt://127.0.0.1:9")
    environment = here(*arguments)
    assert option == environment
    assert (option.status, option.out) == (2, "")
    assert option.err.startswith(f"error: {named}: ")
    assert "VMQTUI_BROKER" in option.err
