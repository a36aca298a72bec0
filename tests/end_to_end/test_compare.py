"""``vmqtui compare`` and what ``plan`` takes: the commands, their reports, and what they refuse."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.end_to_end.capture_forms import frame, packet, pcap
from tests.end_to_end.conftest import Here
from vmqtui.cli.compare import told_apart

MACS = ["02:00:5e:10:00:01", "02:00:5e:10:00:02"]


def plan(cpus: tuple[int, int]) -> str:
    queues = [
        f'[[adapter.queue]]\nvm = "vm{n}"\ncpu = {cpu}\n[[adapter.queue.filter]]\nmac = "{MACS[n]}"\n'
        for n, cpu in enumerate(cpus)
    ]
    return "[host]\ncpus = 2\n[[adapter]]\n" + "".join(queues)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "trace.pcap").write_bytes(pcap([packet(0, frame(mac)) for mac in MACS * 20]))
    (tmp_path / "one.toml").write_text(plan((0, 0)), encoding="utf-8")
    (tmp_path / "two.toml").write_text(plan((0, 1)), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_the_better_spread_wins_at_balance_in_every_report(files: Path, here: Here) -> None:
    reports = [files / f"report.{form}" for form in ("html", "md", "json")]
    done = here(
        "compare", files / "trace.pcap", files / "one.toml", files / "two.toml", "--json",
        *[word for report in reports for word in ("--report", report)],
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    document = done.document
    assert document["best"]["max_over_mean"] == document["best"]["gini"] == ["two"]
    one, two = document["runs"]
    assert one["values"]["offered"] == two["values"]["offered"] == 40
    assert (one["values"]["gini"], one["values"]["max_over_mean"]) == (0.5, 2.0)
    assert json.loads(reports[2].read_text(encoding="utf-8")) == document
    for report in reports[:2]:
        assert "unevenness of processors" in report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_settings_vary_and_a_table_says_who_wins(files: Path, here: Here) -> None:
    done = here("compare", files / "trace.pcap", files / "two.toml", "--sweep", "cpu.moderation_us=0,200")
    assert (done.status, done.err) == (0, "")
    assert "moderation_us=200" in done.out
    assert "two moderation_us=0: " in done.out


def test_a_plan_for_a_host_keeps_to_it_and_runs(files: Path, here: Here) -> None:
    options = (
        "--cpus 8 --hyperthreading --numa-nodes 2 --numa-node 1 --base-cpu 6 --max-queues 1 --buffers 300"
    )
    done = here("plan", files / "trace.pcap", *options.split())
    assert (done.status, done.err) == (0, "")
    document = tomllib.loads(done.out)
    [adapter] = document["adapter"]
    assert [queue["cpu"] for queue in adapter["queue"]] == [6]
    assert (adapter["max_queues"], adapter["buffers"], adapter["default_queue_cpu"]) == (1, 300, 4)
    (files / "host.toml").write_text(done.out, encoding="utf-8")
    replayed = here("replay", files / "trace.pcap", "--scenario", files / "host.toml", "--json")
    assert (replayed.status, replayed.err) == (0, "")
    queues = replayed.document["adapters"][0]["queues"]
    assert [queue["steered_frames"] for queue in queues] == [20, 20]
    assert not any(queue["dropped_no_buffer"] for queue in queues)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.toml", "b.toml"], ["a", "b"]),
        (["today/plan.toml", "wanted/plan.toml", "b.toml"], ["today/plan", "wanted/plan", "b"]),
        (["/srv/1/lab/plan.toml", "/srv/2/lab/plan.toml"], ["1/lab/plan", "2/lab/plan"]),
        (["one.two.toml", "/srv/made.toml"], ["one.two", "srv/made"]),
        (["/same.toml", "/same.toml"], ["same", "same"]),
    ],
)
def test_plans_of_the_same_name_are_told_apart_by_their_directories(
    paths: list[str], names: list[str]
) -> None:
    assert told_apart([Path(path) for path in paths], ["made"]) == names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--cpus 5 --hyperthreading", "--cpus: 5 is odd"),
        ("--numa-nodes 3", "--numa-nodes: 3 does not divide the 8 processors"),
        ("--numa-node 1", "--numa-node: 1 is not a NUMA node of the host"),
        ("--base-cpu 8", "no processor from 8 on"),
        ("--max-queues 4097", "max-queues"),
    ],
)
def test_a_host_that_cannot_be_is_refused_in_one_line(
    files: Path, here: Here, options: str, sentence: str
) -> None:
    done = here("plan", files / "trace.pcap", *options.split())
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert sentence in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.toml"], "nowhere.toml: no such file"),
        (["trace.pcap", "other.pcap"], "other.pcap: a second capture"),
        (["one.toml", "--plan"], "a capture is missing"),
        (["one.toml"], "one: traffic: missing"),
        (["trace.pcap", "one.toml", "--seconds", "2"], "--seconds: a capture is replayed to its end"),
        (["trace.pcap", "one.toml", "--sweep", "cpu.qota=1"], 'did you mean "quota"'),
        (["trace.pcap", "one.toml", "--sweep", "cpu.quota=0"], "cpu.quota: 0 is not a whole number"),
        (["trace.pcap", "one.toml", "--report", "x.pdf"], "x.pdf ends in none of .html, .md, .json"),
        (["trace.pcap", "one.toml", "--report", "no/x.md"], "is no directory"),
        (["none.pcap", "one.toml"], "none.pcap: No such file"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    files: Path, here: Here, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(files)
    done = here("compare", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert sentence in done.err
