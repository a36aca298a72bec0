"""A scenario that does not fit ends with 2 and a line: file, key path, value, what would fit (CONTRACT 3)."""

from pathlib import Path

import pytest

from tests.end_to_end.capture_forms import frame, packet, pcap, write
from tests.end_to_end.conftest import Here

A = "00:15:5d:00:00:01"
QUEUE = f'[[adapter]]\n[[adapter.queue]]\n[[adapter.queue.filter]]\nmac = "{A}"\n'
OLD = '[[adapter]]\nndis_version = "6.20"\n'

CASES: list[tuple[str, str, str, str]] = [
    # the scenario, the path of the key, the value, a part of what would fit
    ("[host]\ncpus = 0", "host.cpus", "0", "1..256"),
    ("[host]\ncpus = 257", "host.cpus", "257", "1..256"),
    ("[host]\ncpus = 2.5", "host.cpus", "2.5", "1..256"),
    ("[host]\ncpus = true", "host.cpus", "true", "1..256"),
    ('[host]\ncpus = "8"', "host.cpus", "8", "1..256"),
    ("[host]\nhyperthreading = true\ncpus = 3", "host.cpus", "3", "even"),
    ("[host]\ncpus = 8\nnuma_nodes = 3", "host.numa_nodes", "3", "8"),
    ('[host]\nname = "a b"', "host.name", "a b", "A-Z"),
    ('[host]\nname = ""', "host.name", "", "1..64"),
    ("[host]\ncpu = 3", "host.cpu", "cpu", "cpus"),
    ("[hots]\ncpus = 3", "hots", "hots", "host"),
    (OLD.replace("6.20", "6.2"), "adapter[0].ndis_version", "6.2", "6.20"),
    (OLD.replace("6.20", "6.19"), "adapter[0].ndis_version", "6.19", "6.20"),
    (OLD.replace("6.20", "7.30"), "adapter[0].ndis_version", "7.30", "6.20"),
    ("[[adapter]]\nlink_gbps = 0", "adapter[0].link_gbps", "0", "0.001"),
    ("[[adapter]]\nlink_gbps = nan", "adapter[0].link_gbps", "nan", "0.001"),
    ("[[adapter]]\nlink_gbps = inf", "adapter[0].link_gbps", "inf", "0.001"),
    ("[[adapter]]\nmax_queues = 4097", "adapter[0].max_queues", "4097", "4096"),
    ("[[adapter]]\nmax_filters = 65537", "adapter[0].max_filters", "65537", "65536"),
    ("[[adapter]]\nmax_frame_bytes = 65536", "adapter[0].max_frame_bytes", "65536", "65535"),
    ("[[adapter]]\ndefault_queue_cpu = 8", "adapter[0].default_queue_cpu", "8", "7"),
    ("[[adapter]]\nmin_lookahead_bytes = 64", "adapter[0].min_lookahead_bytes", "64", "0"),
    ('[[adapter]]\nname = "a"\n[[adapter]]\nname = "a"', "adapter[1].name", "a", ""),
    ("[[adapter]]\n[[adapter]]", "adapter[1].name", "nic0", ""),
    (QUEUE + "vlan = 4095", "adapter[0].queue[0].filter[0].vlan", "4095", "1..4094"),
    (QUEUE + "vlan = 0", "adapter[0].queue[0].filter[0].vlan", "0", "1..4094"),
    (QUEUE + 'vlan = "tagged"', "adapter[0].queue[0].filter[0].vlan", "tagged", "untagged"),
    (QUEUE + "vln = 3", "adapter[0].queue[0].filter[0].vln", "vln", "vlan"),
    (QUEUE.replace("00:15", "01:15"), "adapter[0].queue[0].filter[0].mac", "01:15:5d:00:00:01", "unicast"),
    (QUEUE.replace("5d:", ""), "adapter[0].queue[0].filter[0].mac", "00:15:00:00:01", "00:15:5d:00:00:01"),
    (QUEUE.replace(A, "00:00:00:00:00:00"), "adapter[0].queue[0].filter[0].mac", "00:00:00:00:00:00", ""),
    (QUEUE.replace("mac", "#"), "adapter[0].queue[0].filter[0].mac", "", ""),
    (QUEUE + QUEUE[12:], "adapter[0].queue[1].filter[0]", A, ""),
    (QUEUE + f'[[adapter.queue.filter]]\nmac = "{A.upper()}"', "adapter[0].queue[0].filter[1]", A, ""),
    ("[[adapter]]\n[[adapter.queue]]\ncpu = 8", "adapter[0].queue[0].cpu", "8", "7"),
    ("[[adapter]]\n[[adapter.queue]]\nbuffers = 0", "adapter[0].queue[0].buffers", "0", "65536"),
    ("[[adapter]]\n[[adapter.queue]]\nlookahead_bytes = 9", "adapter[0].queue[0].lookahead_bytes", "9", "0"),
    ("[[adapter]]\nmax_queues = 1\n[[adapter.queue]]\n[[adapter.queue]]", "adapter[0]", "", "1"),
    ("[[adapter]]\nvlan_filtering = false\n" + QUEUE[12:] + "vlan = 5", "filter[0].vlan", "5", ""),
    (OLD + QUEUE[12:], "adapter[0].queue[0].filter[0]", "", "vlan"),
    ('[[adapter]]\n[[adapter.port]]\nvm = ""\nmac = "' + A + '"', "adapter[0].port[0].vm", "", ""),
    ("[cpu]\nclock_ghz = 0", "cpu.clock_ghz", "0", ""),
    ("[traffic]\nseed = -1", "traffic.seed", "-1", ""),
    ('[[traffic.mix]]\nadapter = "nic9"\nrate_pps = 1\nflow = []', "traffic.mix[0]", "", ""),
    ("adapter = 3", "adapter", "3", ""),
    ("[host", "", "", ""),
    ("host = \x00", "", "", ""),
    (
        "[[adapter]]\nmax_queues = 4096\nmax_frame_bytes = 65535\n"
        + "[[adapter.queue]]\nbuffers = 65536\n" * 400,
        "",
        "bytes",
        "",
    ),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("capture") / "one.pcap", pcap([packet(0, frame(A))]))


