"""``--interface``: captures sent over a cable between network namespaces are what the engine received."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.checks import identities, rows
from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Reader
from tests.end_to_end.oracle import adapters_of, expect, read
from tests.end_to_end.program import VMQTUI, Running
from tests.end_to_end.test_replay_captures import scenario_for
from tests.veth import Veth
from vmqtui.testing import wait_until

CAPTURES = (
    "many-protocols.pcap",
    "vlan-packets.pcap",
    "qinq-8021ad.pcapng",
    "various-gre.pcap",
    "nhrp.pcapng",
)


@pytest.mark.slow
def test_what_goes_into_the_cable_is_what_is_offered(cable: Veth, captures: Path, tmp_path: Path) -> None:
    frames = [frame for name in CAPTURES for frame in read((captures / name).read_bytes())]
    scenario = scenario_for(frames).replace("[host]", '[host]\nname = "wire"')
    path = tmp_path / "wire.toml"
    path.write_text(scenario, encoding="utf-8")
    engine = Running(
        "engine", "--scenario", path, "--interface", cable.near, "--adapter", "nic1", "--interval", "0.05"
    )
    client = Reader(engine.first_line(180), "wire")
    try:
        cable.send(frame.captured for frame in frames)
        wait_until(
            lambda: client.last("stats")["adapters"]["nic1"]["port"]["offered_frames"] >= len(frames),
            what="them",
        )
        stats = client.next_stats()
        adapter, idle = stats["adapters"]["nic1"], stats["adapters"]["nic0"]
        expected = expect(frames, adapters_of(scenario)["nic1"])
        queues = rows(adapter["queues"])
        identities(adapter["port"], queues, adapter["freed"], adapter["default_queue"])
        assert adapter["port"] == expected.port
        assert {queue["id"]: queue["steered_frames"] for queue in queues if queue["steered_frames"]} == dict(
            expected.frames
        )
        assert {queue["id"]: queue["steered_bytes"] for queue in queues if queue["steered_bytes"]} == dict(
            expected.bytes
        )
        matched = {row["id"]: row["matched_frames"] for row in rows(adapter["filters"])}
        assert {number: count for number, count in matched.items() if count} == dict(expected.matched)
        assert {name: count for name, count in adapter["default_queue"].items() if count} == dict(
            expected.reasons
        )
        assert adapter["interface"] == {
            "kernel_received_frames": len(frames),
            "kernel_dropped_frames": 0,
            "interface_dropped_frames": 0,
        }
        assert idle["port"]["offered_frames"] == 0
        assert idle["interface"] is None
        assert client.retained["config"]["traffic"] == f"interface {cable.near}"
        refused = client.ask("set_traffic", mix=[])
        assert refused["ndis_status"] == "NDIS_STATUS_NOT_SUPPORTED"
        assert "reads a live interface" in refused["message"]

        cable.remove()
        wait_until(
            lambda: any(each["event"] == "interface_ended" for each in client.messages["event"]),
            what="its end",
        )
        assert client.next_stats()["adapters"]["nic1"]["interface"]["kernel_received_frames"] == len(frames)
    finally:
        client.close()
        assert engine.end() == 0


@pytest.mark.slow
def test_without_the_right_to_capture_a_sentence_says_what_to_do(cable: Veth) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    rights = "-net_raw,-net_admin"
    ended = subprocess.run(
        [
            "setpriv",
            "--bounding-set",
            rights,
            "--inh-caps",
            rights,
            VMQTUI,
            "engine",
            "--interface",
            cable.near,
        ],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"error: --interface: {cable.near}: can't be captured from without the right to; ")
    assert "cap_net_raw" in line


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (
            ["--interface", "eth0", "--capture", "x.pcap"],
            "--interface: frames come from it or from --capture",
        ),
        (["--promiscuous"], "--promiscuous: there is no --interface"),
        (["--interface", ""], "--interface: is empty"),
        (["--adapter", "nic0"], "--adapter: there is no --capture and no --interface"),
    ],
)
def test_options_that_do_not_fit_an_interface_are_refused(options: list[str], wrong: str, here: Here) -> None:
    done = here("engine", *options)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {wrong}")
