"""The run: fault after fault, while everything is checked; and the table of what it survived."""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.soak.faults import RECOVERY_S, Faults, Told
from tests.soak.lab import HOST, EngineProcess, Mosquitto
from tests.soak.ledger import Ledger
from tests.soak.observer import Observer
from tests.soak.resources import Resources
from tests.soak.screens import Screens

BrokerKind = Literal["mosquitto", "embedded"]

FIRST_READING_S = 120.0


@dataclass
class Row:
    """One kind of fault: how often, how soon it was noticed and over, and what was lost meanwhile."""

    times: int = 0
    failed: int = 0
    noticed_s: float | None = None
    over_s: float = 0.0
    lost_frames: int = 0
    readings_missed: int = 0
    events_missed: int = 0


@dataclass
class Report:
    """What came of a run."""

    seconds: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


async def soak(
    seconds: float,
    *,
    broker: BrokerKind = "mosquitto",
    seed: int = 1,
    pause_s: float = 1.0,
    interval_s: float = 0.1,
    only: tuple[str, ...] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Run for so long, at least once through the deck; ``only`` names the faults in it."""
    report = Report()
    dice = random.Random(seed)
    ledger = Ledger()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmq-soak-")))
        mosquitto = Mosquitto(directory) if broker == "mosquitto" else None
        if mosquitto is not None:
            stack.callback(mosquitto.end)
        engine = await asyncio.to_thread(
            EngineProcess, directory, mosquitto.address if mosquitto else None, interval_s
        )
        stack.callback(engine.end)
        observer = Observer(engine.address, HOST, ledger)
        stack.callback(observer.close)
        if not await asyncio.to_thread(ledger.wait_for, lambda: {"stats", "config"} <= set(ledger.kept), 120):
            raise RuntimeError(f"no reading within {FIRST_READING_S:.0f} s")
        faults = Faults(engine, mosquitto, observer, ledger, dice)
        resources = Resources(engine, seconds / 3600)
        deck = {name: fault for name, fault in faults.deck.items() if not only or name in only}
        began = time.monotonic()
        async with Screens(engine.address, dice) as screens:
            hand: list[str] = []
            played = 0
            known: set[str] = set()
            while time.monotonic() - began < seconds or played < len(deck):
                if not hand:
                    hand = dice.sample(list(deck), len(deck))
                name = hand.pop()
                await _play(name, deck[name], report, ledger, screens)
                played += 1
                if played % 10 == 0:
                    await screens.come_and_go()
                await asyncio.to_thread(resources.sample)
                for sentence in {*report.problems, *ledger.problems} - known:
                    tell(f"PROBLEM {sentence}")
                    known.add(sentence)
                if played % 20 == 0:
                    tell(_progress(time.monotonic() - began, played, ledger, report))
                await asyncio.sleep(pause_s * dice.random())
        report.seconds = time.monotonic() - began
        if engine.process.poll() is not None:
            report.problems.append(f"the engine has ended, with {engine.process.returncode}")
        report.lines = _summary(ledger, resources)
        report.problems += [problem for one in resources.series if (problem := one.problem())]
        status = await asyncio.to_thread(engine.end)
        if status != 0:
            report.problems.append(
                f"the engine ended with {status}: {(directory / 'engine.err').read_text()}"
            )
        if engine.segments():
            report.problems.append(f"left behind: {engine.segments()}")
    report.problems += ledger.problems
    return report


async def _play(
    name: str, fault: Callable[[], Told], report: Report, ledger: Ledger, screens: Screens
) -> None:
    """One fault, while keys are pressed; then everybody has to see readings again."""
    row = report.rows.setdefault(name, Row())
    row.times += 1
    lost, missed, events = ledger.lost_frames, ledger.readings_missed, ledger.events_missed
    began = time.monotonic()
    doing = asyncio.create_task(asyncio.to_thread(fault))
    while not doing.done():
        await screens.press()
        await asyncio.wait({doing}, timeout=0.2)
    try:
        told = doing.result()
        wrong = await screens.live_again(RECOVERY_S)
        assert not wrong, wrong
        if told.noticed_s is not None:
            row.noticed_s = max(told.noticed_s, row.noticed_s or 0.0)
        row.over_s = max(row.over_s, time.monotonic() - began)
    except (AssertionError, OSError) as error:
        row.failed += 1
        report.problems.append(f"{name}: {error or repr(error)}")
    row.lost_frames += ledger.lost_frames - lost
    row.readings_missed += ledger.readings_missed - missed
    row.events_missed += ledger.events_missed - events


def _progress(seconds: float, played: int, ledger: Ledger, report: Report) -> str:
    problems = len(report.problems) + len(ledger.problems)
    return f"{seconds:6.0f} s  {played} faults  {ledger.readings:,} readings  {problems} problems"


def _summary(ledger: Ledger, resources: Resources) -> list[str]:
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(ledger.kinds.items()))
    return [
        f"{ledger.readings:,} readings checked, {ledger.readings_missed:,} missed while a broker was away",
        f"{len(ledger.events):,} events seen, {ledger.events_missed:,} missed: {kinds}",
        f"{ledger.offered_frames:,} frames offered, {ledger.lost_frames:,} lost with workers, all counted",
        *(one.line() for one in resources.series),
    ]


def table(report: Report) -> str:
    """The table of faults survived."""
    head = f"{'fault':<30}{'times':>6}{'failed':>7}{'noticed':>9}{'over':>8}   lost"
    lines = [head, "-" * len(head)]
    for name, row in report.rows.items():
        noticed = "" if row.noticed_s is None else f"{row.noticed_s:.2f} s"
        lost = [
            f"{count:,} {what}"
            for count, what in (
                (row.lost_frames, "frames, counted"),
                (row.readings_missed, "readings not seen"),
                (row.events_missed, "events not seen"),
            )
            if count
        ]
        counts = f"{row.times:>6}{row.failed:>7}{noticed:>9}{row.over_s:>6.1f} s"
        lines.append(f"{name:<30}{counts}   {', '.join(lost) or 'nothing'}")
    lines += ["", *report.lines, ""]
    lines += [f"PROBLEM {problem}" for problem in report.problems[:50]]
    lines.append(f"{report.seconds:.0f} s, {len(report.problems)} problems")
    return "\n".join(lines)
