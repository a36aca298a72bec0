"""Bars, sparklines and charts as text; names made safe; themes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vmqtui.scripted import ScriptedHost, ScriptedLink
from vmqtui.draw import (
    FREE,
    TrendStyle,
    bands,
    bar,
    fit,
    fitting_style,
    points_of,
    stacked,
    trend,
    use_trends,
    width_of,
)
from vmqtui.printable import printable
from vmqtui.state.model import Model
from vmqtui.theme import load_themes, themes_directory
from vmqtui.widgets.header import Header, lateness
from vmqtui.widgets.panels import time_axis


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


_EIGHTHS = {glyph: n / 8 for n, glyph in enumerate("▏▎▍▌▋▊▉█", 1)}
_FRACTIONS = st.lists(st.just(0.0) | st.floats(1e-6, 1), max_size=4)


@given(_FRACTIONS, st.integers(1, 40))
def test_a_bar_looks_no_larger_than_it_is_whatever_its_parts(fractions: list[float], width: int) -> None:
    line = bar([(fraction, "bar") for fraction in fractions], width)
    looks = sum(_EIGHTHS.get(glyph, 0.0) for text, _ in line for glyph in text) / width
    whole = min(1.0, sum(fractions))
    assert width_of(line) == width
    assert (looks > 0) == (whole > 0)
    assert abs(looks - whole) <= 1 / (8 * width) + 1e-9


@given(_FRACTIONS, st.floats(0, 1), st.integers(1, 40))
def test_bands_look_no_larger_than_they_are(fractions: list[float], free: float, width: int) -> None:
    line = bands([*((fraction, "█", "bar") for fraction in fractions), (free, FREE, "free")], width)
    whole = min(1.0, sum(fractions))
    looks = sum(text.count("█") for text, _ in line) / width
    assert width_of(line) == width
    assert (looks > 0) == (whole > 0)
    assert abs(looks - whole) <= 1 / width + 1e-9


def test_two_small_parts_of_a_bar_share_its_smallest_sliver() -> None:
    assert bar([(0.001, "a"), (0.003, "b")], 9) == [("▏", "b"), ("╌" * 8, "track")]
    assert bar([(0.01, "a"), (0.2, "b")], 9) == [("█", "a"), ("▉", "b"), ("╌" * 7, "track")]


@pytest.fixture(params=["braille", "blocks", "ascii"])
def style(request: pytest.FixtureRequest) -> Iterator[TrendStyle]:
    """Each style of trends."""
    use_trends(request.param)
    yield request.param
    use_trends("braille")


def _points(*values: float | None) -> list[float | None]:
    """Each value as often as a cell shows one."""
    return [value for value in values for _ in range(points_of(1))]


LEVELS = {"braille": ("⣀", "⠤", "⠒", "⠉", " "), "blocks": tuple("▁▃▄▅ "), "ascii": tuple("_.-^ ")}
"""Zero, below the usual value, the usual value, above, unknown."""


def test_a_trend_tells_zero_less_usual_more_and_unknown_apart(style: TrendStyle) -> None:
    values = _points(0, 1000, 600, 1000, None, 1000, 1700)
    zero, less, usual, more, unknown = LEVELS[style]
    assert trend(values, 7) == zero + usual + less + usual + unknown + usual + more


def test_a_steady_load_is_a_line_whatever_it_is(style: TrendStyle) -> None:
    usual = LEVELS[style][2]
    for load in (9.0, 1e3, 1e9):
        noisy = [load * (1 + 0.01 * (-1) ** n) for n in range(40)]
        assert trend(noisy, 20) == usual * 20
        assert trend(noisy, 20, "amount") == usual * 20
    assert trend([0.02, 0.04, 0.06] * 20, 20, "share") == usual * 20


def test_chance_alone_is_no_change_of_a_count() -> None:
    assert trend([10, 14, 7, 12, 9, 16, 5, 11], 4) == "⠒⠒⠒⠒"
    assert trend([10, 14, 7, 12, 9, 60, 5, 11], 4) == "⠒⠒⠊⠒"


def test_an_outlier_does_not_flatten_the_rest() -> None:
    assert trend([100, 100, 100, 50, 100, 1e9], 3) == "⠒⠢⠊"


def test_one_drop_among_zeros_is_seen_in_every_style(style: TrendStyle) -> None:
    zero = LEVELS[style][0]
    for place in range(points_of(10)):
        values = [0.0] * points_of(10)
        values[place] = 0.2
        assert set(trend(values, 10)) > {zero}


def test_blocks_tell_twice_from_four_times() -> None:
    use_trends("blocks")
    try:
        assert trend([100, 100, 100, 100, 130, 250, 900, 40, 20], 9, "amount") == "▄▄▄▄▅▇█▂▂"
    finally:
        use_trends("braille")


def test_a_trend_shows_the_newest_and_has_gaps_before_the_first(style: TrendStyle) -> None:
    values = _points(900, 900, 900, 0)
    zero, usual = LEVELS[style][0], LEVELS[style][2]
    assert trend(values, 2) == usual + zero
    assert trend(values, 6) == "  " + usual * 3 + zero
    assert trend(values, 0) == ""


def test_a_trend_of_nothing_known_is_unknown_not_zero(style: TrendStyle) -> None:
    assert trend([], 5) == trend([None] * 9, 5) == "–    "
    assert trend(_points(None, 0), 2) == " " + LEVELS[style][0]


@pytest.mark.parametrize(
    ("environment", "encoding", "windows", "fits"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", False, "braille"),
        ({}, "UTF-8", False, "braille"),
        ({"TERM": "linux"}, "utf-8", False, "ascii"),
        ({"TERM": "xterm"}, "iso8859-1", False, "ascii"),
        ({"TERM": "xterm"}, "", False, "ascii"),
        ({}, "utf-8", True, "blocks"),
        ({"WT_SESSION": "1"}, "utf-8", True, "braille"),
        ({"TERM": "xterm"}, "utf-8", True, "braille"),
    ],
)
def test_the_style_of_trends_fits_the_terminal(
    environment: dict[str, str], encoding: str, windows: bool, fits: str
) -> None:
    assert fitting_style(environment, encoding, windows) == fits


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=60), st.integers(0, 25))
def test_a_trend_is_always_as_wide_as_asked(values: list[float | None], width: int) -> None:
    assert len(trend(values, width)) == width


def test_the_top_of_a_chart_is_a_round_number() -> None:
    tops = [stacked([([value], "a")], 1, 4)[1] for value in (0, 0.7, 1, 1234, 7.9e6, 9.1, 10)]
    assert tops == pytest.approx([0, 0.8, 1, 1500, 8e6, 10, 10])


def test_a_time_axis_says_its_span_and_what_a_cell_is() -> None:
    assert time_axis(60, 20) == "1 min ago        now"
    assert time_axis(3600, 60) == "60 min ago            a cell: the most of 60 s           now"
    assert time_axis(3600, 20) == "60 min ago       now"
    assert time_axis(60, 20, "then") == "1 min before    then"


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
