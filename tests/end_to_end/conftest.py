"""Where the captures are, a runtime directory of these tests' own, and the program called in this process."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.end_to_end.program import Done

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
Here = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def _own_runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No engine of somebody else is found, and none of ours by somebody else."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("runtime")
        directory.chmod(0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        patch.delenv("VMQTUI_BROKER", raising=False)
        yield


@pytest.fixture(scope="session")
def captures() -> Path:
    if not CAPTURES.is_dir():
        pytest.skip("the shared captures are not here")
    return CAPTURES


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run the console script's function in this process: the same program without its second of start."""
    [script] = (each for each in entry_points(group="console_scripts") if each.name == "vmqtui")

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["vmqtui", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            script.load()()
        printed = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    return call
