"""``vmqtui config …``: where the configuration file is, and what holds."""

from typing import Annotated

import typer

from vmqtui.cli.options import Json

config = typer.Typer(help="Find and show the configuration file.", rich_markup_mode=None)


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
    from vmqtui.cli.failures import sentences
    from vmqtui.cli.output import print_json
    from vmqtui.cli.own import own_preferences
    from vmqtui.cli.streams import write_in_utf8
    from vmqtui.preferences.file import as_document, as_toml, config_path
    from vmqtui.preferences.model import Preferences
    from vmqtui.printable import printable

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
