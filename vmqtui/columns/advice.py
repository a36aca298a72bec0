"""Text of findings, and the columns of their table: the view, the command and exports read this."""

import shlex
from collections.abc import Sequence
from typing import Any, Final

from engine.advice.finding import Finding, Number, Request, Severity, Unchecked
from engine.counted import counted
from vmqtui.columns.column import Column, Level, adapter_column, plain, quiet
from vmqtui.numbers import UNKNOWN, clock, compact, grouped, percent
from vmqtui.printable import printable
from vmqtui.state.rows import FindingRow

GLYPHS: Final[dict[Severity, str]] = {"bad": "▲", "warn": "△", "note": "·"}
"""The glyph of a severity, beside its colour."""


def number(name: str, value: Number) -> str:
    """Format one of a finding's numbers by the unit in its name."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return printable(value)
    if name.endswith("pps"):
        return f"{compact(value)}/s"
    if name.endswith(("load", "share", "use")):
        return percent(value)
    if name.endswith("mbits"):
        return f"{compact(value)} Mbit/s"
    if name.endswith("gbps"):
        return f"{value:g} Gbit/s"
    if name.endswith(("vlan", "node")):
        return str(value)  # a name, not a count
    if name.endswith("_s"):
        return f"{value:.1f} s"
    return grouped(value)


def numbers(finding: Finding) -> str:
    """Format all numbers of a finding on one line."""
    return " · ".join(f"{label(name)} {number(name, value)}" for name, value in finding.numbers.items())


def seen(row: FindingRow) -> str:
    """Return its age and lost frames as text: ``last seen 4 s ago · 332 frames lost in the window``."""
    when = f"last seen {max(1, round(row.unseen_s))} s ago" if row.unseen_s else "now"
    if row.recurs_s:
        when = f"it comes and goes, and was back within {row.recurs_s:.2g} s each time"
    count = row.finding.lost_frames
    lost = f" · {grouped(count)} frame{'s' * (count != 1)} lost in the window" if count else ""
    return when + lost


def shell(system: str) -> str:
    """Return whose lines a finding has, by the operating system of its host ("" of a model)."""
    return "Linux" if system.startswith("Linux") else "Windows"


def watched(seconds: float, left_s: float) -> str:
    """Return over how much time the findings are, and that their order is not final while a whole window
    lacks ``left_s``."""
    if left_s <= 0:
        return f"over {seconds:.3g} s"
    return f"{seconds:.3g} of {seconds + left_s:.3g} s watched: the order may change"


def nothing_found(gaps: Sequence[Unchecked], so_far: bool = False) -> str:
    """Return what an empty list of findings says, if ``gaps`` are what could not be looked at; ``so_far``: a
    whole window was not watched yet."""
    rules = len(blind(gaps))
    found = "nothing found so far" if so_far else "nothing found"
    if not rules:
        return found + (", as far as rules could look" if any(one.left_out for one in gaps) else "")
    return f"{found}, but {counted(rules, 'rule')} could not look"


def blind(gaps: Sequence[Unchecked]) -> set[str]:
    """Return the rules that could not look at the host, or at all of some adapter."""
    return {rule for one in gaps if one.applies and not one.left_out for rule in one.rules}


def gap(one: Unchecked) -> str:
    """Return which rules could not look, where and why, as one line: ``slow-link: the speed of the link is
    not known (eth0)``."""
    names = ", ".join(printable(name) for name in one.adapters[:_NAMED])
    more = f" and {len(one.adapters) - _NAMED} more" if len(one.adapters) > _NAMED else ""
    where = f" ({names}{more})" if names else "" if one.applies else " (they miss nothing)"
    left = f", in {grouped(one.left_out)} of {grouped(one.rows)} rows" if one.left_out else ""
    return f"{', '.join(printable(rule) for rule in one.rules)}: {printable(one.why)}{left}{where}"


_NAMED: Final = 4
"""Most adapters that a line names."""


def label(name: str) -> str:
    """Return the display name of a number, without the unit that ``number`` appends."""
    for unit in ("_pps", "_mbits", "_gbps", "_s"):
        name = name.removesuffix(unit)
    return {"pps": "frames", "mac": "MAC", "vlan": "VLAN"}.get(name, name.replace("_", " "))


def measured(finding: Finding, value: float | None) -> str:
    """Format a value of a finding's measure, with its unit."""
    if value is None:
        return UNKNOWN
    from engine.advice.rules import RULES  # imports NumPy, which commands without findings don't need

    rule = RULES.get(finding.rule)
    match rule.unit if rule else "":
        case "load" | "share":
            return percent(value)
        case "frames/s":
            return f"{compact(value)}/s"
    return grouped(value)


