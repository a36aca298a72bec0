"""``vmqtui config …``: print the path of the configuration file, and the effective configuration."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vmqtui.cli.failures import sentences
from vmqtui.cli.options import Json
from vmqtui.cli.output import print_json, write_in_utf8
from vmqtui.printable import printable

if TYPE_CHECKING:
    from vmqtui.preferences.kept import StateFile
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
) -> None:
    """Print the configuration that holds, defaults too, as the file would say it."""
    from vmqtui.preferences.file import as_document, as_toml, config_path
    from vmqtui.preferences.model import Preferences

    file = config_path()
    with sentences():
        preferences = Preferences() if defaults else own_preferences()
    if json_:
        print_json({"schema": "vmq.preferences/1", "file": str(file)} | as_document(preferences))
        return
    there = "" if file.exists() else ": not there, these are the defaults"
    write_in_utf8()
    print(f"# {'defaults' if defaults else printable(str(file)) + there}")
    print(as_toml(preferences), end="", flush=True)
