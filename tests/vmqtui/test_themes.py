"""Themes: every pair that is drawn can be read, whoever looks; a broken file is told and harms nothing."""

from itertools import combinations
from pathlib import Path

import pytest
from rich.color import ColorType
from textual.geometry import Region

from tests.slow import slow_but
from tests.vmqtui.conftest import running
from tests.vmqtui.contrast import contrast, difference, shortfalls
from vmqtui.actions import VIEWS
from vmqtui.app import VmqApp
from vmqtui.testing import until
from vmqtui.theme import (
    LoadedTheme,
    load_themes,
    own_themes_directory,
    preferred,
    read_theme,
    themes_directory,
)

THEMES, PROBLEMS = load_themes(themes_directory())
NAMES = ("blue-yellow", "dark", "high-contrast", "light", "mono", "red-green")
AT_LEAST = {"high-contrast": (7.0, 4.5)}
PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"


def colours(theme: LoadedTheme) -> dict[str, str]:
    """Roles, and the grounds that Textual draws."""
    textual = theme.textual
    grounds = {"background": textual.background, "surface": textual.surface, "panel": textual.panel}
    return theme.roles | {name: str(colour) for name, colour in grounds.items()}


def test_the_themes_that_ship() -> None:
    assert PROBLEMS == []
    assert tuple(THEMES) == NAMES


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#0000ff", "#ffffff", 8.59),
    ],
)
def test_contrast_is_wcags(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_pair_of_roles_can_be_read(name: str) -> None:
    assert shortfalls(colours(THEMES[name]), *AT_LEAST.get(name, (4.5, 3.0))) == []


def test_a_pair_that_can_not_be_read_is_found() -> None:
    grey = colours(THEMES["dark"]) | {"dim": "#333333"}
    assert next(iter(shortfalls(grey))).split(":")[0] == "dim on background"


@pytest.mark.parametrize(
    ("name", "vision"), [("red-green", "protan"), ("red-green", "deutan"), ("blue-yellow", "tritan")]
)
def test_levels_and_reasons_differ_for_those_a_theme_is_made_for(name: str, vision: str) -> None:
    roles = THEMES[name].roles
    for one, other in combinations(("good", "warn", "bad"), 2):
        assert difference(roles[one], roles[other], vision) > 25, (one, other)
    for one, other in combinations([f"reason{number}" for number in range(1, 6)], 2):
        assert difference(roles[one], roles[other], vision) > 15, (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_pending_and_outstanding_differ(name: str) -> None:
    roles = THEMES[name].roles
    assert difference(roles["bar"], roles["bar2"]) > 15
    for vision in ("protan", "deutan", "tritan"):
        assert difference(roles["bar"], roles["bar2"], vision) > 10


def test_the_monochrome_theme_has_no_colour() -> None:
    for colour in colours(THEMES["mono"]).values():
        assert colour[1:3] == colour[3:5] == colour[5:7]


@pytest.mark.parametrize("name", slow_but(["light"], NAMES))
async def test_whatever_is_written_on_the_screen_can_be_read(name: str) -> None:
    words, _ = AT_LEAST.get(name, (4.5, 3.0))
    async with running(theme=name, size=(140, 40)) as (app, pilot, _link):
        for number in range(1, len(VIEWS) + 1):
            await pilot.press(str(number))
            assert not unreadable(app, words), number
        await pilot.press("space")
        assert not unreadable(app, words)
        await pilot.press("question_mark")
        assert not unreadable(app, words, app.screen.query_one("#dialog").region)


def unreadable(app: VmqApp, least: float, region: Region | None = None) -> set[tuple[str, str, str, float]]:
    """Words on the screen, or in a region, with less contrast: the text, its colours, the ratio."""
    found = set()
    strips = app.screen._compositor.render_strips()
    if region is not None:
        strips = [strip.crop(region.x, region.right) for strip in strips[region.y : region.bottom]]
    for strip in strips:
        for segment in strip:
            if segment.style is None or not any(char.isalnum() for char in segment.text):
                continue
            front, back = segment.style.color, segment.style.bgcolor
            if front is None or back is None or ColorType.DEFAULT in (front.type, back.type):
                continue
            one, other = front.get_truecolor().hex, back.get_truecolor().hex
            ratio = contrast(other, one) if segment.style.reverse else contrast(one, other)
            if ratio < least - 0.05:  # blended colours are rounded
                found.add((segment.text.strip(), one, other, round(ratio, 2)))
    return found


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory of themes."""
    directory = tmp_path / "themes"
    directory.mkdir()
    monkeypatch.setattr("vmqtui.theme.own_themes_directory", lambda: directory)
    return directory


def shipped(name: str) -> str:
    place = themes_directory()
    assert place is not None
    return (place / f"{name}.toml").read_text(encoding="utf-8")


def test_a_users_theme_is_there_beside_the_others_or_in_place_of_one(own: Path) -> None:
    (own / "mine.toml").write_text(
        shipped("dark").replace('name = "dark"', 'name = "mine"'), encoding="utf-8"
    )
    (own / "light.toml").write_text(shipped("light").replace('"Light"', '"Paper"'), encoding="utf-8")
    themes, problems = load_themes()
    assert problems == []
    assert set(themes) == {*NAMES, "mine"}
    assert themes["light"].title == "Paper"


def test_the_users_directory_is_the_platforms() -> None:
    assert own_themes_directory().parts[-2:] == ("vmqtui", "themes")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('text = "#', 'text = "##'), "roles.text: "),
        (('text = "#ccd3de"', 'text = "#ccd3de80"'), 'roles.text: "#ccd3de80" is not a colour'),
        (('text = "#ccd3de"', 'text = "auto"'), 'roles.text: "auto" is not a colour'),
        (('text = "#ccd3de"', 'text = "ansi_red"'), 'roles.text: "ansi_red" is not a colour'),
        (('text = "#ccd3de"', "text = 7"), "roles.text is missing"),
        (('name = "dark"', 'name = "my theme"'), "name: 'my theme' is not a name"),
        (('name = "dark"', 'name = ""'), "name: '' is not a name"),
        (("dark = true", 'dark = "yes"'), "dark is true or false"),
        (("\n[roles]", "\n[rolls]"), "no [roles] table"),
        (("\n[roles]", "\n[roles"), "not TOML"),
    ],
)
async def test_a_broken_theme_is_told_and_the_others_are_there(
    own: Path, change: tuple[str, str], complaint: str
) -> None:
    (own / "mine.toml").write_text(shipped("dark").replace(*change, 1), encoding="utf-8")
    themes, problems = load_themes()
    assert tuple(themes) == NAMES
    (said,) = problems
    assert said.startswith(f"theme {own / 'mine.toml'}: ")
    assert complaint in said


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = [" * 5000, b"#" * 300_000], ids=["bytes", "deep", "large"]
)
async def test_junk_is_told_on_the_screen_and_never_fatal(
    own: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VmqApp, "NOTIFICATION_TIMEOUT", 3600)
    (own / "junk.toml").write_bytes(content)
    (own / "directory.toml").mkdir()
    async with running() as (app, _, _link):
        await until(lambda: len(app._notifications) >= 2)
        said = [note.message for note in app._notifications]
        assert len(said) == 2
        assert all(str(own) in one for one in said)
        assert app.theme == "dark"


def test_colours_may_be_written_as_textual_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(shipped("dark").replace('text = "#ccd3de"', 'text = "white"'), encoding="utf-8")
    assert read_theme(path).roles["text"] == "#ffffff"


@pytest.mark.parametrize(("value", "theme"), [("1", "mono"), ("", "dark")])
async def test_no_color_is_kept_to(monkeypatch: pytest.MonkeyPatch, value: str, theme: str) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    assert preferred(THEMES) == theme
    async with running() as (app, _, _link):
        assert app.theme == theme


def test_the_page_names_every_theme() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Themes\n")[1].split("\n## ")[0]
    for theme in THEMES.values():
        assert f"| `{theme.name}` |" in section, theme.name
