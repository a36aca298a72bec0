"""Tasks that change an engine's traffic: its rate, or its mixes and flows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_type_hints

from engine.bus.messages import Response
from engine.counted import counted
from engine.scenario.keys import Key, keys_of
from engine.scenario.load import ScenarioError, loads_traffic, read_traffic, traffic_table
from engine.scenario.model import MixSpec, TrafficSpec
from vmqtui.tasks.task import Field, Step, Task, Values, number_as_typed, step

UNITS: Final = {"pkt/s": "rate_pps", "Gbit/s": "rate_gbps"}
"""The units of a mix's rate, each with its key."""
PATTERNS: Final[tuple[str, ...]] = get_args(get_type_hints(MixSpec)["pattern"])


@dataclass(frozen=True)
class Received:
    """The traffic of an engine: the table ``[traffic]`` with defaults filled in, and its possible targets
    (adapters and teams)."""

    table: dict[str, Any]
    adapters: list[str]

    @property
    def mixes(self) -> list[dict[str, Any]]:
        """Its mixes, as copies."""
        return [dict(mix) for mix in self.table.get("mix", ())]


def received(response: Response, adapters: Sequence[str]) -> Received | str:
    """The traffic in an answer to ``query_traffic``, or a sentence why it can't be changed."""
    if response.status != "ok":
        return f"{response.message} ({response.ndis_status})"
    does = {"capture": "plays a capture", "interface": "reads a live interface"}
    if (source := str(response.result.get("source"))) in does:
        return f"{response.message}; an engine that {does[source]} takes no other traffic"
    try:
        own = table_of(response)
    except ValueError as error:
        return str(error)
    return Received(own or {"seed": TrafficSpec().seed, "mix": []}, list(adapters))


def table_of(response: Response) -> dict[str, Any] | None:
    """The table in an answer to ``query_traffic``; None if it has none.

    The answer is untrusted: raises ValueError, with a sentence, for a table that is invalid in a scenario.
    """
    own = response.result.get("traffic")
    try:
        return None if own is None else traffic_table(own, "the engine's answer")
    except ScenarioError as error:
        raise ValueError(str(error)) from None


def mix_words(mix: dict[str, Any]) -> str:
    """A mix in one line: adapter, rate, pattern, number of flows."""
    key = "rate_gbps" if "rate_gbps" in mix else "rate_pps"
    unit = next(unit for unit, name in UNITS.items() if name == key)
    flows = len(mix.get("flow", ()))
    return (
        f"{mix.get('adapter', 'the adapter')}: {mix.get(key, 0):,.12g} {unit},"
        f" {mix.get('pattern', 'steady')}, {counted(flows, 'flow')}"
    )


def set_rate(now: Received, number: int) -> Task:
    """Change the rate or the pattern of a mix."""
    mix = now.mixes[number]
    key = "rate_gbps" if "rate_gbps" in mix else "rate_pps"
    unit = next(unit for unit, name in UNITS.items() if name == key)

    def plan(values: Values) -> Sequence[Step]:
        kept = {name: value for name, value in mix.items() if name not in UNITS.values()}
        changed = kept | {
            UNITS[values["unit"]]: values["rate"],
            "pattern": values["pattern"],
            "burst_frames": values["burst_frames"],
        }
        if changed == mix:
            return []
        mixes = now.mixes
        mixes[number] = changed
        _check({"mix": mixes}, now)
        return [_set_step({"mix": mixes}, {"mix": now.mixes}, f"mix {number + 1} is {mix_words(changed)}")]

    return Task(
        "Traffic rate",
        f"Mix {number + 1} of {len(now.mixes)}, of {mix_words(mix)}. The change holds from the next round on;"
        " what its frames are stays.",
        "Set rate",
        plan,
        [
            Field("rate", "Rate", _typed("rate_pps"), f"{mix.get(key, 0):.12g}", _fits("rate_pps")),
            Field("unit", "Unit", str, unit, choices=tuple(UNITS)),
            Field("pattern", "Pattern", str, str(mix.get("pattern", "steady")), choices=PATTERNS),
            Field(
                "burst_frames",
                "Burst frames",
                _typed("burst_frames"),
                str(mix.get("burst_frames", 32)),
                _fits("burst_frames"),
            ),
        ],
    )


def edit_traffic(now: Received) -> Task:
    """Edit the whole table ``[traffic]`` as TOML: seed, and mixes with their rates and flows."""

    def read(text: str) -> dict[str, Any]:
        try:
            table = loads_traffic(text, "the text")
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        _check(table, now)
        return table

    def plan(values: Values) -> Sequence[Step]:
        table = values["traffic"]
        before = {key: now.table.get(key, []) for key in table}
        if table == before:
            return []
        mixes = table.get("mix", now.mixes)
        flows = sum(len(mix.get("flow", ())) for mix in mixes)
        return [
            _set_step(table, before, f"{counted(len(mixes), 'mix', 'mixes')} of {counted(flows, 'flow')}")
        ]

    return Task(
        "Traffic mix",
        "The table [traffic] of a scenario (docs/scenario.md): what each adapter receives, flow by flow."
        " Tab leaves the text.",
        "Set traffic",
        plan,
        [Field("traffic", "", read, as_toml(now.table), several_lines=True)],
    )


def as_toml(table: dict[str, Any]) -> str:
    """The table ``[traffic]`` in TOML, as in a scenario file."""
    return "\n".join(_lines("traffic", table))


def _lines(heading: str, table: dict[str, Any], opening: str = "[{}]", depth: int = 0) -> Iterator[str]:
    """The lines of a table in TOML: its own keys, then its arrays of tables."""
    indent = "  " * depth
    yield indent + opening.format(heading)
    for key, value in table.items():
        if not isinstance(value, list):
            yield f'{indent}{key} = "{value}"' if isinstance(value, str) else f"{indent}{key} = {value}"
    for key, value in table.items():
        for row in value if isinstance(value, list) else ():
            yield ""
            yield from _lines(f"{heading}.{key}", row, "[[{}]]", depth + 1)


def _set_step(wanted: dict[str, Any], before: dict[str, Any], words: str) -> Step:
    return step(
        "traffic",
        f"set traffic: {words}",
        "set_traffic",
        wanted,
        undo=lambda answers: _set_step(before, wanted, "as it was"),
    )


def _check(given: dict[str, Any], now: Received) -> None:
    """Check by the engine's rules that the host accepts this traffic. Raises ValueError."""
    try:
        before = read_traffic(now.table, TrafficSpec(), now.adapters)
        read_traffic(given, before, now.adapters)
    except ScenarioError as error:
        raise ValueError(str(error)) from None


def _entry(name: str) -> Key:
    entry = keys_of(MixSpec)[name]
    assert isinstance(entry, Key)
    return entry


def _typed(name: str) -> Any:
    entry = _entry(name)
    return lambda text: entry.read(number_as_typed(text))


def _fits(name: str) -> str:
    return _entry(name).fits
