"""The list of scenarios: the problem each shows, the rule that must find it, the requests made meanwhile.

A lesson's text is the comment at the start of its scenario file. The steps to try are a list there; a step
that the dashboard can recognise ends with its condition in braces, which is not shown:

    # - give it 512 buffers (e) and see the drops end. {set_queue_parameters queue_id=1 buffers>64}

A condition is a request that was answered (its operation, and tests of its parameters: ``key``, ``key=1|2``,
``key<9``, ``key>9``), several such requests separated by commas, ``fix`` (the fix of the lesson's finding was
applied), or ``view NAME`` (a view is shown after the steps before it are done).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import count
from typing import Any, Final, Literal

from engine.scenario.load import loads
from engine.scenario.model import Scenario


@dataclass(frozen=True)
class Intervention:
    """A request made ``at_s`` seconds after the start."""

    at_s: float
    op: str
    params: dict[str, Any]


_CONDITION: Final = re.compile(r"\s*\{([^{}]*)\}")
_TEST: Final = re.compile(r"(\w+)(?:([=<>])(\S+))?")


@dataclass(frozen=True)
class Condition:
    """An event that shows that a step was tried.

    ``name`` is the operation of a request, or the id of a view, or "" for a fix; ``tests`` of the request's
    parameters are (key, "=", "<", ">" or "", value).
    """

    kind: Literal["request", "fix", "view"]
    name: str = ""
    tests: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def read(cls, text: str) -> "Condition":
        """Read one condition. Raises ValueError."""
        name, *words = text.split() or [""]
        if name == "fix" and not words:
            return cls("fix")
        if name == "view" and len(words) == 1:
            return cls("view", words[0])
        matches = [_TEST.fullmatch(word) for word in words]
        tests = [(one[1], one[2] or "", one[3] or "") for one in matches if one is not None]
        if len(tests) < len(words) or name in ("", "fix", "view"):
            raise ValueError(f"{text!r} is not a condition")
        return cls("request", name, tuple(tests))

    def holds(self, op: str, params: Mapping[str, Any]) -> bool:
        """Whether a request meets it."""
        return self.kind == "request" and op == self.name and all(_passes(params, *one) for one in self.tests)


def _passes(params: Mapping[str, Any], key: str, sign: str, value: str) -> bool:
    if key not in params:
        return False
    given = params[key]
    match sign:
        case "=":
            return any(_same(given, one) for one in value.split("|"))
        case "<":
            return isinstance(given, (int, float)) and given < float(value)
        case ">":
            return isinstance(given, (int, float)) and given > float(value)
    return True


def _same(given: Any, value: str) -> bool:
    return str(given) == value or (isinstance(given, float) and f"{given:g}" == value)


@dataclass(frozen=True)
class Step:
    """Something to try. It was tried when all ``conditions`` were met; without one, that is not recognised.

    ``instead``: it replaces the steps before it.
    """

    text: str
    conditions: tuple[Condition, ...] = ()

    @property
    def instead(self) -> bool:
        return self.text.startswith("or ")


@dataclass(frozen=True)
class Lesson:
    """A scenario of the library.

    ``rows`` are the rows of "What goes wrong in practice" that it shows; ``rule`` finds the problem within
    ``seconds`` of simulated time. On a screen its ``interventions`` repeat every ``again_s``; None: made
    once. There the advisor judges two seconds at a time: ``rule_on_screen`` is the rule that finds it so, if
    that is another one.
    """

    name: str
    rows: tuple[int, ...]
    rule: str
    seconds: float = 0.4
    interventions: Sequence[Intervention] = ()
    again_s: float | None = None
    rule_on_screen: str = ""

    @property
    def shown_rule(self) -> str:
        """The rule that finds the problem on a screen."""
        return self.rule_on_screen or self.rule

    def on_screen(self) -> Iterator[Intervention]:
        """The interventions to make on a screen, in order of time; endless if they repeat."""
        for lap in count() if self.again_s is not None else (0,):
            for intervention in self.interventions:
                yield Intervention(
                    lap * (self.again_s or 0.0) + intervention.at_s, intervention.op, intervention.params
                )

    @cached_property
    def toml(self) -> str:
        """The text of the scenario file; the comments at its start are the lesson."""
        path = resources.files("vmqtui.library").joinpath("scenarios", f"{self.name}.toml")
        return path.read_text(encoding="utf-8")

    @property
    def scenario(self) -> Scenario:
        """The loaded scenario file."""
        return loads(self.toml, f"{self.name}.toml")

    @cached_property
    def _comment(self) -> str:
        lines: list[str] = []
        for line in self.toml.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.removeprefix("#").removeprefix(" "))
        return "\n".join(lines)

    @property
    def text(self) -> str:
        """The lesson: title, symptoms, cause, where to look, what to try."""
        return _CONDITION.sub("", self._comment)

    @property
    def title(self) -> str:
        """The first line of the lesson."""
        return self.text.partition("\n")[0]

    @cached_property
    def paragraphs(self) -> dict[str, str]:
        """Symptoms, cause and where to look, each in one line under its heading."""
        parts = (one.partition(":") for one in self.text.split("\n\n")[1:])
        return {heading: " ".join(rest.split()) for heading, _, rest in parts if heading != "Try"}

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps to try, in order. Raises ValueError for a condition that can't be read."""
        steps = []
        for item in self._comment.partition("\nTry:\n- ")[2].split("\n- "):
            found = _CONDITION.search(item)
            conditions = found[1].split(",") if found else ()
            text = " ".join(_CONDITION.sub("", item).split())
            steps.append(Step(text, tuple(Condition.read(one) for one in conditions)))
        return tuple(steps)


