"""What commands print: documents and tables."""

import sys
from collections.abc import Sequence
from typing import Any

from engine.bus.messages import Response
from vmqtui.columns import COLUMNS
from vmqtui.printable import as_json, printable
from vmqtui.state.rows import Row


def print_json(document: Any) -> None:
    """Print one JSON document on a line of its own."""
    print(as_json(document), flush=True)


def print_table(noun: str, rows: Sequence[Row]) -> None:
    """Print a table of ``vmqtui.columns``; columns of which nothing is known in any row are left out."""
    columns = [
        column
        for column in COLUMNS[noun]
        if column.exported and (not rows or any(column.value(row) is not None for row in rows))
    ]
    lines = [[column.heading or column.title for column in columns]]
    lines += [[column.text(row) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


def print_result(response: Response) -> None:
    """Print an answer: its status and sentence, then what it found, a line each."""
    print(f"{printable(response.ndis_status)}: {printable(response.message)}")
    for name, value in response.result.items():
        lines = value if isinstance(value, list) else [value]
        for line in lines:
            text = (
                ", ".join(f"{printable(str(key))} {printable(str(one))}" for key, one in line.items())
                if isinstance(line, dict)
                else printable(str(line))
            )
            print(f"  {printable(name)}: {text}")
    sys.stdout.flush()
