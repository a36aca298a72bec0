"""A comparison in its forms: what they say is the same, fits, and is safe whatever a plan is called."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from engine.kernels.latency import highest_ns
from engine.kernels.layout import LATENCY_BUCKETS
from engine.scenario.model import Scenario
from engine.service.compare.comparison import Comparison
from engine.service.compare.measures import MEASURES
from engine.service.compare.runs import LowQueue, Moved, Result, Run
from engine.traffic.capture_file import capture_file
from vmqtui.compare.page import bars, curves, page
from vmqtui.compare.text import MOST_ACROSS, grid, lines, markdown, verdicts
from vmqtui.numbers import span


def comparison(*names: str, **differing: list[float | None]) -> Comparison:
    """Runs that are alike in everything but what is given."""
    histogram = [0] * LATENCY_BUCKETS
    histogram[20] = 10
    alike: dict[str, float | None] = {measure.key: 1.0 for measure in MEASURES}
    results = [
        Result(
            sim_seconds=2.0,
            wall_seconds=0.5,
            values=alike | {key: values[n] for key, values in differing.items()},
            cpus=[0.5, 0.25 * n % 1],
            latency=histogram,
            lowest=[LowQueue("nic0", "<web>|01", 3, 16)],
        )
        for n in range(len(names))
    ]
    runs = [Run(name=name, scenario=Scenario(), capture=capture_file("x.pcap")) for name in names]
    return Comparison(runs, results, 1.5, "(2 at a time)")


TWO = comparison("narrow", "wide", gini=[0.9, 0.1], interrupts=[10, 20], latency_p99_ns=[None, 12_300])
MANY = comparison(
    *(f"plan{n}" for n in range(MOST_ACROSS + 3)), gini=[n / 10 for n in range(MOST_ACROSS + 3)]
)


def test_measures_stand_down_and_plans_across_the_best_marked_the_unknown_unlike_zero() -> None:
    rows = {row[0]: row[1:] for row in grid(TWO).rows}
    assert len(rows) == len(MEASURES)
    assert rows["unevenness of processors"] == ("0.90 uneven", "0.10 even *")
    assert rows["interrupts"] == ("10 *", "20")
    assert rows["latency p99"] == ("–", "12.3 µs")
    assert rows["offered frames"] == ("1", "1")


def test_what_the_balancer_did_is_told_where_a_plan_has_one() -> None:
    cause = "balancer, scale-out: 31% of load from 0:1 (125% → 94%) to 0:2 (0% → 31%)"
    move = Moved(120_000_000, "nic0", 3, "<web>|01", 1, 2, "scale_out", cause)
    made = comparison("off", "on", moved_away=[None, 14], moved_home=[None, 0])
    results = [made.results[0], msgspec.structs.replace(made.results[1], moves=[move] * 9)]
    made = Comparison(made.runs, results, 1.0, "here")
    rows = {row[0]: row[1:] for row in grid(made).rows}
    assert rows["queues moved away"] == ("–", "14")
    shown = lines(made, 60)
    assert "on, moved by the balancer:" in shown
    assert shown[shown.index("on, moved by the balancer:") + 1].startswith(
        "  0.120 s <web>|01 on nic0: scale-out"
    )
    assert "  and 10 more" in shown
    assert "and 5 more" in markdown(made)
    assert "&lt;web&gt;|01 on nic0: scale-out: 31% of load" in page(made)
    without = comparison("a", "b", moved_away=[None, None], moved_home=[None, None])
    for text in ("\n".join(lines(without, 80)), markdown(without), page(without)):
        assert "moved" not in text


def test_many_plans_stand_below_each_other_with_what_differs() -> None:
    made = grid(MANY)
    assert made.heads == ("", "uneven")
    assert made.rows[0] == ("plan0", "0.00 even *")
    assert len(made.rows) == MOST_ACROSS + 3
    assert len(made.alike) == len(MEASURES) - 1


def test_who_wins_at_what_most_wins_first() -> None:
    three = comparison("a", "b", gini=[2, 1], interrupts=[2, 1], buffers=[1, 2])
    assert verdicts(three) == [("b", "unevenness of processors, interrupts"), ("a", "receive buffers")]
    assert verdicts(comparison("a", "b")) == []


@pytest.mark.parametrize("width", [50, 60, 80])
def test_a_table_that_is_too_wide_stands_in_parts_that_fit(width: int) -> None:
    made = lines(comparison("a-plan-with-a-name", "another-plan", "third", gini=[1, 2, 3]), width)
    assert max(map(len, made)) <= width
    table = made[made.index("") + 1 : next(n for n, line in enumerate(made) if line.startswith("* best"))]
    assert max(map(len, table)) <= width
    assert table.count("") == (3 if width == 50 else 2 if width == 60 else 1)
    assert all(name in "\n".join(table) for name in ("a-plan-with-a-name", "another-plan", "third"))


def test_every_number_has_its_unit() -> None:
    """Each number stands beside its unit or beside a title that has it; only counted things are bare."""
    text = page(comparison("a", "b", throughput=[5_000, 4_000], dropped_no_buffer=[2, 1]))
    for shown in (
        "throughput, frames/s",
        "no-buffer drops, frames",
        "5,000 frames/s</text>",
        ">2 frames</text>",
        "1.00 ×",
        "&lt;web&gt;|01: 3 of 16 buffers free",
        "<th>measure</th><th>unit</th>",
    ):
        assert shown in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.000_05, "50 µs"),
        (2.5, "2.50 s"),
        (119.6, "120 s"),
        (600, "10 minutes"),
        (7_300, "2.03 hours"),
        (1_000_000, "11.6 days"),
        (142_000_000, "4.50 years"),
        (1e12, "31,688 years"),
    ],
)
def test_times_are_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_capture_with_gaps_is_said_to_have_them() -> None:
    without = comparison("a", "b")
    results = [
        msgspec.structs.replace(one, sim_seconds=142_000_000.0, idle_seconds=141_999_998.0)
        for one in without.results
    ]
    gaping = Comparison(without.runs, results, 1.0, "here")
    for text in ("\n".join(lines(gaping, None)), markdown(gaping), page(gaping)):
        assert "4.50 years of simulated time" in text
        assert (
            "he capture has gaps of over a second: 4.50 years of its 4.50 years are without a frame" in text
        )
    for text in ("\n".join(lines(without, 80)), markdown(without), page(without)):
        assert "gaps" not in text


def test_markdown_takes_a_plans_name_for_nothing_but_its_name() -> None:
    text = markdown(comparison("a|b", "<img>*x*", gini=[1, 2]))
    assert r"a\|b" in text
    assert r"\<img\>\*x\*" in text
    heads, *_, row = text.split("\n\n")[2].splitlines()
    assert len(re.findall(r"(?<!\\)\|", heads)) == len(re.findall(r"(?<!\\)\|", row)) == 4


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.values += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    for made in (TWO, MANY, comparison("one")):
        text = page(made)
        tags = _Tags()
        tags.feed(text)
        assert not tags.tags & {"script", "link", "img", "iframe", "object"}
        assert not tags.values
        assert "url(" not in text
        assert "default-src 'none'" in text


def test_a_name_in_a_page_is_text() -> None:
    text = page(comparison("</svg><script>alert(1)</script>", "b\x1b[31m", gini=[1, 2]))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "&lt;web&gt;|01" in text


def pictures(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def test_bars_are_as_long_as_their_values_and_the_unknown_has_none() -> None:
    [picture] = pictures(bars(["a", "b", "c"], [10, 5, None], ["10", "5", "–"], [1]))
    widths = [float(one.attrib["width"]) for one in picture.iter("rect")]
    assert widths[1] == pytest.approx(widths[0] / 2)
    assert widths[2] == 0
    assert [one.attrib["class"] for one in picture.iter("rect")] == ["bar", "winner", "bar"]


def test_a_curve_reaches_its_shares_where_the_buckets_end() -> None:
    histogram = [0] * LATENCY_BUCKETS
    histogram[8], histogram[16] = 3, 1
    [picture] = pictures(curves(["a"], [histogram]))
    [path] = [one for one in picture.iter("path") if one.attrib["class"] == "curve c0"][:1]
    points = [tuple(map(float, pair.split())) for pair in re.findall(r"L([\d.]+ [\d.]+)", path.attrib["d"])]
    floor = float(path.attrib["d"].split("L")[0].split()[1])
    top = points[-1][1]
    assert (floor - points[0][1]) / (floor - top) == pytest.approx(0.75)
    assert highest_ns(8) < highest_ns(16)
    assert points[0][0] < points[1][0]
    assert curves(["a"], [[0] * LATENCY_BUCKETS]) == ""


def test_a_document_names_winners_by_label() -> None:
    document = TWO.document()
    assert document["best"] == {"gini": ["wide"], "interrupts": ["narrow"]}
    assert [run["label"] for run in document["runs"]] == ["narrow", "wide"]
    assert {one["key"] for one in document["measures"]} == set(document["runs"][0]["values"])
