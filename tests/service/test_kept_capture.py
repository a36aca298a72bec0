"""A capture from a pipe is read once, kept while it is used, and gone afterwards."""

import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.service import leftovers, sources
from engine.service.sources import piped_capture
from engine.traffic.capture import CaptureError
from tests.traffic.captures import frame, pcap

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")

CONTENT = pcap([frame(1000 * n) for n in range(300)])


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """Somebody writes the content to it, once."""
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb") as pipe:
            pipe.write(CONTENT)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield path
    writer.join(10)


def test_a_pipe_can_be_read_again_and_leaves_nothing(fifo: Path, temporary: Path) -> None:
    told: list[int] = []
    with piped_capture(fifo, lambda name, read_bytes: told.append(read_bytes)) as capture:
        assert str(capture) == capture.name == str(fifo)
        for _ in range(2):
            assert Path(capture.path).read_bytes() == CONTENT
    assert list(temporary.iterdir()) == []
    assert (told[0], told[-1]) == (0, len(CONTENT))


def test_standard_input_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(CONTENT)
    with (tmp_path / "input").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        with piped_capture(Path("-")) as capture:
            assert capture.name == "standard input"
            assert Path(capture.path).read_bytes() == CONTENT


def test_a_closed_standard_input_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdin", closed)
    with pytest.raises(CaptureError, match=r"^standard input: is closed"), piped_capture(Path("-")):
        pass


def test_a_pipe_that_is_too_long_is_refused_and_leaves_nothing(
    fifo: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KEPT_BYTES_LIMIT", len(CONTENT) - 1)
    with (
        pytest.raises(CaptureError, match=r"fifo: is longer than the 0 GiB that are kept"),
        piped_capture(fifo),
    ):
        pass
    assert list(temporary.iterdir()) == []


def test_no_more_is_kept_of_what_is_no_capture(temporary: Path) -> None:
    with piped_capture(Path("/dev/zero")) as capture:
        assert Path(capture.path).stat().st_size <= 1 << 20


def test_a_full_disk_is_reported_in_a_sentence(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _content: object) -> int:
            raise OSError(28, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode, **more: Full() if mode == "wb" else opened(path, mode, **more)
    )
    with (
        pytest.raises(CaptureError, match=r"can't be kept in .*No space left .* TMPDIR"),
        piped_capture(fifo),
    ):
        pass


def test_what_a_living_process_keeps_is_not_left_over(
    fifo: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    gone = temporary / "vmq-fa000007-0a1b2c3d"
    gone.mkdir()
    with piped_capture(fifo) as capture:
        assert Path(capture.path).parent.parent == temporary
        assert [path for path in leftovers.leftovers() if path.parent == temporary] == [gone]