def effect(finding: Finding) -> str:
    """Return the effect of the fix and its source: ``load of the processor: 100% → 53% (estimated)``."""
    measure, before = printable(finding.measure), measured(finding, finding.value)
    if finding.modelled is not None:
        before += f"; in a model of the host {measured(finding, finding.modelled)}"
    if finding.after is None:
        return f"{measure}: {before} → unknown"
    how = "estimated" if finding.estimated else "the model ran again"
    text = f"{measure}: {before} → {measured(finding, finding.after)} ({how})"
    raised = f"; raises {printable('; '.join(finding.raises))}" if finding.raises else ""
    return text + {True: ", cleared", False: ", not cleared", None: ""}[finding.cleared] + raised


def commands(requests: Sequence[Request]) -> list[str]:
    """Return the command lines of this program that make a fix's requests.

    A queue that the fix allocates is called by its name there: its id is not known before, and is another one
    once another fix was carried out.
    """
    return [command(one, _allocated(one, requests)) for one in requests]


def _allocated(request: Request, requests: Sequence[Request]) -> str | None:
    """Return the name of the queue that an earlier request allocates for this one; None if there is none, or
    if a command would not read it as a name."""
    if request.queue_from is None or not 0 <= request.queue_from < len(requests):
        return None
    name = str(requests[request.queue_from].params.get("name") or "")
    return None if not name or name.isdigit() or name.startswith("-") else name


def command(request: Request, queue: str | None = None) -> str:
    """Return the command line of this program that sends a request; ``queue`` is what it calls the queue, by
    default its id."""
    values = dict(request.params)
    if queue is not None:
        values |= {"queue_ids": [queue]} if "queue_ids" in values else {"queue_id": queue}
    adapter = values.pop("adapter", None)
    words = [*_words(request.op, values)]
    if adapter is not None:
        words += ["--adapter", str(adapter)]
    return "vmqtui " + " ".join(shlex.quote(printable(word)) for word in words)


_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "allocate_queue": ("queue", "allocate"),
    "complete_allocation": ("queue", "complete"),
    "set_queue_parameters": ("queue", "set"),
    "free_queue": ("queue", "free"),
    "set_filter": ("filter", "set"),
    "clear_filter": ("filter", "clear"),
    "resume_vm": ("vm", "resume"),
    "pause_vm": ("vm", "pause"),
    "remove_vm": ("vm", "remove"),
    "migrate_vm": ("vm", "migrate"),
    "set_adapter": ("adapter", "set"),
    "set_balancer": ("balancer", "set"),
}
_ARGUMENTS: Final = ("queue_id", "filter_id", "mac", "queue_ids")


