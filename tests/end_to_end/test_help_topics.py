"""``vmqtui help TOPIC``: every page of the documentation, in words a terminal can show."""

import io
import os
import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from tests.end_to_end.conftest import Here
from vmqtui.cli.topics import as_text, markdown, topics

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


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.slow
def test_a_long_page_goes_through_the_pager_of_a_terminal() -> None:
    import pty
    import subprocess
    import sys

    master, slave = pty.openpty()
    environment = os.environ | {"PAGER": f"{sys.executable} -c 'print(42)'", "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "vmqtui", "help", "use"], stdout=slave, env=environment, check=False
    )
    os.close(slave)
    shown = os.read(master, 1 << 16)
    os.close(master)
    assert (done.returncode, shown.split()) == (0, [b"42"])
