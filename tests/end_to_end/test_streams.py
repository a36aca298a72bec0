"""Standard streams as people's shells have them: closed, full, cut off, and in other encodings than UTF-8."""

import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.capture_forms import frame, packet, pcap
from tests.end_to_end.program import VMQTUI, Running, in_this_process
from tests.slow import slow_but
from vmqtui.__main__ import main

ENCODINGS = ("cp1252", "ascii", "cp437")
ODD = "web-…-€-β-𝛼"
"""A name with characters that most encodings lack."""
SCENARIO = f"""
[host]
name = "odd"
cpus = 1
[[adapter]]
[[adapter.queue]]
name = "{ODD}"
vm = "{ODD}"
buffers = 64
[[adapter.queue.filter]]
mac = "02:00:5e:10:00:01"
"""
COMMANDS = (
    "--help", "--version", "get --help", "queue --help", "doctor", "config show", "config path",
    "scenario list", "scenario show one-queue", "scenario show one-queue --toml", "logs path", "logs show",
    "export grafana", "replay CAPTURE --scenario SCENARIO", "replay CAPTURE", "plan CAPTURE",
    "compare CAPTURE SCENARIO", "advise --scenario SCENARIO --capture CAPTURE --seconds 1", "get elephants",
    "get hosts --broker URL", "get queues --broker URL", "get buffers --broker URL", "get cpus --broker URL",
    "get queues --host all --broker URL", "advise --seconds 0.2 --broker URL", "traffic query --broker URL",
    "queue set 1 --cpu 0 --what-if --broker URL", "vm pause nobody --broker URL",
)  # fmt: skip
DOCUMENTS = ("config show", "plan", "export", "traffic", "scenario show one-queue --toml")
"""Commands that print TOML or the like: in UTF-8 whatever the encoding of text. So is help in place of ASCII,
which its library takes for a misconfigured locale."""


class Printed(NamedTuple):
    status: int
    out: bytes
    err: bytes


Print = Callable[[str, str], Printed]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What stands for a word of a command: a capture, a scenario, an engine that runs it."""
    directory = tmp_path_factory.mktemp("files")
    capture, scenario = directory / "trace.pcap", directory / "odd.toml"
    capture.write_bytes(pcap([packet(0, frame("02:00:5e:10:00:01"))] * 3))
    scenario.write_text(SCENARIO, encoding="utf-8")
    engine = Running("engine", "--scenario", scenario, "--interval", "0.05")
    yield {"CAPTURE": str(capture), "SCENARIO": str(scenario), "URL": engine.first_line()}
    engine.end()


@pytest.fixture
def printed(words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Print:
    """Runs a command in this process, on streams of an encoding."""

    def run(command: str, encoding: str) -> Printed:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "argv", ["vmqtui", *(words.get(word, word) for word in command.split())])
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            with in_this_process(), pytest.raises(SystemExit) as ended:
                main()
            for stream in streams:
                stream.flush()
        assert isinstance(ended.value.code, int)
        out, err = (stream.buffer.getvalue() for stream in streams)
        return Printed(ended.value.code, out, err)

    return run


@pytest.mark.parametrize("command", slow_but(["get --help"], COMMANDS))
def test_every_command_prints_in_every_encoding(command: str, printed: Print) -> None:
    reference = printed(command, "utf-8")
    assert reference.out or reference.err
    for encoding in ENCODINGS:
        done = printed(command, encoding)
        assert b"nternal error" not in done.err
        assert done.status == reference.status
        done.err.decode(encoding)
        in_utf8 = command.startswith(DOCUMENTS) or (encoding == "ascii" and command.endswith("--help"))
        text = done.out.decode("utf-8" if in_utf8 else encoding)
        if command.startswith("get "):
            assert text.count("\n") == reference.out.decode().count("\n")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_degrade_one_for_one_and_columns_stay_aligned(encoding: str, printed: Print) -> None:
    head, *lines = (
        printed("get queues --columns vm,state --broker URL", encoding).out.decode(encoding).splitlines()
    )
    assert {line.index("running") for line in lines} == {head.index("State")}
    assert lines[1].startswith("web-")
    if encoding == "ascii":
        assert lines[1].startswith("web-~-?-?-?")


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8"])
def test_documents_lose_nothing_in_any_encoding(encoding: str, printed: Print) -> None:
    found = json.loads(printed("get queues --json --broker URL", encoding).out)
    assert [queue["name"] for queue in found["queues"]] == ["default", ODD]
    toml = printed("scenario show one-queue --toml", encoding).out.decode("utf-8")
    assert tomllib.loads(toml)["host"]
    assert toml == printed("scenario show one-queue --toml", "utf-8").out.decode("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes them")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["get queues", "scenario list", "no-such-command"])
@pytest.mark.slow
def test_closed_streams_are_no_error(closed: str, command: str, words: dict[str, str]) -> None:
    broker = f"VMQTUI_BROKER='{words['URL']}'" if command.startswith("get") else ""
    done = subprocess.run(
        ["sh", "-c", f"{broker} '{VMQTUI}' {command} {closed}"], capture_output=True, timeout=60
    )
    assert done.returncode == (2 if command == "no-such-command" else 0), done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell joins them")
@pytest.mark.slow
def test_a_reader_that_goes_ends_a_command_quietly(words: dict[str, str]) -> None:
    command = f"'{VMQTUI}' get queues --broker '{words['URL']}' --watch | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Name")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is not here")
@pytest.mark.slow
def test_output_that_has_no_room_is_an_error_in_a_sentence(words: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([VMQTUI, "scenario", "list"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"error: No space left on device\n"