def _words(op: str, values: dict[str, Any]) -> list[str]:
    words = list(_COMMANDS.get(op, (op,)))
    for name in _ARGUMENTS:
        value = values.pop(name, None)
        if value is not None:
            words += [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if op.endswith("_vm"):
        words.append(str(values.pop("vm")))
    for name, value in values.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", "none" if value is None else str(value).removesuffix(".0")]
    return words


LEVELS: Final[dict[Severity, Level]] = {"bad": "bad", "warn": "warn", "note": "dim"}


def level(row: FindingRow) -> Level:
    """Return the level of a finding's severity; dim from when its fix is carried out."""
    return LEVELS[row.finding.severity] if row.judged_until_ns is None else "dim"


class _SaysColumn(Column[FindingRow]):
    """The finding in a sentence; once its fix is carried out, first until when that is judged."""

    def text(self, row: FindingRow) -> str:
        until_ns = row.judged_until_ns
        return ("" if until_ns is None else f"fix judged until {clock(until_ns)}: ") + plain(row.finding.says)


def fixed(row: FindingRow) -> str:
    """Return what becomes of a finding whose fix is carried out, as text; "" of another."""
    if row.judged_until_ns is None:
        return ""
    return (
        f"the fix is carried out, and judged until {clock(row.judged_until_ns)} of simulated time: the "
        "finding goes then or sooner, unless it is seen again"
    )


ADVICE: tuple[Column[FindingRow], ...] = (
    Column(
        key="severity",
        title="",
        heading="Severity",
        width=1,
        help="▲ frames are lost; △ it costs; · worth knowing.",
        value=lambda row: row.finding.severity,
        format=lambda severity: GLYPHS.get(severity, "·"),
        level=level,
        sort=lambda row: row.rank,
    ),
    Column(
        key="rule",
        title="Rule",
        heading="Rule",
        width=14,
        help="Which rule found it (docs/advice.md).",
        value=lambda row: row.finding.rule,
        priority=3,
        level=level,
    ),
    Column(
        key="lost_frames",
        title="Lost",
        heading="Lost",
        width=6,
        unit="frames",
        help="Frames lost within the window by what it is about, while it was seen.",
        value=lambda row: row.finding.lost_frames,
        format=compact,
        right=True,
        priority=1,
        level=lambda row: quiet(row.finding.lost_frames),
    ),
    Column(
        key="unseen_s",
        title="Seen",
        heading="Seen",
        width=6,
        unit="s",
        help=(
            "now; on/off: it comes and goes, and was last seen less long ago than it was absent before; or "
            "how long ago it was last seen. It goes when that is longer than the window."
        ),
        value=lambda row: row.unseen_s,
        format=lambda unseen_s: f"-{max(1, round(unseen_s))}s" if unseen_s else "now",
        instead=lambda row: "on/off" if row.recurs_s else None,
        sort=lambda row: row.recurs_s or row.unseen_s,
        right=True,
        priority=2,
        level=lambda row: "dim" if row.is_past else "",
    ),
    adapter_column(),
    Column(
        key="where",
        title="Where",
        heading="Where",
        width=14,
        help="The queue, VM, processor or adapter it is about.",
        value=lambda row: row.finding.where,
        priority=12,
    ),
    _SaysColumn(
        key="says",
        title="Finding",
        heading="Finding",
        width=40,
        help="What is wrong.",
        value=lambda row: row.finding.says,
        level=lambda row: "dim" if row.is_past or row.judged_until_ns is not None else "",
        prose=True,
    ),
    Column(
        key="value",
        title="Value",
        heading="Value",
        width=7,
        unit="as measure says",
        help="The one number that the fix improves, when it was last at its worst.",
        value=lambda row: row.finding.value,
        instead=lambda row: measured(row.finding, row.finding.value),
        right=True,
    ),
    Column(
        key="after",
        title="Fixed",
        heading="Fixed",
        width=7,
        unit="as measure says",
        help="What it would be then, estimated from what is measured.",
        value=lambda row: row.finding.after,
        instead=lambda row: measured(row.finding, row.finding.after),
        right=True,
    ),
    Column(
        key="fix",
        title="Fix",
        heading="Fix",
        width=24,
        help="What puts it right.",
        value=lambda row: row.finding.fix,
        prose=True,
        priority=4,
    ),
    Column(
        key="numbers",
        title="Numbers",
        heading="Numbers",
        width=30,
        help="What shows it.",
        value=lambda row: numbers(row.finding),
        prose=True,
        priority=10,
    ),
    Column(
        key="effect",
        title="Effect",
        heading="Effect",
        width=30,
        help="What the fix changes, and how that is known.",
        value=lambda row: effect(row.finding),
        prose=True,
        priority=11,
    ),
)
