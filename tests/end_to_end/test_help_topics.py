"""``vmqtui help TOPIC``: every page of the documentation, in words a terminal can show."""

import io
import os
import re
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from tests.end_to_end.conftest import Here
from vmqtui.cli.topics import as_text, markdown, topics, words_of

ROOT = Path(__file__).parents[2]


def test_topics_are_listed_with_their_titles(here: Here) -> None:
    listed = here("help")
    assert (listed.status, listed.err) == (0, "")
    assert re.search("^  configuration +The configuration file$", listed.out, re.M)
    assert {line.split()[0] for line in listed.out.splitlines() if line.startswith("  ")} == set(topics())


def test_in_a_pipe_a_page_is_its_markdown(here: Here) -> None:
    page = here("help", "Use.md")
    assert (page.status, page.err) == (0, "")
    assert page.out == (ROOT / "docs" / "use.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        ("configration", "'configration' is not a topic (did you mean configuration?)"),
        ("replay", "'replay' is a command, not a topic (vmqtui replay --help tells of it)"),
        ("../README", "'../README' is not a topic ("),
    ],
)
def test_an_unknown_topic_is_refused_with_the_nearest(here: Here, topic: str, sentence: str) -> None:
    refused = here("help", topic)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith(f"error: TOPIC: {sentence}")


def test_links_pictures_and_comments_are_words_in_a_terminal() -> None:
    page = "<!-- a -->\n\n[mqtt.md](mqtt.md), [pace](mqtt.md#pace), [below](#x)\n\n![P](images/p.svg)\n\nEnd"
    assert as_text(page) == "`vmqtui help mqtt`, pace (`vmqtui help mqtt`), below\n\nEnd"
    for path in topics().values():
        assert not re.search(r"\]\((?!https?:)|<!--|!\[", as_text(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("columns", [60, 100])
def test_tables_fit_the_terminal_and_lose_nothing(columns: int) -> None:
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(vmq_\w+)`", page, re.M)
    assert len(names) > 50
    console = Console(width=columns, file=io.StringIO())
    console.print(markdown()(as_text(page), hyperlinks=False))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert set(names) <= {word for line in lines for word in line.split()}
    assert sum("…" in line for line in lines) == page.count("…")


def test_the_wheel_has_every_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    pages = {f"docs/{path.name}" for path in topics().values()}
    assert {source: into for source, into in wheel.items() if source.startswith("docs/")} == {
        page: f"vmqtui/{page}" for page in pages
    }


@pytest.mark.parametrize(
    ("pager", "windows", "words"),
    [
        ("less '", False, []),
        ('less "', True, []),
        ("'/opt/my less/less' -R", False, ["/opt/my less/less", "-R"]),
        (r"C:\tools\less.exe -R", True, [r"C:\tools\less.exe", "-R"]),
        (r'"C:\my tools\less.exe" -R', True, [r"C:\my tools\less.exe", "-R"]),
    ],
)
def test_words_of_a_pager(pager: str, windows: bool, words: list[str]) -> None:
    assert words_of(pager, windows=windows) == words


def in_a_terminal(pager: str) -> tuple[int, bytes]:
    """The status of ``help use`` with a pager on a terminal of 80 columns, and its output."""
    import pty
    import subprocess

    master, slave = pty.openpty()
    environment = os.environ | {"PAGER": pager, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "vmqtui", "help", "use"]
    program = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    with suppress(OSError):  # Linux ends it with EIO, others with nothing
        while more := os.read(master, 1 << 16):
            shown += more
    os.close(master)
    return program.wait(), shown


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.slow
def test_a_long_page_goes_through_the_pager_of_a_terminal() -> None:
    status, shown = in_a_terminal(f"{sys.executable} -c 'print(42)'")
    assert (status, shown.split()) == (0, [b"42"])


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.slow
def test_without_a_pager_that_starts_a_long_page_is_printed(tmp_path: Path) -> None:
    no_program = tmp_path / "pager"
    no_program.write_bytes(b"\0")
    no_program.chmod(0o755)
    for pager in ("less '", str(no_program)):
        status, shown = in_a_terminal(pager)
        assert (status, b"internal error" in shown) == (0, False)
        assert b"vmqtui help" in shown