def test_each_misfit_is_one_line_that_names_key_value_and_what_fits(
    capture: Path, tmp_path: Path, here: Here
) -> None:
    path = tmp_path / "bad.toml"
    wrong = []
    for text, key, value, fits in CASES:
        path.write_text(text, encoding="utf-8")
        done = here("replay", capture, "--json", "--scenario", path)
        told = done.err.startswith("error: ") and all(
            part in done.err for part in ("bad.toml", key, value, fits)
        )
        if (done.status, done.out, done.err.count("\n")) != (2, "", 1) or not told:
            wrong.append(f"{text[:200]!r}: {key} {value} {fits} expected; {done.status} {done.err!r}")
    assert not wrong, "\n".join(wrong)


def test_an_engine_refuses_a_scenario_as_a_replay_does(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[host]\ncpu = 3", encoding="utf-8")
    for bad in (path, tmp_path / "missing.toml", tmp_path):
        done = here("engine", "--scenario", bad)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith("error: ")
        assert bad.name in done.err


def test_a_capture_feeds_the_adapter_that_is_named_or_the_only_one(
    capture: Path, tmp_path: Path, here: Here
) -> None:
    path = tmp_path / "two.toml"
    path.write_text('[host]\ncpus = 1\n[[adapter]]\n[[adapter]]\nname = "nic1"\n', encoding="utf-8")
    for arguments in ([], ["--adapter", "nic2"]):
        done = here("replay", capture, "--json", "--scenario", path, *arguments)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert "nic0" in done.err
        assert "nic1" in done.err
    done = here("engine", "--capture", capture, "--scenario", path)
    assert (done.status, done.out) == (2, "")
    for bad in (["--pace", "slow"], ["--colour"], ["more"]):
        done = here("replay", capture, "--json", *bad)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), done
