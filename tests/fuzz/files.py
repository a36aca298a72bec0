"""Files that a person names, or that lie where the program looks: each read from the disk, as it is."""

import gzip
import io
import os
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

import engine.scenario
from engine.bus import codec, discovery
from engine.bus.accounts import ACCOUNT_LIMIT, ENGINE, USERS, read_accounts
from engine.bus.errors import BadAccounts, BadMessage, BadUrl
from engine.bus.messages import Status
from engine.measure.host import SourceError
from engine.measure.sources import read_measured
from engine.ndis.host import Host
from engine.scenario.keys import keys_of, rows_of
from engine.scenario.load import ScenarioError, load, load_traffic, read_traffic
from engine.scenario.model import Scenario, TrafficSpec
from engine.telemetry.packing import PackingError
from engine.telemetry.recorder import Recorder
from engine.telemetry.recording import Recording, RecordingError
from engine.telemetry.stats import Stats
from engine.traffic.capture import CaptureError
from tests.fuzz.messages import FEW, check_tables, check_twin
from tests.fuzz.mutate import JSON, RECORDING
from tests.fuzz.target import Target, check_sentence, room, written
from tests.ndis.lab import Buffers
from tests.netview import netview, write_folder
from tests.traffic import captures
from tests.traffic.reading import read_bytes
from tests.vmqtui.scripted import EVENTS, make_config, make_stats
from tests.windows_hosts import WindowsHostSample
from vmqtui.actions import ACTIONS
from vmqtui.export.tables import COLUMNS, Rows, write_csv
from vmqtui.preferences.file import PreferencesError, load_preferences
from vmqtui.preferences.kept import SCHEMA, Kept, StateFile, kept_of
from vmqtui.preferences.model import PLACES, Preferences, TableColumns
from vmqtui.recorded import RecordedLink, open_recording
from vmqtui.state.choices import PANE, Choices
from vmqtui.state.model import Model
from vmqtui.theme import COLOURS, ROLES, read_theme, themes_directory

_FEW_QUEUES: Final = 64


def _scenario(data: bytes) -> None:
    try:
        read = load(written(data, "scenario.toml"))
    except ScenarioError as error:
        check_sentence(error)
        return
    if sum(len(adapter.queue) for adapter in read.adapter) <= _FEW_QUEUES:
        host, plane = Host(read), Buffers()
        try:
            plane.carry_out(host.start())
        except ValueError as error:
            check_sentence(error)


def _traffic(data: bytes) -> None:
    try:
        read_traffic(load_traffic(written(data, "traffic.toml")), TrafficSpec(), ["nic0", "nic1"])
    except ScenarioError as error:
        check_sentence(error)


def _config(data: bytes) -> None:
    try:
        load_preferences(written(data, "config.toml"))
    except PreferencesError as error:
        check_sentence(error)


def _state(data: bytes) -> None:
    file = StateFile(written(data, "config.state.json"))
    choices = Choices()
    file.kept.put_into(choices, Preferences())
    theme = file.kept.theme_over(Preferences())
    kept = kept_of(choices, theme, Preferences())
    assert file.problem == "" or kept == Kept()
    again = Choices()
    kept.put_into(again, Preferences())
    assert (again.tables, again.layout) == (choices.tables, choices.layout)


def _state_seeds() -> list[bytes]:
    choices = Choices()
    choices.change("queues-table", sort=("pps", True), filter="web", always=frozenset({"adapter"}))
    choices.set(PANE, False)
    return [msgspec.json.encode(kept_of(choices, "light", Preferences()))]


def _theme(data: bytes) -> None:
    try:
        read_theme(written(data, "theme.toml"))
    except ValueError as error:
        check_sentence(error)


def _capture(data: bytes) -> None:
    try:
        read_bytes(data, room())
    except CaptureError as error:
        check_sentence(error)


def _gzip_seeds() -> list[bytes]:
    """Compressed captures: whole, in two members, and followed by what is none."""
    seeds = capture_seeds()
    whole = [gzip.compress(seed, mtime=0) for seed in seeds]
    return [*whole, whole[0] + whole[-1], whole[0] + b"garbage", gzip.compress(whole[0], mtime=0)]


