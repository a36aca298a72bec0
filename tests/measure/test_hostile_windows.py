"""What a Windows host tells, with each value replaced by ones that no host has, and cut off anywhere.

Readers take what fits and say what does not, or refuse the file in a sentence; what they made of it goes
through messages, advice and the twin.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from engine.advice.evidence import Evidence
from engine.advice.rules import findings, unchecked
from engine.bus.codec import decode, encode
from engine.measure.host import MeasuredHost, SourceError
from engine.measure.sources import read_measured, read_windows
from engine.measure.twin import make_twin
from engine.measure.windows_tables import read_json
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from tests.netview import netview, write_folder
from tests.windows_hosts import WindowsHostSample

SAMPLE: Final = WindowsHostSample(cores=8, nodes=1, hyperthreading=False, vms=2, seconds=2, weights={1: 0})
WRONG: Final[tuple[object, ...]] = (
    *(None, True, -1, 1.5, 2**70, -(2**70), 1e308, "", "x", "\0\x1b", "4294967296"),
    *([], {}, [None], [[]], {"x": {}}),
)
Place = tuple[str | int, ...]


def places(node: Any, at: Place = ()) -> Iterator[Place]:
    """Where each value of a document is; of lists, in the first row only."""
    if at:
        yield at
    inside = node.items() if isinstance(node, dict) else enumerate(node[:1]) if isinstance(node, list) else ()
    for key, value in inside:
        yield from places(value, (*at, key))


def changed(document: dict[str, Any], place: Place, value: object) -> bytes:
    """The document with another value at a place."""
    copied = copy.deepcopy(document)
    node: Any = copied
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return json.dumps(copied).encode("ascii")


def use(measured: MeasuredHost) -> None:
    """What becomes of a measured host: messages that readers take, and advice."""
    assert encode(decode(Config, encode(measured.config))) == encode(measured.config)
    for reading in measured.readings:
        decode(Stats, encode(reading))
    seen = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    findings(seen)
    unchecked(seen)


def try_value(document: dict[str, Any], place: Place, value: object) -> MeasuredHost | None:
    """Read a document with another value at a place, and use what it tells; None if it is refused."""
    why = ""
    try:
        measured = read_windows(read_json("host.json", changed(document, place, value)))
    except SourceError as error:
        why = str(error)
    else:
        use(measured)
        return measured
    assert why.startswith("host.json"), (place, value)
    return None


CASES: Final = [(place, value) for place in places(SAMPLE.document()) for value in WRONG]


def test_a_value_of_any_type_anywhere_is_taken_or_left_out_with_a_word() -> None:
    document = SAMPLE.document()
    for place, value in CASES[::61]:
        try_value(document, place, value)


@pytest.mark.slow
def test_every_wrong_value_in_every_place_is_taken_or_left_out_with_a_word() -> None:
    document = SAMPLE.document()
    for number, (place, value) in enumerate(CASES):
        measured = try_value(document, place, value)
        if measured is not None and number % 20 == 0:
            make_twin(measured)


def cut_json(step: int) -> None:
    text = SAMPLE.json()
    for end in range(0, len(text), step):
        with pytest.raises(SourceError) as refused:
            read_json("host.json", text[:end])
        assert str(refused.value).startswith("host.json")


def test_a_json_cut_off_somewhere_is_refused_in_a_sentence() -> None:
    cut_json(step=211)


@pytest.mark.slow
def test_a_json_cut_off_at_every_byte_is_refused_in_a_sentence() -> None:
    cut_json(step=1)


def cut_netview(folder: Path, step: int) -> None:
    files = netview(SAMPLE)
    write_folder(folder, files)
    for name in files:
        path = folder / name
        whole = path.read_bytes()
        for end in range(0, len(whole), step):
            path.write_bytes(whole[:end])
            use(read_measured(folder))  # the other files tell enough of a host
        path.write_bytes(whole)


def test_each_file_of_a_netview_folder_may_end_anywhere(tmp_path: Path) -> None:
    cut_netview(tmp_path / "netview", step=600)


@pytest.mark.slow
def test_each_file_of_a_netview_folder_may_end_at_many_bytes(tmp_path: Path) -> None:
    cut_netview(tmp_path / "netview", step=23)
