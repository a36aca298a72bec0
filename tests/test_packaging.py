"""The wheel, as others install it: complete, and usable away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engine import __version__
from vmqtui.cli.frames import SourceOptions
from vmqtui.cli.tied import TiedAgent, TiedEngine, arguments, read

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a plain (not editable) install puts into site-packages."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory), str(ROOT)]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL)
    (wheel,) = directory.glob("vmqtui-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def run(installed: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *command], cwd=installed, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_a_plain_install_runs_and_is_the_one_that_runs(installed: Path) -> None:
    version = run(installed, "-m", "vmqtui", "--version").removeprefix("vmqtui ").strip()
    assert version == __version__
    assert (installed / f"vmqtui-{version}.dist-info").is_dir()
    where = run(installed, "-c", "import engine, vmqtui; print(engine.__file__, vmqtui.__file__)")
    assert all(path.startswith(str(installed)) for path in where.split())
    assert run(installed, "-m", "vmqtui", "help", "use").startswith("# Use\n")


@pytest.mark.slow
def test_a_plain_install_finds_its_data(installed: Path) -> None:
    load = "from engine.scenario.load import default_scenario; print(len(default_scenario().adapter))"
    assert run(installed, "-c", load).strip() == "1"
    themes = "from vmqtui.theme import load_themes; print(sorted(load_themes()[0]))"
    shipped = sorted(path.stem for path in (ROOT / "themes").glob("*.toml"))
    assert run(installed, "-c", themes).strip() == str(shipped)
    assert (installed / "engine/py.typed").exists()


GET = (
    "import vmqtui.cli.get, vmqtui.columns.export, engine.bus.watcher, vmqtui.state.hosts, "
    "vmqtui.preferences.file"
)
"""What ``vmqtui get`` imports."""
LIGHT = "import sys; {}; print([name for name in {!r} if name in sys.modules])"


@pytest.mark.parametrize(
    ("imported", "banned"),
    [
        ("import engine.service.engine", ("textual", "typer", "rich")),
        ("import engine.workers.shard", ("textual", "typer", "rich", "aiomqtt", "paho")),
        (
            "import vmqtui.cli.program",
            ("numba", "numpy", "textual", "msgspec", "aiomqtt", "aiohttp", "asyncio"),
        ),
        (GET, ("numba", "numpy", "textual", "engine.advice.rules", "engine.balance")),
        (
            "from vmqtui.preferences.file import loads; loads('', '')",
            ("vmqtui.actions", "vmqtui.columns", "numpy", "pydantic", "typer"),
        ),
        ("import vmqtui.app, vmqtui.link", ("numba", "numpy", "pydantic", "typer")),
        ("import vmqtui.__main__", ("numba", "numpy", "textual", "typer", "msgspec")),
        ("import vmqtui.cli.private", ("numba", "numpy", "textual", "typer", "msgspec", "asyncio")),
    ],
)
def test_what_a_process_must_not_load(imported: str, banned: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(imported, banned)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("arguments", "status"), [(["engine", "--tied", '{"duration_s":0}'], 0), ([], 2)])
def test_what_a_start_waits_for_reads_no_command_line(arguments: list[str], status: int) -> None:
    """A bare ``vmqtui``, which ends here for want of a terminal, and the engine that a dashboard starts."""
    environment = {name: value for name, value in os.environ.items() if "VMQTUI_" not in name}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vmqtui", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vmqtui.cli.tied" in imported
    assert not {"vmqtui.cli.program", "pydantic"} & imported


def test_a_dashboards_engine_gets_its_options_whatever_bytes_a_files_name_has() -> None:
    source = SourceOptions(scenario=Path(os.fsdecode(b"a\xff'\".toml")), interface="eth0", loop=True)
    for tied in (TiedEngine(source, 0.5, "json", 3.0), TiedAgent(["eth0", "é"], 2.0, True)):
        command, sign, options = arguments(tied)
        assert (command, sign) == (tied.command, "--tied")
        assert options.isascii()
        assert read(type(tied), options) == tied


def test_an_engine_whose_dashboard_is_gone_before_it_starts_ends_without_a_word() -> None:
    kept, given = os.pipe()
    os.close(kept)
    with subprocess.Popen(
        [sys.executable, "-m", "vmqtui", *arguments(TiedEngine())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=given,
        stderr=subprocess.PIPE,
        text=True,
    ) as tied:
        os.close(given)
        assert tied.stderr is not None
        said = [line for line in tied.stderr if not line.startswith(("compiling", "starting"))]
        assert (tied.wait(), said) == (0, [])
