"""Files that the dashboard writes: the table that is shown, a picture of the screen."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import platformdirs
from textual.screen import Screen

from engine.counted import counted
from vmqtui.columns.export import as_csv, document
from vmqtui.printable import as_json, printable
from vmqtui.state.model import Model
from vmqtui.views.view import View

_MOST_ALIKE: Final = 99
"""Files of one name and second."""


def exports_directory(chosen: str | None) -> Path:
    """Where files are written: the one chosen, or one of the user's own."""
    if chosen is not None:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("vmqtui", appauthor=False) / "exports"


def write_new(directory: Path, stem: str, suffix: str, text: str) -> Path:
    """Write a file that was not there, and give its path. Raises ``OSError``."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", stem)[:128]
    for number in range(1, _MOST_ALIKE + 1):
        path = directory / f"{stem}{f'-{number}' if number > 1 else ''}.{suffix}"
        try:
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, "there are too many files of that name", str(directory / stem))


def without_outside(picture: str) -> str:
    """An SVG of Textual's without its web fonts: a picture asks for nothing from outside."""
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return picture.replace("<text ", '<text xml:space="preserve" ')


class Exports(Screen[None]):
    """A screen that writes what it shows into files."""

    exports: str | None = None
    """The directory for them; None: one of the user's own."""
    _model: Model

    @property
    def view(self) -> View:
        """The view that is seen."""
        raise NotImplementedError

    def _tell(self, words: str, severity: str = "information") -> None:
        raise NotImplementedError

    def action_export(self, form: Literal["csv", "json"]) -> None:
        """Write the table with the focus, as it is filtered, sorted and in its columns."""
        table = self.view.table
        snapshot, rows = self._model.snapshot, table.rows
        columns = table.chosen_columns
        if form == "csv":
            text = as_csv(columns, rows)
        else:
            made = document(table.table, columns, rows, snapshot.host, snapshot.stats)
            if self._model.choices.deltas:
                made["deltas"] = True
            text = as_json(made, indent=1) + "\n"
        what = f"{counted(len(rows), 'row')}, {counted(len(columns), 'column')} of {table.table}"
        self._write(table.table, form, text, what)

    def action_screenshot(self) -> None:
        """Write a picture of the screen."""
        picture = without_outside(self.app.export_screenshot(title=f"vmqtui · {self._model.host}"))
        self._write(self.view.view_id, "svg", picture, "a picture of the screen")

    def _write(self, what: str, suffix: str, text: str, words: str) -> None:
        stats = self._model.snapshot.stats
        at = datetime.now(UTC)
        with suppress(OverflowError, OSError, ValueError):  # a time from the network may be none
            at = datetime.fromtimestamp(stats.time_ns / 1e9, UTC) if stats is not None else at
        stem = f"{self._model.host or 'vmqtui'}-{what}-{at:%Y%m%dT%H%M%SZ}"
        directory = exports_directory(self.exports)
        try:
            path = write_new(directory, stem, suffix, text)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._tell(f"nothing was written: {printable(str(directory))}: {why}", "warning")
        else:
            self._tell(f"{words} → {path}")
