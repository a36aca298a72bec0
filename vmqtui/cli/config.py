"""``vmqtui config …``: print the path of the configuration file, and the effective configuration."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vmqtui.cli.failures import not_one_of, sentences, unusable, warn
from vmqtui.cli.options import Json, NoState, Theme
from vmqtui.cli.output import print_json, write_in_utf8
from vmqtui.printable import printable

if TYPE_CHECKING:
    from vmqtui.preferences.kept import Kept, KeptTable, StateFile
    from vmqtui.preferences.model import Preferences

config: Final = typer.Typer(help="Find and show the configuration file.", rich_markup_mode=None)


def own_preferences() -> "Preferences":
    """Load the configuration and check that its theme exists. Raises ``PreferencesError``.

    A theme with a broken file is no error here: the screen reports it and uses another.
    """
    from engine.scenario.values import show as shown
    from vmqtui.preferences.file import PreferencesError, config_path, load_preferences

    preferences = load_preferences()
    if preferences.theme is not None:
        from vmqtui.theme import load_themes

        themes, problems = load_themes()
        broken = any(f"{preferences.theme}.toml" in problem for problem in problems)
        if preferences.theme not in themes and not broken:
            fitting = ", ".join(themes)
            raise PreferencesError(
                f"{config_path()}: theme: {shown(preferences.theme)} is not a theme ({fitting} fits)"
            )
    return preferences


def own_state(no_state: bool) -> "StateFile | None":
    """Read the state file; None with ``--no-state``. If it can't be used, its ``problem`` says so."""
    from vmqtui.preferences.kept import StateFile, state_path

    path = None if no_state else state_path()
    return None if path is None else StateFile(path)


@config.command()
def path() -> None:
    """Print where the configuration file is, whether or not there is one."""
    from vmqtui.preferences.file import config_path

    print(config_path())


@config.command()
def show(
    json_: Json = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="What holds without a file.")] = False,
    theme: Theme = None,
    no_state: NoState = False,
) -> None:
    """Print what holds, as the configuration file would say it, and where each value comes from."""
    from vmqtui.preferences.file import as_document, as_toml, config_path
    from vmqtui.preferences.model import Preferences

    with sentences():
        preferences = Preferences() if defaults else own_preferences()
        _check_theme(theme)
    state = None if defaults else own_state(no_state)
    if state is not None and state.problem:
        warn(state.problem)
    held, sources = _with_sources(preferences, state, theme, files=not defaults)
    file = config_path()
    chosen = state.kept if state is not None else None
    if json_:
        from msgspec import to_builtins

        files = {"file": str(file), "state_file": None if state is None else str(state.path)}
        tables = {} if chosen is None else {place: _own(table) for place, table in chosen.tables.items()}
        layout = {} if chosen is None else chosen.layout
        kept = {"tables": to_builtins({place: one for place, one in tables.items() if one}), "layout": layout}
        kept["searches"] = {} if chosen is None else chosen.searches
        document = as_document(held) | {"sources": sources, "chosen": kept}
        print_json({"schema": "vmq.preferences/1"} | files | document)
        return
    there = "" if file.exists() else ": not there"
    write_in_utf8()
    print(f"# {'defaults' if defaults else f'configuration: {printable(str(file))}{there}'}")
    if state is not None:
        print(f"# state: {printable(str(state.path))}{'' if state.path.exists() else ': not there'}")
    print(as_toml(held, {} if defaults else sources), end="", flush=True)
    lines = [] if chosen is None else _chosen_lines(chosen)
    if lines:
        print("\n# chosen on the screen; the configuration has no keys for it")
    for line in lines:
        print(f"# {printable(line)}", flush=True)


def _check_theme(theme: str | None) -> None:
    if theme is None:
        return
    from vmqtui.theme import load_themes

    themes, _ = load_themes()
    if theme not in themes:
        unusable(f"--theme: {not_one_of(theme, list(themes), 'a theme')}")


def _with_sources(
    preferences: "Preferences", state: "StateFile | None", theme: str | None, *, files: bool
) -> "tuple[Preferences, dict[str, str]]":
    """The preferences that hold, and where the value of each key comes from; ``files``: there are files."""
    from msgspec.structs import replace

    from vmqtui.preferences.file import all_keys, written_keys
    from vmqtui.preferences.kept import Kept

    held, chosen = (state.kept if state is not None else Kept()).over(preferences)
    written = written_keys() if files else frozenset()
    sources = dict.fromkeys(all_keys(held), "default")
    sources |= dict.fromkeys((key for key in sources if key in written), "configuration")
    sources |= dict.fromkeys(chosen, "state")
    if theme is not None:
        held, sources["theme"] = replace(held, theme=theme), "command line"
    return held, sources


def _own(table: "KeptTable") -> dict[str, object]:
    """The choices of a table that the configuration has no keys for."""
    return {"sort": table.sort} if table.sort else {}


def _chosen_lines(kept: "Kept") -> list[str]:
    """The choices that the configuration has no keys for, in words."""
    lines = [
        f"{place}: {name} = {_words(value)}"
        for place, table in kept.tables.items()
        for name, value in _own(table).items()
    ]
    for host, searches in kept.searches.items():
        lines += [f"{place}: search = {text} (at {host})" for place, text in searches.items()]
    return lines + [f"layout: {place} = {_words(value)}" for place, value in kept.layout.items()]


def _words(value: object) -> str:
    if isinstance(value, tuple):
        key, largest_first = value
        return f"{key}, {'largest' if largest_first else 'smallest'} first"
    return str(value).lower() if isinstance(value, bool) else str(value)
