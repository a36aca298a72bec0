"""``vmqtui agent`` and ``vmqtui watch``: this machine's own interfaces, as a host and on the screen."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.program import VMQTUI, Running
from tests.end_to_end.test_terminal import ALTERNATE_SCREEN, Terminal
from tests.veth import Veth
from vmqtui.testing import wait_until

if not sys.platform.startswith("linux"):
    pytest.skip("reads the adapters of Linux machines", allow_module_level=True)

FRAME = bytes.fromhex("02000000000102000000000288b5") + bytes(46)


@contextmanager
def sending(cable: Veth) -> Iterator[None]:
    """Send frames from the far end all the while."""
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            cable.send([FRAME] * 50)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "command", [("watch", "--once"), ("watch", "--once", "--json"), ("watch",), ("agent",)]
)
def test_an_adapter_that_is_not_there_is_refused_with_those_that_are(
    here: Here, command: tuple[str, ...]
) -> None:
    done = here(*command, "nic7")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: no adapter 'nic7' here; there are: ")
    assert "lo" in done.err


def test_options_that_do_not_fit_are_refused(here: Here) -> None:
    assert here("watch", "lo", "--json").err == "error: --json: is the form of --once, which it needs\n"
    bad_host = here("agent", "lo", "--host", "no/name")
    assert (bad_host.status, "is not a host name" in bad_host.err) == (2, True)
    assert here("agent", "lo", "--broker", "mqtt://127.0.0.1:1", "--listen", "127.0.0.1:0").status == 2
    assert here("watch", "lo").err.startswith("error: the dashboard needs a terminal; vmqtui agent and")


def test_a_system_that_is_not_read_is_told_which_are(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmqtui.cli import measured

    monkeypatch.setattr(measured, "_system", lambda: "darwin")
    done = here("watch", "--once")
    assert done.status == 2
    assert done.err.endswith("read Linux and Windows machines, and this machine runs macOS\n")


def test_once_prints_a_table_of_the_queues(here: Here) -> None:
    done = here("watch", "lo", "--once", "--interval", "0.1")
    assert done.status == 0
    heading, row = done.out.splitlines()
    assert heading.split()[:2] == ["Name", "QueueID"]
    assert row.split()[:2] == ["lo", "0"]


def test_once_as_json_has_both_messages_and_rates_of_frames_that_passed(here: Here, cable: Veth) -> None:
    with sending(cable):
        done = here("watch", cable.near, "--once", "--json", "--interval", "0.5")
    document = done.document
    assert set(document) == {"schema", "host", "seconds", "config", "stats", "rates"}
    assert document["schema"] == "vmq.watch/1"
    adapter = document["stats"]["adapters"][cable.near]
    assert adapter["queues"]["received_frames"][0] > 0
    assert adapter["queues"]["indicated_frames"] == [None]
    assert adapter["default_queue"]["broadcast"] is None
    rates = document["rates"]["adapters"][cable.near]
    assert rates["queues"]["id"] == [0]
    assert rates["queues"]["received_frames"][0] > 0
    assert rates["queues"]["indicated_frames"] == [None]
    assert document["rates"]["cpus"]["budget_cycles"][0] > 0
    assert document["seconds"] >= 0.5


def test_a_capture_without_the_right_to_it_names_the_capability() -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv, which takes rights away from root, is not installed")
    without = ["setpriv", "--bounding-set=-net_raw"] if os.geteuid() == 0 else []
    for command in (["watch", "--once"], ["agent"]):
        words = [*without, VMQTUI, *command, "lo", "--capture-default"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --capture-default: lo: can't be captured from without the ")
        assert "cap_net_raw" in done.stderr


@pytest.mark.slow
def test_a_capture_tells_who_comes_to_the_default_queue(cable: Veth, here: Here) -> None:
    with sending(cable):
        done = here("watch", cable.near, "--once", "--json", "--capture-default", "--interval", "1")
    stats = done.document["stats"]["adapters"][cable.near]
    assert stats["default_queue"]["unknown_unicast"] > 0
    assert stats["default_queue_top"]["mac"] == ["02:00:00:00:00:01"]
    assert stats["interface"]["kernel_received_frames"] >= stats["default_queue"]["unknown_unicast"]


@pytest.mark.slow
def test_neither_command_loads_numba_or_the_workers() -> None:
    script = (
        "import sys\n"
        "from vmqtui.cli.program import run\n"
        "assert run(['agent', 'lo', '--duration', '0']) == 0\n"
        "assert run(['watch', 'lo', '--once', '--interval', '0.1']) == 0\n"
        "heavy = {'numba', 'llvmlite', 'textual', 'engine.workers', 'engine.kernels', 'engine.traffic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_an_agent_prints_its_url_is_found_by_get_and_ends_with_0(tmp_path: Path, here: Here) -> None:
    found = {"XDG_RUNTIME_DIR": str(tmp_path)}
    agent = Running("agent", "lo", "--host", "here", "--interval", "0.1", **found)
    assert re.fullmatch(r"mqtt://owner:\w+@127\.0\.0\.1:\d+", agent.first_line())
    [row] = here("get", "hosts", "--json", **found).document["hosts"]
    assert (row["host"], row["kind"], row["adapters"]) == ("here", "measured", 1)
    [queue] = here("get", "queues", "--json", **found).document["queues"]
    assert (queue["adapter"], queue["queue_id"], queue["name"]) == ("lo", 0, "rx-0")
    assert queue["received_frames"] > 0
    assert queue["indicated_frames"] is None
    refused = here("vm", "pause", "web", **found)
    assert refused.status == 1
    assert "real host" in refused.err + refused.out
    assert agent.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_an_agent_beside_an_engine_on_one_broker_both_are_shown_and_a_name_is_taken_once(
    mosquitto: str, here: Here, tmp_path: Path
) -> None:
    scenario = tmp_path / "model.toml"
    scenario.write_text('host = { name = "model", cpus = 1 }')
    engine = Running("engine", "--scenario", str(scenario), "--broker", mosquitto)
    agent = Running("agent", "lo", "--host", "real", "--interval", "0.1", "--broker", mosquitto)
    try:
        assert (engine.first_line(), agent.first_line()) == (mosquitto, mosquitto)
        rows = here("get", "hosts", "--broker", mosquitto, "--json").document["hosts"]
        kinds = {row["host"]: row["kind"] for row in rows}
        # Others of this broker's engines may still be known there.
        assert (kinds["real"], kinds["model"]) == ("measured", "model")
        every = here("get", "queues", "--host", "all", "--broker", mosquitto, "--json").document["queues"]
        assert {row["host"] for row in every} >= {"real", "model"}
        taken = here("agent", "lo", "--host", "real", "--broker", mosquitto)
        assert taken.status == 1
        assert "host 'real' is taken" in taken.err
    finally:
        assert (engine.end(), agent.end()) == (0, 0)


@pytest.mark.slow
def test_what_is_sent_is_what_an_agent_reports_and_an_interface_that_goes_is_an_event(
    tmp_path: Path, here: Here, cable: Veth
) -> None:
    found = {"XDG_RUNTIME_DIR": str(tmp_path)}
    agent = Running("agent", cable.near, "--host", "here", "--interval", "0.1", **found)
    agent.first_line()

    def received() -> int:
        [queue] = here("get", "queues", "--json", **found).document["queues"]
        frames = queue["received_frames"]
        assert isinstance(frames, int)
        return frames

    before = received()
    cable.send([FRAME] * 1500)
    wait_until(lambda: received() >= before + 1500, 20, what="1,500 frames")
    assert received() == before + 1500
    recording = tmp_path / "here.vmqrec"
    recorder = Running("record", recording, **found)
    wait_until(lambda: recording.exists() and recording.stat().st_size > 0, what="a recording")
    cable.remove()
    wait_until(lambda: here("get", "queues", "--json", **found).document["queues"] == [], 20)
    assert recorder.end(signal.SIGINT) in (0, 130)
    assert "adapter_gone" in here("export", "csv", recording, "--table", "events").out
    assert agent.end() == 0


@pytest.mark.slow
def test_watch_shows_the_dashboard_of_this_machine(tmp_path: Path) -> None:
    terminal = Terminal(VMQTUI, "watch", "lo", XDG_RUNTIME_DIR=str(tmp_path), VMQTUI_BROKER="")
    try:
        terminal.shows(ALTERNATE_SCREEN, "live", "rx-0")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(30) == 128 + signal.SIGTERM
    finally:
        terminal.end()
