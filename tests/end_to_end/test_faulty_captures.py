"""Captures that are missing, cut or no captures end as CONTRACT 4 says; none ends in a traceback."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.capture_forms import (
    WIFI,
    block,
    enhanced,
    frame,
    interface,
    packet,
    pcap,
    pcapng,
    section,
    write,
)
from tests.end_to_end.conftest import Here
from tests.end_to_end.program import VMQTUI, Done, run

MAC = "02:00:5e:10:00:0a"
PACKETS = [packet(k * 1000, frame(MAC, size=60 + k)) for k in range(4)]
PCAP, PCAPNG = pcap(PACKETS), pcapng(PACKETS)
ONE_PCAP, ONE_PCAPNG = pcap(PACKETS[:1]), pcapng(PACKETS[:1])

UNUSABLE = {
    "empty.pcap": b"",
    "three-bytes.pcap": PCAP[:3],
    "cut-header.pcap": PCAP[:20],
    "only-header.pcap": pcap([]),
    "only-header.pcapng": pcapng([]),
    "only-section.pcapng": section(),
    "cut-record-header.pcap": PCAP[:30],
    "cut-first-frame.pcap": PCAP[: 24 + 16 + 59],
    "cut-first-frame.pcapng": ONE_PCAPNG[:-4],
    "text.pcap": b"not a capture, but as long as a header\n",
    "zeros.pcap": bytes(4096),
    "gzip.pcap": b"\x1f\x8b\x08\x00" + bytes(60),
    "wifi.pcap": pcap(PACKETS, link_type=WIFI),
    "wifi.pcapng": section() + interface(link_type=WIFI) + interface() + enhanced(1, frame(MAC)),
    "huge-first-frame.pcap": pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100),
}


def refused(done: Done, name: str) -> None:
    assert (done.status, done.out) == (2, ""), (name, done)
    assert done.err.startswith("error: "), name
    assert done.err.endswith("\n"), name
    assert done.err.count("\n") == 1, (name, done.err)
    assert name in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", list(UNUSABLE))
def test_unusable_captures_are_refused_in_one_line(name: str, tmp_path: Path, here: Here) -> None:
    path = write(tmp_path / name, UNUSABLE[name])
    refused(here("replay", path, "--json"), name)
    refused(here("replay", path), name)
    refused(here("plan", path), name)


def test_missing_files_and_directories_are_refused(tmp_path: Path, here: Here) -> None:
    for path in (tmp_path / "missing.pcap", tmp_path):
        refused(here("replay", path, "--json"), path.name)
        refused(here("plan", path), path.name)


@pytest.mark.slow
def test_the_installed_command_refuses_without_a_traceback(tmp_path: Path) -> None:
    refused(run("replay", write(tmp_path / "text.pcap", b"#" * 99), "--json"), "text.pcap")


BESIDE = {
    "wifi-unused.pcapng": (PCAPNG + interface(link_type=WIFI), 4, 0),
    "wifi-in-a-later-section.pcapng": (
        PCAPNG + section(">") + interface(">", link_type=WIFI) + enhanced(1, frame(MAC), order=">"),
        4,
        1,
    ),
    "wifi-first.pcapng": (
        section()
        + interface(link_type=WIFI)
        + interface()
        + enhanced(0, bytes(9)) * 2
        + enhanced(1, frame(MAC), of=1),
        1,
        2,
    ),
}


@pytest.mark.parametrize("name", list(BESIDE))
def test_frames_of_other_interfaces_are_left_out_with_a_warning(
    name: str, tmp_path: Path, here: Here
) -> None:
    content, frames, left_out = BESIDE[name]
    done = here("replay", write(tmp_path / name, content), "--json")
    assert done.status == 0
    assert done.document["adapters"][0]["port"]["offered_frames"] == frames
    assert done.document.get("skipped_frames", 0) == left_out
    warning = f"warning: frames of interfaces that are not Ethernet are left out: {left_out}\n"
    assert done.err == (warning if left_out else "")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a shell")
@pytest.mark.parametrize("command", [("replay", "-", "--json"), ("compare", "-", "--json"), ("plan", "-")])
@pytest.mark.slow
def test_standard_input_is_read_to_its_end_and_used_as_often_as_needed(command: tuple[str, ...]) -> None:
    done = subprocess.run([VMQTUI, *command], input=PCAP, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"standard input" in done.stdout


BROKEN = {
    "cut-in-a-frame.pcap": PCAP[:-1],
    "cut-in-a-header.pcap": PCAP + bytes(15),
    "absurd-length.pcap": PCAP + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 60) + bytes(1000),
    "cut-in-a-block.pcapng": PCAPNG[:-1],
    "cut-in-a-block-head.pcapng": PCAPNG + bytes.fromhex("06000000"),
    "block-too-short.pcapng": PCAPNG + struct.pack("<III", 6, 8, 8),
    "lengths-differ.pcapng": PCAPNG + block(5, bytes(12))[:-4] + struct.pack("<I", 28),
    "unknown-interface.pcapng": PCAPNG + enhanced(5, frame(MAC), of=7),
    "longer-than-its-block.pcapng": PCAPNG + block(6, struct.pack("<IIIII", 0, 0, 0, 90, 90) + bytes(60)),
    "no-byte-order.pcapng": PCAPNG + block(0x0A0D0D0A, struct.pack("<IHHq", 0x01020304, 1, 0, -1)),
    "unknown-version.pcapng": PCAPNG + block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 9, 0, -1)),
}
WHOLE_FRAMES = {name: 3 if name.startswith("cut-in-a-") and "head" not in name else 4 for name in BROKEN}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_break_after_a_whole_frame_is_reported_up_to_it(name: str, tmp_path: Path, here: Here) -> None:
    path = write(tmp_path / name, BROKEN[name])
    done = here("replay", path, "--json")
    assert done.status == 1, done
    assert done.err.startswith("warning: "), done.err
    assert done.err.count("\n") == 1
    assert done.document["truncated"] is True
    [row] = done.document["adapters"]
    assert row["port"]["offered_frames"] == WHOLE_FRAMES[name]
    assert row["port"]["offered_bytes"] == sum(each.wire for each in PACKETS[: WHOLE_FRAMES[name]])


def test_a_plan_of_a_broken_capture_says_so(tmp_path: Path, here: Here) -> None:
    done = here("plan", write(tmp_path / "cut.pcap", BROKEN["cut-in-a-frame.pcap"]))
    assert done.status == 1
    assert done.err.startswith("warning: ")
    assert MAC in done.out


@pytest.mark.slow
def test_every_cut_of_a_small_capture_ends_with_the_right_status(tmp_path: Path, here: Here) -> None:
    """Cuts at each byte around the borders of headers and frames; ``plan`` reads as ``replay`` does."""
    for whole, borders in ((PCAP, (24, 40, 100, 116, 177)), (PCAPNG, (28, 60, 72, 152))):
        for border in borders:
            for length in range(border - 2, border + 3):
                content = whole[:length]
                done = here("plan", write(tmp_path / "cut.cap", content))
                frames = _whole_frames(whole, length)
                exact = frames and content == _rebuilt(whole, frames)
                assert done.status == (2 if not frames else 0 if exact else 1), (border, length, done)


def _rebuilt(whole: bytes, frames: int) -> bytes:
    return pcap(PACKETS[:frames]) if whole is PCAP else pcapng(PACKETS[:frames])


def _whole_frames(whole: bytes, length: int) -> int:
    return sum(len(_rebuilt(whole, k)) <= length for k in range(1, 5))
