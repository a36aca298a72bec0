"""Real captures, replayed with and without a scenario, agree with two oracles queue by queue."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from tests.end_to_end.checks import planned_as_the_contract_says, replay_document
from tests.end_to_end.conftest import Here
from tests.end_to_end.oracle import Frame, adapters_of, read
from tests.end_to_end.program import run
from tests.slow import slow_but

ETHERNET_CAPTURES = (
    "many-protocols.pcap",
    "ethernet-beside-other-interfaces.pcapng",
    "nhrp.pcapng",
    "oversize-claim.pcap",
    "pim-assortment.pcap",
    "qinq-8021ad.pcapng",
    "trunk-native-vlan5.pcap",
    "various-gre.pcap",
    "vlan-packets.pcap",
    "zero-length-frames.pcap",
)


def tshark_frames(path: Path) -> list[Frame]:
    """The frames as tshark dissects them, with as many first bytes as steering looks at."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    fields = ["frame.time_epoch", "frame.len", "frame.cap_len", "eth.dst", "eth.type", "vlan.id"]
    listed = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=f", "-E", "separator=;"]
        + [part for name in fields for part in ("-e", name)],
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    frames = []
    for line in listed.splitlines():
        seconds, wire, captured, mac, kind, vid = line.split(";")
        head = bytes.fromhex(mac.replace(":", "")) + bytes(6) + int(kind or "0", 16).to_bytes(2)
        if kind == "0x8100" and vid:
            head += int(vid).to_bytes(2)
        frames.append(Frame(Fraction(seconds), head.ljust(int(captured), b"\0")[: int(captured)], int(wire)))
    return frames


def scenario_for(frames: list[Frame]) -> str:
    """Two adapters alike: filters with and without VLAN tests, shadowed ones, ports without queues."""
    seen = {(each.mac, each.vid) for each in frames if not each.is_runt() and not each.captured[0] & 1}
    tests = sorted(
        {(mac, vid if vid and vid < 4095 else "untagged") for mac, vid in seen if mac.strip("0:")}, key=str
    )
    queues, ports, any_vlan = [], [], set()
    for place, (mac, vlan) in enumerate(tests):
        test = f'mac = "{mac}"\nvlan = ' + (f'"{vlan}"' if vlan == "untagged" else str(vlan))
        if place % 4 == 0 and mac not in any_vlan:
            any_vlan.add(mac)
            test = f'mac = "{mac}"'
        if place % 4 == 3:
            ports.append(f'[[adapter.port]]\nvm = "vm {place}"\n{test}')
            continue
        vm = f'vm = "vm {place}"' if place % 3 else ""
        queues.append(
            f"[[adapter.queue]]\n{vm}\ncpu = {place % 3}\n[[adapter.queue.filter]]\n{test}\n"
            f'[[adapter.queue.filter]]\nmac = "02:aa:00:00:00:{place:02x}"\nvlan = 7'
        )
    body = "\n".join(ports + queues)
    return "[host]\ncpus = 3\n" + "".join(
        f'[[adapter]]\nname = "{name}"\n{body}\n' for name in ("nic0", "nic1")
    )


@pytest.mark.parametrize("name", slow_but(ETHERNET_CAPTURES[:3], ETHERNET_CAPTURES))
def test_replay_without_a_scenario_agrees_with_both_oracles(name: str, captures: Path, here: Here) -> None:
    plan, replay = here("plan", captures / name), here("replay", captures / name, "--json")
    assert plan.status == replay.status == 0
    assert plan.err == replay.err == ""
    document = replay.document
    assert len(document["cpus"]) == 8
    assert document["capture"].endswith(name)
    assert "truncated" not in document
    for frames in (read((captures / name).read_bytes()), tshark_frames(captures / name)):
        replay_document(document, adapters_of(plan.out), "nic0", frames)


@pytest.mark.parametrize("name", slow_but(ETHERNET_CAPTURES[:3], ETHERNET_CAPTURES))
def test_plan_gives_each_unicast_destination_one_filter_and_each_mac_one_queue(
    name: str, captures: Path, here: Here
) -> None:
    planned_as_the_contract_says(here("plan", captures / name).out, tshark_frames(captures / name))


@pytest.mark.parametrize(
    ("place", "name"),
    slow_but([*enumerate(ETHERNET_CAPTURES)][:2], enumerate(ETHERNET_CAPTURES), unpack=True),
)
def test_replay_with_a_scenario_of_two_like_adapters_agrees_and_keeps_them_apart(
    place: int, name: str, captures: Path, tmp_path: Path, here: Here
) -> None:
    fed = f"nic{place % 2}"
    scenario = scenario_for(read((captures / name).read_bytes()))
    path = tmp_path / "two.toml"
    path.write_text(scenario, encoding="utf-8")
    done = here("replay", captures / name, "--json", "--scenario", path, "--adapter", fed)
    assert (done.status, done.err) == (0, "")
    for frames in (read((captures / name).read_bytes()), tshark_frames(captures / name)):
        replay_document(done.document, adapters_of(scenario), fed, frames)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.slow
def test_the_installed_command_replays(captures: Path, *, as_json: bool) -> None:
    done = run("replay", captures / "vlan-packets.pcap", *["--json"] * as_json)
    assert (done.status, done.err) == (0, "")
    assert done.out
    assert not as_json or done.document["schema"] == "vmq.replay/1"


@pytest.mark.slow
def test_a_capture_that_is_not_ethernet_is_refused(captures: Path) -> None:
    done = run("replay", captures / "not-ethernet.pcap", "--json")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
