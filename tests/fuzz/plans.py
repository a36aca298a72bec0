"""What plans, comparisons, advice and tables are made from: captures, recordings, names, settings."""

import dataclasses
import re
from html.parser import HTMLParser
from typing import Final

import msgspec

from engine.scenario.load import loads
from engine.scenario.relations import MisfitError
from engine.service.compare.comparison import Comparison
from engine.service.compare.runs import LowQueue
from engine.service.replay import plan_capture
from engine.telemetry.packing import PackingError
from engine.telemetry.recording import Recording, RecordingError
from engine.traffic.capture import CaptureError
from engine.traffic.plan import Hardware
from engine.traffic.plan_placement import NoProcessorError
from engine.traffic.plan_text import to_toml
from tests.fuzz import files
from tests.fuzz.mutate import RECORDING
from tests.fuzz.target import Target, check_sentence, room, written
from tests.vmqtui.compare.test_reports import comparison
from vmqtui.cli.advise import read_settings
from vmqtui.cli.failures import CommandError
from vmqtui.compare.page import page
from vmqtui.compare.text import lines, markdown
from vmqtui.export.tables import COLUMNS, Rows, UnfitValueError, write_parquet
from vmqtui.printable import is_plain


def _plan(data: bytes) -> None:
    """The first bytes say what hardware there is, the rest is a capture; a plan reads back as itself."""
    first = data[:8].ljust(8, b"\xff")
    hardware = Hardware(
        host_name="hv01",
        cpus=2 + 2 * (first[0] % 16),
        hyperthreading=first[1] % 2 == 0,
        numa_nodes=1 + first[2] % 2,
        numa_node=first[3] % 2,
        base_cpu=first[4] % 8,
        max_queues=None if first[5] > 64 else first[5],
        max_filters=None if first[6] > 64 else first[6],
        max_buffers=None if first[7] > 128 else 1 + first[7],
    )
    try:
        planned, caveats = plan_capture(written(data[8:], "planned"), hardware)
    except (CaptureError, NoProcessorError, MisfitError) as error:
        check_sentence(error)
        return
    if caveats.broken is not None:
        check_sentence(caveats.broken)
    text = to_toml(planned, "x")
    assert all(line.isprintable() for line in text.split("\n"))
    assert loads(text, "plan.toml") == planned.scenario


def _tables(data: bytes) -> None:
    """A recording as Parquet, each table of it."""
    try:
        with Recording(written(data, "tabled")) as opened:
            for table, columns in COLUMNS.items():
                try:
                    write_parquet(room() / "table", columns, Rows(opened, table))
                except UnfitValueError as error:
                    check_sentence(error)
    except (RecordingError, PackingError) as error:
        check_sentence(error)


class _Tags(HTMLParser):
    """The tags of a page, and whatever a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("href", "src", "action", "xlink:href"), (name, value)


def _tags(text: str) -> set[str]:
    read = _Tags()
    read.feed(text)
    return read.tags


_PLAIN: Final = comparison("one", "two", gini=[0.1, 0.2])
_KNOWN_TAGS: Final = _tags(page(_PLAIN))


def _named(data: bytes) -> Comparison:
    """A comparison whose plans and queues have these names."""
    one, two, queue, *_ = (*data.decode("utf-8", "surrogateescape").split("\n"), "", "", "")
    made = comparison(one, two, gini=[0.1, 0.2])
    lowest = [LowQueue("nic0", queue[:256], 3, 16)]
    results = [msgspec.structs.replace(result, lowest=lowest) for result in made.results]
    return dataclasses.replace(made, results=results)


def _reports(data: bytes) -> None:
    """A comparison of plans that anybody named, in each of its forms."""
    made = _named(data)
    for line in lines(made, 80):
        assert is_plain(line), line
    assert _tags(page(made)) <= _KNOWN_TAGS
    assert not re.search(r"(?<!\\)[<>]", markdown(made))


def _settings(data: bytes) -> None:
    """What ``vmqtui advise --set`` is given."""
    try:
        read_settings(data.decode("utf-8", "surrogateescape").split("\n")[:4])
    except CommandError as error:
        check_sentence(error)


TARGETS: Final = {
    "plan": Target(_plan, lambda: [b"\x03\1\0\0\0\xff\xff\xff" + one for one in files.capture_seeds()]),
    "tables": Target(_tables, files.recording_seeds, form=RECORDING),
    "reports": Target(
        _reports, lambda: [b"lab\nwide <b>&amp;</b>\nq|1", b"a" * 300 + b"\n\x1b[31m\n\xff*_`", b"\n\n"]
    ),
    "settings": Target(_settings, lambda: [b"busy_load=0.9\nidle_pps=1e3", b"busy_load=nan", b"x=1"]),
}
"""By name."""