def _recording(data: bytes) -> None:
    """Opened, read to its end, played in the dashboard's model, and written as tables."""
    try:
        with Recording(written(data, "recording")) as opened:
            _play(opened)
    except (RecordingError, PackingError) as error:
        check_sentence(error)


def _play(opened: Recording) -> None:
    if opened.broken:
        check_sentence(opened.broken)
    for host, index in opened.hosts.items():
        for number in range(len(index.offsets)):
            opened.stats(host, number)
        for kind, places in index.messages.items():
            for place in range(len(places)):
                opened.message(host, kind, place)
    link = RecordedLink(opened)
    for host in link.hosts[:2]:
        model = Model(link, host, tapes=link.tape)
        for by in (1, 1, 1000, -1):
            model.step(by)
            check_tables(model.snapshot)
    for table, columns in COLUMNS.items():
        write_csv(io.StringIO(), columns, Rows(opened, table))


def _windows(data: bytes) -> None:
    """What was collected on a Windows host: read, played, and written as tables."""
    _measured(written(data, "host.json"))


def _netview(data: bytes) -> None:
    """A text of Get-NetView in place of one of its files, which the first byte chooses."""
    files, folder = _netview_files(), room() / "netview"
    if not folder.exists():
        write_folder(folder, files)
    name = sorted(files)[data[0] % len(files)] if data else next(iter(files))
    try:
        (folder / name).write_bytes(data[1:])
        _measured(folder)
    finally:
        (folder / name).write_text(files[name], encoding="cp1252")


@cache
def _netview_files() -> dict[str, str]:
    return netview(WindowsHostSample("2012 R2", vms=2, seconds=2))


def _measured(path: Path) -> None:
    try:
        with open_recording(path) as (opened, remarks):
            for remark in remarks:
                check_sentence(ValueError(remark))
            _play(opened)
        check_twin(read_measured(path))
    except SourceError as error:
        check_sentence(error)


def _netview_seeds() -> list[bytes]:
    files = _netview_files()
    of_kind = {Path(name).name: (number, name) for number, name in enumerate(sorted(files))}
    return [bytes([number]) + files[name].encode() for number, name in of_kind.values()]


def _announcement(data: bytes) -> None:
    directory = room() / "announced"
    directory.mkdir(exist_ok=True)
    (directory / f"engine-{os.getpid()}.json").write_bytes(data)
    try:
        discovery.find_url(user="viewer", directory=directory)
        discovery.find_url("mqtt://localhost", user="viewer", directory=directory)
    except BadUrl as error:
        raise AssertionError("a file that does not read is passed over") from error


def _accounts(data: bytes) -> None:
    path = written(data, "accounts")
    path.chmod(0o600)
    try:
        found = read_accounts(path)
    except BadAccounts as error:
        check_sentence(error)
        return
    assert 1 <= len(found) <= ACCOUNT_LIMIT
    assert len({one.name for one in found} - {ENGINE, *USERS}) == len(found)


def _account_seeds() -> list[bytes]:
    stored = f"scrypt${'A' * 22}==${'b' * 86}=="
    return [f"# who may come\nann operator {stored}\nbob@lab viewer {stored}\n".encode()]


def _scenario_seeds() -> list[bytes]:
    shipped = (Path(engine.scenario.__file__).parent / "default.toml").read_bytes()
    small = b'[host]\ncpus = 2\n[[adapter]]\nname = "nic0"\n[[adapter.queue]]\nvm = "a"\n'
    return [shipped, small + b'[[adapter.queue.filter]]\nmac = "00:15:5d:00:00:01"\nvlan = 10\n']


def _traffic_seeds() -> list[bytes]:
    head = b'[traffic]\nseed = 7\n[[traffic.mix]]\nadapter = "nic0"\nrate_pps = 1000\npattern = "bursts"\n'
    flow = b'[[traffic.mix.flow]]\nmac = "00:15:5d:00:00:01"\nvlan = 10\nframe_bytes = "imix"\nweight = 2\n'
    return [head + flow, head + flow + flow]


def _theme_seeds() -> list[bytes]:
    directory = themes_directory()
    return [path.read_bytes() for path in sorted(directory.glob("*.toml"))[:2]] if directory else []


_MAGICS: Final = (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)


