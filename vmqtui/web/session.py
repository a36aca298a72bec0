"""A session: the dashboard in a separate process, whose screen goes to the server that started it.

Its settings come by the environment, because every user of the machine can read a command line.
"""

import os
import sys
from dataclasses import replace
from typing import Final

import msgspec

from engine.bus.tls import NO_FILES, TlsFiles
from engine.bus.urls import BrokerUrl
from engine.logs import Form
from vmqtui.cli.logs import log_of_screen
from vmqtui.cli.run import run_async, status_of

VARIABLE: Final = "VMQTUI_SESSION"
DRIVER: Final = "vmqtui.web.driver:SessionDriver"


class Wanted(msgspec.Struct, frozen=True):
    """The settings of a session: broker, host, theme, permissions, log form, TLS files."""

    broker: str
    host: str | None = None
    theme: str | None = None
    read_only: bool = True
    log_form: Form = "text"
    tls: TlsFiles = NO_FILES


async def _show(wanted: Wanted) -> int:
    from vmqtui.app import VmqApp
    from vmqtui.link import BusLink
    from vmqtui.preferences.file import PreferencesError, load_preferences
    from vmqtui.preferences.model import Preferences

    notes = []
    try:
        preferences = load_preferences()
    except PreferencesError as error:  # the file has changed since the server started
        preferences, notes = Preferences(), [str(error)]
    async with BusLink() as link:
        app = VmqApp(
            link,
            theme=wanted.theme,
            read_only=wanted.read_only,
            host=wanted.host,
            notes=notes,
            preferences=preferences,
            writes_files=False,  # a remote viewer can't read this machine's files
        )
        url = replace(BrokerUrl.parse(wanted.broker), files=wanted.tls)
        await link.connect(url, wanted.host, read_only=wanted.read_only)
        await app.run_async()
    return status_of(app)


def main() -> None:
    """Run the session that the environment describes."""
    wanted = msgspec.json.decode(os.environ.pop(VARIABLE), type=Wanted)
    log_of_screen("session", wanted.log_form)
    status = run_async(_show(wanted))
    sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
