"""A capture through a team, in each mode, agrees member by member with a reading of the rules."""

from pathlib import Path

import pytest

from tests.end_to_end import checks
from tests.end_to_end.conftest import Here
from tests.end_to_end.oracle import Frame, expect, read
from tests.end_to_end.teams import Team


def scenario_for(frames: list[Frame], mode: str, members: int = 3) -> str:
    """VMs with a queue on one member, on all, or on none, and links of different speeds."""
    seen = {each.mac for each in frames if not each.is_runt() and not each.captured[0] & 1}
    bodies = [""] * members
    for place, mac in enumerate(sorted(each for each in seen if each.strip("0:"))):
        test = f'vm = "vm {place}"\n' if place % 7 else ""
        queue = (
            f"[[adapter.queue]]\n{test}cpu = {place % 4}\nbuffers = 64\n"
            f'[[adapter.queue.filter]]\nmac = "{mac}"\n'
        )
        port = f'[[adapter.port]]\nvm = "vm {place}"\nmac = "{mac}"\n'
        for number in range(members):
            if place % 5 == 0 or number == place % members:
                bodies[number] += port if place % 4 == 3 else queue
    adapters = "".join(
        f'[[adapter]]\nname = "nic{number}"\nlink_gbps = {10.0 / (number + 1):.3f}\nmax_queues = 4096\n'
        f"max_filters = 4096\n{body}"
        for number, body in enumerate(bodies)
    )
    names = ", ".join(f'"nic{number}"' for number in reversed(range(members)))
    return f'[host]\ncpus = 4\n{adapters}[[team]]\nname = "both"\nmembers = [{names}]\nmode = "{mode}"\n'


@pytest.mark.parametrize(
    ("mode", "name"),
    [("sum", "many-protocols.pcap"), ("min", "many-protocols.pcap"), ("min", "vlan-packets.pcap")],
)
def test_a_teams_members_receive_what_the_rule_says(
    mode: str, name: str, captures: Path, here: Here, tmp_path: Path
) -> None:
    frames = read((captures / name).read_bytes())
    scenario = scenario_for(frames, mode)
    (tmp_path / "team.toml").write_text(scenario, encoding="utf-8")
    done = here(
        "replay", captures / name, "--scenario", tmp_path / "team.toml", "--adapter", "both", "--json"
    )
    assert (done.status, done.err) == (0, "")
    team = Team.of(scenario)
    came = team.spread(frames)
    assert all(came.values())
    members = {adapter.name: adapter for adapter in team.members}
    for row in done.document["adapters"]:
        adapter = members[row["name"]]
        checks.adapter_row(row, adapter, came[adapter.name])
        dropped = expect(came[adapter.name], adapter).switch_dropped
        if not row["queues"][0]["dropped_no_buffer"]:
            assert row["queues"][0]["switch_dropped_frames"] == dropped
    checks.cpus(done.document)
    checks.lasts(done.document, team.last_arrival_ns(frames))
    offered = sum(row["port"]["offered_frames"] for row in done.document["adapters"])
    assert offered == len(frames)


def test_a_live_interface_feeds_no_team(captures: Path, here: Here, tmp_path: Path) -> None:
    frames = read((captures / "vlan-packets.pcap").read_bytes())
    (tmp_path / "team.toml").write_text(scenario_for(frames, "sum"), encoding="utf-8")
    done = here("engine", "--scenario", tmp_path / "team.toml", "--interface", "lo", "--adapter", "both")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "error: --adapter: both is a team, and a live interface is the wire of one adapter"
        " (nic2, nic1, nic0 fits)\n"
    )
