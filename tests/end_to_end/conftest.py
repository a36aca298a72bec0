"""Where the captures are, a runtime directory of these tests' own, and the program called in this process."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.bus.conftest import listens
from tests.end_to_end.lab import LAB
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.program import Done, Running, in_this_process
from vmqtui.testing import wait_until

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
Here = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No engine of somebody else is found, none of ours by somebody else, and none outlives the tests."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("runtime")
        directory.chmod(0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        patch.setenv("XDG_CONFIG_HOME", str(directory / "config"))
        patch.delenv("VMQTUI_BROKER", raising=False)
        patch.delenv("VMQTUI_CONFIG", raising=False)
        yield
    for each in Running.started:
        if each.process.poll() is None:
            each.end()


@pytest.fixture(scope="session")
def captures() -> Path:
    if not CAPTURES.is_dir():
        pytest.skip("the shared captures are not here")
    return CAPTURES


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run the console script's function in this process: the same program without its second of start."""
    [script] = (each for each in entry_points(group="console_scripts") if each.name == "vmqtui")

    def call(*arguments: str | Path, **environment: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["vmqtui", *map(str, arguments)])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        with in_this_process(), pytest.raises(SystemExit) as ended:
            script.load()()
        printed = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    return call


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, _apart: None) -> Iterator[str]:
    """URL of a running engine of the shared scenario, its host named lab."""
    path = tmp_path_factory.mktemp("lab") / "lab.toml"
    path.write_text(LAB, encoding="utf-8")
    engine = Running("engine", "--scenario", path, "--interval", "0.05")
    try:
        yield engine.first_line()
    finally:
        assert engine.end() == 0


@pytest.fixture(scope="package")
def reader(lab: str) -> Iterator[Reader]:
    """An independent client of the lab."""
    client = Reader(lab, "lab")
    yield client
    client.close()


@pytest.fixture(scope="package")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Mosquitto broker of our own."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not program:
        pytest.skip("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    wait_until(lambda: listens(port), what="mosquitto")
    yield f"mqtt://127.0.0.1:{port}"
    broker.terminate()
    broker.wait(10)