def capture_seeds() -> list[bytes]:
    frames = [captures.frame(ns * 1000, captures.ethernet(vlan=ns)) for ns in range(1, 5)]
    forms = [captures.pcap(frames, order=order, magic=magic) for order in "<>" for magic in _MAGICS]
    return [*forms, *_captures_ng(frames)]


def _captures_ng(frames: list[captures.Frame]) -> list[bytes]:
    """pcapng files of the same frames, in both byte orders."""
    files = []
    for order in "<>":
        file = captures.section(order) + captures.interface(order)
        for one in frames:
            file += captures.enhanced(one.ns, one.data, order=order)
        files.append(file + captures.simple(frames[0].data, order=order))
    return files


def recording_seeds() -> list[bytes]:
    path = room() / "whole"
    with Recorder(path, limit_bytes=1 << 30, replace=True) as recorder:
        recorder.message("hv01", "status", codec.encode(Status(state="online")))
        recorder.message("hv01", "config", codec.encode(make_config(FEW)))
        for seq in range(1, 6):
            recorder.reading("hv01", make_stats(seq, FEW))
        recorder.message("hv01", "event", codec.encode(EVENTS[0]))
    return [path.read_bytes()]


def _scenario_words() -> list[str]:
    names = {name for row in rows_of(Scenario) for name in keys_of(row)}
    headings = ("[host]", "[[adapter]]", "[[adapter.queue]]", "[[adapter.queue.filter]]", "[[adapter.port]]")
    return [*names, *headings, "[traffic]", "[[traffic.mix]]", "[[traffic.mix.flow]]", "[cpu]", "untagged"]


def _config_words() -> list[str]:
    names = {name for row in (*rows_of(Preferences), TableColumns) for name in keys_of(row)}
    return [*names, *(action.id for action in ACTIONS), "[keymap]", "[columns.queues-table]"]


def _recorded(data: bytes) -> None:
    """A recorder is given what came over the bus: what it writes is read again, or was refused."""
    try:
        stats = codec.decode(Stats, data)
    except BadMessage:
        return
    path = room() / "recorded"
    with Recorder(path, limit_bytes=1 << 30, replace=True) as recorder:
        recorder.reading("hv01", make_stats(1, FEW))
        recorder.reading("hv01", stats)
        recorder.reading("hv01", make_stats(3, FEW))
    with Recording(path) as opened:
        again = [opened.stats("hv01", number) for number in range(len(opened.hosts["hv01"].offsets))]
    assert again[-1].seq == 3


TARGETS: Final = {
    "scenario": Target(_scenario, _scenario_seeds, words=_scenario_words),
    "traffic": Target(_traffic, _traffic_seeds, words=_scenario_words),
    "config": Target(
        _config,
        lambda: [
            b'theme = "light"\ninterval_s = 0.5\n[keymap]\nundo = ["U", "ctrl+z"]\n',
            b'[columns.queues-table]\nshow = ["total_buffers"]\nhide = ["share"]\n[thresholds]\n'
            b"load_warn = 0.6\n",
        ],
        words=_config_words,
    ),
    "keymap": Target(
        lambda data: _config(b"[keymap]\n" + data),
        lambda: [b'undo = "u"\nmove_queue = ["m", "f5"]\n', b'quit = ""\n'],
        words=_config_words,
    ),
    "state": Target(_state, _state_seeds, words=lambda: [*PLACES, SCHEMA, "sort", "layout"], form=JSON),
    "theme": Target(_theme, _theme_seeds, words=lambda: [*COLOURS, *ROLES, "[colours]", "[roles]"]),
    "capture": Target(_capture, capture_seeds),
    "capture-gzip": Target(_capture, _gzip_seeds),
    "recording": Target(_recording, recording_seeds, form=RECORDING),
    "windows": Target(_windows, lambda: [WindowsHostSample("2012 R2", vms=2, seconds=2).json()], form=JSON),
    "netview": Target(_netview, _netview_seeds),
    "recorded": Target(_recorded, lambda: [codec.encode(make_stats(2, FEW))]),
    "accounts": Target(
        _accounts, _account_seeds, words=lambda: ["scrypt$", "viewer", "operator", ENGINE, *USERS]
    ),
    "announcement": Target(
        _announcement,
        lambda: [b'{"urls": {"viewer": "mqtt://viewer:x@127.0.0.1:1883"}, "host": "a", "found": true}'],
        form=JSON,
    ),
}
"""By name."""
