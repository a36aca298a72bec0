"""Bars, sparklines and charts as text; names made safe; themes."""

from pathlib import Path

import pytest

from tests.vmqtui.scripted import ScriptedHost, ScriptedLink
from vmqtui.draw import bar, fit, spark, stacked, width_of
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.theme import load_themes, themes_directory
from vmqtui.widgets.header import Header, lateness


def test_bar_is_always_as_wide_as_asked() -> None:
    for width in (1, 7, 30):
        for step in range(0, 12):
            line = bar([(step / 20, "bar2"), (step / 15, "bar")], width)
            assert width_of(line) == width


def test_bar_of_something_is_never_empty() -> None:
    assert bar([(0.0001, "bar")], 10)[0][0] == "▏"
    assert bar([(0.0, "bar")], 10) == [("╌" * 10, "track")]


def test_full_bar_has_no_track() -> None:
    assert bar([(0.5, "a"), (0.5, "b")], 8) == [("█" * 4, "a"), ("█" * 4, "b")]
    assert bar([(1.7, "a")], 8) == [("█" * 8, "a")]


def test_unknown_in_a_sparkline_looks_unlike_zero() -> None:
    assert spark([None, 0, 5, 10], 5, top=10) == "··▁▄█"


def test_sparkline_shows_the_newest() -> None:
    assert spark([1, 1, 8, 8], 2, top=8) == "██"


def test_stacked_chart_is_as_large_as_asked_and_reaches_its_top() -> None:
    lines, top = stacked([([1, 2, None], "a"), ([1, 6, 1], "b")], 5, 4)
    assert top == 8
    assert [width_of(line) for line in lines] == [5] * 4
    assert lines[0] == [("   ", "track"), ("█", "b"), (" ", "track")]
    assert lines[3] == [("··", "track"), ("█", "a/b"), ("█", "a"), ("·", "track")] or lines[3][0][0] == "··"


def test_long_text_is_cut_with_an_ellipsis_and_wide_text_by_cells() -> None:
    assert fit("application-01", 6) == "appli…"
    assert fit("虚拟机一号", 6) in ("虚拟 …", "虚拟…")
    assert fit("ab", 4, right=True) == "  ab"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("web-01", "web-01"),
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("two\nlines\r", "two␊lines␍"),
        ("\x9b31mred", "�31mred"),
        ("abc\u202egnp.exe", "abc�gnp.exe"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("größe", "größe"),
    ],
)
def test_control_characters_are_shown_not_obeyed(given: str, shown: str) -> None:
    assert printable(given) == shown


def test_endless_name_is_cut() -> None:
    assert len(printable("x" * 10_000)) == 1024


def test_shipped_themes_load() -> None:
    themes, problems = load_themes()
    assert problems == []
    assert {"dark", "light"} <= set(themes)
    assert (themes["dark"].textual.dark, themes["light"].textual.dark) == (True, False)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("name = [", "not TOML"),
        ("name = 'x'", r"no \[colours\] table"),
        ("[colours]\nprimary = 3", "colours.primary is missing"),
        ("[colours]\nprimary = 'nope'", '"nope" is not a colour'),
    ],
)
def test_broken_theme_is_reported_and_the_others_work(tmp_path: Path, content: str, complaint: str) -> None:
    shipped = themes_directory()
    assert shipped is not None
    (tmp_path / "dark.toml").write_text((shipped / "dark.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "mine.toml").write_text(content, encoding="utf-8")
    themes, problems = load_themes(tmp_path)
    assert list(themes) == ["dark"]
    assert len(problems) == 1
    assert problems[0].startswith("theme mine.toml: ")
    assert pytest.importorskip("re").search(complaint, problems[0])


def test_without_any_theme_there_is_still_a_plain_one(tmp_path: Path) -> None:
    themes, problems = load_themes(tmp_path)
    assert list(themes) == ["plain"]
    assert problems


def test_the_header_says_how_late_simulated_time_is_and_how_fast_it_goes() -> None:
    assert lateness(90_000_000, 0.99, 120) == []
    assert lateness(1_020_000_000, 0.431, 120) == [("△ 0.43× real time, 1.0s behind  ", "warn")]
    assert lateness(1_020_000_000, 0.431, 80) == [("△ 0.43×, 1.0s behind  ", "warn")]
    assert lateness(1_020_000_000, None, 80) == [("△ 1.0s behind  ", "warn")]


def test_the_header_says_how_many_readings_were_missed() -> None:
    link = ScriptedLink(connection="connected", views={"hv01": ScriptedHost(stats_missed=37)})
    header = Header(Model(link, "hv01"))
    assert "37 readings missed" in "".join(text for text, _ in header.paint(120, 2)[0])
    link.views["hv01"].stats_missed = 0
    assert "missed" not in "".join(text for text, _ in header.paint(120, 2)[0])
