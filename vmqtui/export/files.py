"""Tables as CSV or Parquet, written as their rows come: memory does not grow with the recording."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from vmqtui.columns.export import cell
from vmqtui.export.tables import Cell

ROWS_AT_ONCE: Final = 32_768
"""Rows of a group of a Parquet file: what is in memory at a time."""


class UnfitValueError(Exception):
    """A value that the form has no room for; the text is a sentence that names its column."""


class MissingLibraryError(Exception):
    """An optional library is not installed; the text is a sentence that says which extra has it."""


def write_csv(file: IO[str], columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]]) -> int:
    """Write a table as CSV (RFC 4180), formulas defused as in every other; how many rows it has."""
    writer = csv.writer(file)
    writer.writerow([name for name, _ in columns])
    count = 0
    for row in rows:
        writer.writerow([cell(value) for value in row])
        count += 1
    return count


def write_parquet(path: Path, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]]) -> int:
    """Write a table as Parquet; how many rows it has.

    Raises MissingLibraryError, UnfitValueError, OSError.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingLibraryError(
            "Parquet needs pyarrow, which is not installed: pip install 'vmqtui[parquet]' (csv needs nothing)"
        ) from None
    kinds: dict[str, Any] = {"integer": pyarrow.int64(), "text": pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns])
    count = 0
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        remaining = iter(rows)
        while group := list(islice(remaining, ROWS_AT_ONCE)):
            arrays = []
            for values, field in zip(zip(*group, strict=True), schema, strict=True):
                try:
                    arrays.append(pyarrow.array(values, field.type))
                except (OverflowError, pyarrow.ArrowInvalid):
                    raise UnfitValueError(
                        f"{field.name}: a value among rows {count + 1:,} to {count + len(group):,} does not"
                        " fit a signed 64-bit integer; csv has room for it"
                    ) from None
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """A path to write to beside ``path``, whose name it takes when all is written; else it goes."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
