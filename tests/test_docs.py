"""The documents that repeat something are held to it here."""

import re
from pathlib import Path

import pytest

from engine import __version__
from engine.ndis import counters

ROOT = Path(__file__).parent.parent
TABLES = {
    "Port": counters.PORT,
    "Live interface": counters.INTERFACE,
    "Queue": counters.QUEUE + counters.QUEUE_GAUGES + counters.QUEUE_LATENCY + counters.QUEUE_OF_MEASURED,
    "Filter": counters.FILTER,
    "Processor": counters.CPU + counters.CPU_GAUGES,
    "Default queue, by reason": counters.DEFAULT_QUEUE_REASONS,
}


@pytest.mark.parametrize("title", TABLES)
def test_the_page_on_counters_has_the_registrys_rows(title: str) -> None:
    page = (ROOT / "docs/counters.md").read_text(encoding="utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{one.name}` | {one.unit} | {'gauge' if one.gauge else 'counter'} | {one.help} |"
        for one in TABLES[title]
    ]


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", ["architecture", "internals"])
def test_the_pages_on_the_code_name_files_that_exist(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:engine|vmqtui|themes|tests)/[\w/*.]*)`", text)
    assert named
    for path in named:
        assert list(ROOT.glob(path)) or (ROOT / path).exists(), path


def test_the_security_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
    table = page.split("## Defended\n")[1].split("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    sources = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")}
    assert rows
    for row in rows:
        named = re.findall(r"`([^`]+)`", row.rstrip(" |").rpartition("|")[2])
        assert named, f"nothing shows that: {row}"
        for one in named:
            file, _, name = one.partition("::") if "/" in one or one.endswith(".py") else ("*.py", "", one)
            path = file if file.startswith("tests/") else f"tests/**/{file}"
            files = [ROOT / path] if (ROOT / path).exists() else list(ROOT.glob(path))
            assert files, one
            definition = re.compile(rf"^(async )?def {name}\(", re.MULTILINE)
            assert not name or any(definition.search(sources[file]) for file in files), one


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", __version__]