def _moves(queue_id: int, cpus: Sequence[int], every_s: float) -> tuple[Intervention, ...]:
    return tuple(
        Intervention(place * every_s, "set_queue_parameters", {"queue_id": queue_id, "cpu": cpu})
        for place, cpu in enumerate(cpus, 1)
    )


def _load(at_s: float, flows: Mapping[int, tuple[int, int]]) -> Intervention:
    """A change of traffic at ``at_s``: ``flows`` maps a MAC's last octet to (VLAN id, thousand frames/s);
    1,000 broadcasts/s are added."""
    flow: list[dict[str, Any]] = [
        {"mac": f"00:15:5d:00:00:{octet:02x}", "vlan": vlan, "weight": kpps}
        for octet, (vlan, kpps) in flows.items()
    ]
    flow.append({"kind": "broadcast", "vlan": 10, "weight": 1, "frame_bytes": 60})
    rate_pps = 1000 * sum(one["weight"] for one in flow)
    return Intervention(
        at_s, "set_traffic", {"mix": [{"rate_pps": rate_pps, "pattern": "random", "flow": flow}]}
    )


LESSONS: Final[dict[str, Lesson]] = {
    lesson.name: lesson
    for lesson in (
        Lesson("base-processor", (1,), "shared-with-default"),
        Lesson("piled-queues", (1,), "piled-queues"),
        Lesson("set-with-holes", (1,), "shared-with-default"),
        Lesson("uneven", (1, 8), "full-processor"),
        Lesson(
            "shifted-load",
            (1,),
            "balancer-off",
            seconds=0.5,
            interventions=(_load(0.05, {1: (10, 230), 2: (40, 230), 3: (10, 15), 4: (30, 24)}),),
        ),
        Lesson(
            "swinging-load",
            (1, 8),
            "load-swings",
            seconds=12.0,
            interventions=tuple(
                _load(at_s, {1: (10, first), 2: (40, first), 3: (10, second), 4: (30, second)})
                for at_s, first, second in ((3, 1, 18), (6, 18, 1), (9, 1, 18), (12, 18, 1))
            ),
            again_s=12.0,
            rule_on_screen="balancer-off",
        ),
        Lesson("without-queue", (1, 2), "vm-without-queue"),
        Lesson("more-vms-than-queues", (2,), "more-vms-than-queues"),
        Lesson("live-migration", (1, 2), "vm-without-queue"),
        Lesson("idle-queue-held", (2,), "idle-queue-held"),
        Lesson("team-overlap", (3,), "team-overlap"),
        Lesson("fresh-team", (3,), "team-overlap"),
        Lesson("overlapping-switches", (3,), "sets-overlap"),
        Lesson("team-differs", (3,), "team-differs"),
        Lesson("odd-processors", (4,), "odd-processors"),
        Lesson("one-queue", (5,), "one-queue-one-processor"),
        Lesson("numa-span", (6,), "numa-span"),
        Lesson("two-groups", (6,), "numa-span"),
        Lesson(
            "churn",
            (6,),
            "affinity-churn",
            seconds=32.0,
            interventions=_moves(1, (3, 5, 1, 6, 3), every_s=5.0),
        ),
        Lesson("vlan-near-miss", (7,), "near-miss-vlan"),
        Lesson("trunk-vm", (7,), "near-miss-vlan"),
        Lesson("second-port", (7,), "missing-filter"),
        Lesson("shadowed-filter", (7,), "shadowed-filter"),
        Lesson("forgotten-filter", (7,), "paused-queue"),
        Lesson("few-buffers", (8,), "too-few-buffers"),
        Lesson("shared-out-buffers", (8,), "fewer-than-suggested"),
        Lesson("allocation-failed", (8,), "never-completed"),
        Lesson(
            "paused-vm", (8,), "vm-paused", interventions=(Intervention(0.05, "pause_vm", {"vm": "sql-01"}),)
        ),
        Lesson(
            "stuck-free",
            (9,),
            "free-pending",
            seconds=3.0,
            interventions=(
                Intervention(0.2, "pause_vm", {"vm": "file-01"}),
                Intervention(0.3, "clear_filter", {"queue_id": 1, "filter_id": 1}),
                Intervention(0.3, "free_queue", {"queue_id": 1}),
            ),
        ),
        Lesson(
            "after-migration",
            (10,),
            "vm-left",
            interventions=(Intervention(0.05, "migrate_vm", {"vm": "vdi-01"}),),
        ),
        Lesson("slow-link", (1,), "slow-link"),
        Lesson("broadcom-1g", (1,), "vmq-on-slow-link"),
    )
}
"""The lessons by name, roughly in the order of the rows they show."""
