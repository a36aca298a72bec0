"""The list of scenarios: the problem each shows, the rule that must find it, the requests made meanwhile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import count
from typing import Any, Final

from engine.scenario.load import loads
from engine.scenario.model import Scenario


@dataclass(frozen=True)
class Intervention:
    """A request made ``at_s`` seconds after the start."""

    at_s: float
    op: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Lesson:
    """A scenario of the library.

    ``rows`` are the rows of "What goes wrong in practice" that it shows; ``rule`` finds the problem within
    ``seconds`` of simulated time. On a screen its ``interventions`` repeat every ``again_s``; None: made
    once.
    """

    name: str
    rows: tuple[int, ...]
    rule: str
    seconds: float = 0.4
    interventions: Sequence[Intervention] = ()
    again_s: float | None = None

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
    def text(self) -> str:
        """The lesson: title, symptoms, cause, where to look, what to try."""
        lines: list[str] = []
        for line in self.toml.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.removeprefix("#").removeprefix(" "))
        return "\n".join(lines)

    @property
    def title(self) -> str:
        """The first line of the lesson."""
        return self.text.partition("\n")[0]


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
