"""The program runs in any directory, whatever others put there."""

from pathlib import Path

import pytest

from tests.end_to_end.program import run

MODULES = ("json", "logging", "multiprocessing", "msgspec", "numba", "engine")


@pytest.mark.slow
def test_no_module_of_the_working_directory_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of others ran')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = run("engine", "--duration", "0.1")
    assert (done.status, done.err) == (0, "")
