"""docs/limits.md has every bound there is, as the code has it, and names tests that exist."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from engine.scenario.keys import MAX_ADAPTERS, MAX_FLOWS, MAX_MIXES
from engine.scenario.load import ScenarioError, loads

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs/limits.md"
BOUND: Final = re.compile(
    r"LIMIT|(^|_)MAX_|MOST|KEPT|SESSIONS|A_SECOND$|AT_ONCE$|REMEMBERED|_CHARACTERS$|POINTS|IDS_PER|OLDER_FILES|FILE_BYTES|_MB$"
)
"""How a bound is named."""
OF_NO_INPUT: Final = {
    # what is shown or kept for speed, not what is taken in
    "engine.ndis.operations._SHOWN_KEY_CHARACTERS",
    "engine.scenario.values._SHOWN_CHARACTERS",
    "engine.bus.connection._READ_AT_ONCE",
    "engine.bus.broker_process._TOPICS_REMEMBERED",
    "engine.mqtt.router._TOPICS_REMEMBERED",
    "engine.advice.verdict._MOST_RAISED",
    "vmqtui.dialogs.request._MOST_STEPS",
    "vmqtui.preferences.file.MOST_MISTAKES",
    "vmqtui.state.history._KEPT",
    "vmqtui.dialogs.fields._MOST_CHARACTERS",
    "vmqtui.view_actions._MOST_ALIKE",
    "engine.advice.linux._MOST_NAMED",
    "engine.advice.linux._MOST_RING",
    "vmqtui.compare.text.MOST_ACROSS",
    "vmqtui.compare.text._LABEL_CHARACTERS",
    "vmqtui.compare.page.MOST_PLOTTED",
    "vmqtui.compare.page.MOST_CURVES",
    "vmqtui.compare.page._CHARACTERS",
    "vmqtui.compare.page._MOST_TICKS",
    "vmqtui.widgets.table._MOST_KEPT",
    "vmqtui.widgets.matrix._MOST_BAR",
    "vmqtui.widgets.matrix._MOST_NAME",
    "vmqtui.state.archive._EVENTS_KEPT",
    # names of keys, not how many there may be
    "vmqtui.actions.action.KEY_CHARACTERS",
    "vmqtui.actions.keymap._CHARACTERS",
    # what the model and its kernels reckon with
    "engine.workers.pool.WAIT_AT_ONCE",
    "engine.scenario.processor_set.MAX_GROUP_SIZE",
    "engine.measure.windows_counters._MOST_GROWTH",
    "engine.measure.calibration.MOST_BURST_FRAMES",
    "engine.measure.calibration._MOST_DROPPED",
    "engine.measure.calibration._MOST_INTERRUPT_NS",
    "engine.measure.calibration._MOST_MODERATION_US",
    "engine.measure.twin_adapter._MOST_DELAY_US",
    "engine.measure.twin_traffic.MOST_PPS",
    "engine.dataplane.costs._MOST_CYCLES",
    "engine.workers.rounds.MOST_AHEAD",
    "engine.workers.rounds.MOST_UNDER_WAY",
    "engine.kernels.cache._KEPT_S",
    "engine.scenario.relations._MAX_PRODUCT",
    "engine.service.bench_sweep._MAX_FRAME_BYTES",
    "engine.service.pacing.MOST_BEHIND_NS",
    "engine.traffic.batch.MAX_CAPTURED_BYTES",
    "engine.traffic.capture_kernels.MAX_ARRIVAL_NS",
    "engine.traffic.capture_kernels.MAX_SECONDS",
    "engine.traffic.capture_kernels._MAX_GAP_S",
    # the broker's process is ours, and so is what it says
    "engine.bus.broker._LINE_LIMIT_BYTES",
    # a scenario's bounds, as a plan keeps to them
    "engine.traffic.plan.MAX_QUEUES",
    "engine.traffic.plan.MAX_FILTERS",
    "engine.traffic.plan_placement.MAX_BUFFERS",
    "engine.traffic.plan_count.MIN_FRAME_BYTES_LIMIT",
    "engine.traffic.plan_count.MAX_FRAME_BYTES_LIMIT",
    "engine.traffic.plan_count._NO_LIMIT_NS",
}


class Row(NamedTuple):
    what: str
    bound: str
    value: str
    beyond: str
    counted: str
    shown_by: str


def rows() -> list[Row]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [Row(*row) for row in cells if row[1].startswith("`")]


def constants() -> set[str]:
    """Every constant of the code that is named like a bound."""
    found = set()
    for path in [*ROOT.glob("engine/**/*.py"), *ROOT.glob("vmqtui/**/*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            target: Any = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id.isupper() and BOUND.search(target.id):
                found.add(f"{module}.{target.id}")
    return found


def shown(bound: str) -> str:
    """A bound's value as the page writes it."""
    module, _, name = bound.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    if name.endswith("_BYTES") and value % 1024 == 0 and value > 0:
        return f"{value >> 20:,} MiB" if value % (1 << 20) == 0 else f"{value >> 10:,} KiB"
    return f"{value:g} s" if name.endswith("_SECONDS") else f"{value:,}".removesuffix(".0")


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.bound.strip("`"))
def test_a_bound_is_as_the_code_has_it_and_its_test_exists(row: Row) -> None:
    assert shown(row.bound.strip("`")) == row.value
    assert row.beyond
    path, _, name = row.shown_by.strip("`").partition("::")
    defined = re.findall(r"^(?:async )?def (test_\w+)", (ROOT / path).read_text(encoding="utf-8"), re.M)
    assert name in defined


def test_no_bound_of_the_code_is_missing() -> None:
    named = {row.bound.strip("`") for row in rows()}
    timeouts = {bound for bound in named if bound.endswith("_TIMEOUT_SECONDS")}
    assert named - timeouts == constants() - OF_NO_INPUT
    assert constants() >= OF_NO_INPUT


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[adapter]]\nname = "nic{}"\n', f"adapter: {MAX_ADAPTERS + 1} tables, where 1..{MAX_ADAPTERS} fit"),
        ("[[traffic.mix]]\n", f"traffic.mix: {MAX_MIXES + 1} tables, where 0..{MAX_MIXES} fit"),
        ("[[traffic.mix.flow]]\n", f"flow: {MAX_FLOWS + 1} tables, where 1..{MAX_FLOWS} fit"),
    ],
)
def test_one_table_more_than_fits_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    count = int(re.findall(r"\d+", sentence)[0])
    head = "[[traffic.mix]]\n" if "flow" in text else ""
    with pytest.raises(ScenarioError, match=re.escape(sentence)):
        loads(head + "".join(text.format(number) for number in range(count)), "lab.toml")
