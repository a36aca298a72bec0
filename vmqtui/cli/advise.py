"""``vmqtui advise``: print the problems of a host, and the changes that fix them."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vmqtui.cli.failures import DONE, engine_sentences, failed, sentences, unusable, warn
from vmqtui.cli.frames import CaptureOption, kept_capture_if, prepare_kernels, reading
from vmqtui.cli.options import AdapterThatIsFed, Json
from vmqtui.cli.output import ProgressLine, folded, print_json
from vmqtui.cli.reach import HostOptions
from vmqtui.numbers import compact, percent
from vmqtui.printable import printable

if TYPE_CHECKING:
    from engine.advice.evidence import Evidence
    from engine.advice.finding import Finding
    from engine.advice.thresholds import AdviceThresholds
    from engine.advice.window import AdviceWindow
    from engine.service.trial import Diagnosis, Trial, TriedFix
    from vmqtui.state.rows import FindingRow


_SECONDS: Final = 2.0
"""Simulated time of a trial, and the shortest look at a running engine, unless --seconds says otherwise."""


def advise(
    *,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="A measured host, as vmqtui import reads it; default: a running engine.",
            show_default=False,
        ),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", metavar="F", help="Run this scenario file; default: a running engine."),
    ] = None,
    capture: CaptureOption = None,
    adapter: AdapterThatIsFed = None,
    at: HostOptions,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            min=0.1,
            max=3600,
            help="How long to look; default: 2, and at an engine that started lately until a whole window "
            "(window_s) was watched. A capture: to its end.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another threshold, as in docs/advice.md; repeatable."
        ),
    ] = None,
    json_: Json = False,
) -> int:
    """Say what is wrong with a host, what shows it, what to change, and what that would change."""
    from engine.scenario.load import load

    others = {"--scenario": scenario, "--capture": capture, "--adapter": adapter}
    for option, value in others.items():
        if source is not None and value is not None:
            unusable(f"{option}: is for a model, and SOURCE is a measured host")
    with sentences():
        thresholds = read_settings(set_ or ())
        given = load(scenario) if scenario is not None else None
    if source is not None:
        return _advise_measured(source, at.host, seconds or _SECONDS, thresholds, json_)
    if given is None and capture is None:
        return _advise_live(at, seconds, thresholds, json_)
    prepare_kernels()
    with engine_sentences(str(scenario or "the plan")), kept_capture_if(capture) as held:
        from engine.service.replay import plan_capture
        from engine.service.trial import Trial

        if given is None:
            assert held is not None
            with ProgressLine() as line:
                given = plan_capture(held, progress=reading(line, "planning"))[0].scenario
        if capture is None and (given.traffic is None or not given.traffic.mix):
            unusable(
                f"{scenario}: traffic: has no mix, so no frame would come (add one, or name a --capture)"
            )
        trial = Trial(given, seconds or _SECONDS, held, adapter)
        return print_trial(trial, thresholds, str(held or scenario), json_)


def _advise_measured(
    path: Path, host: str | None, seconds: float, thresholds: "AdviceThresholds", as_json: bool
) -> int:
    """Print the findings on a measured host, with the effects of their fixes on its twin."""
    from engine.advice.evidence import Evidence
    from engine.measure.twin import make_twin
    from vmqtui.cli.importing import is_timed, read_source, verdict

    measured = read_source(path, host)
    if not is_timed(measured):
        unusable(f"{measured.origin}: no time passed between its readings, so nothing can be said")
    twin = make_twin(measured)
    for remark in measured.remarks:
        warn(remark)
    prepare_kernels()
    with engine_sentences("the model of the host"):
        from engine.service.twin_check import advise_on, compare

        diagnosis = advise_on(measured, twin, seconds, thresholds, ProgressLine().show)
    evidence = Evidence(measured.config, measured.readings[-1], measured.readings[0])
    near = verdict(compare(evidence, diagnosis.evidence, twin))
    if as_json:
        document = _document(evidence, diagnosis.tried, thresholds, measured.origin, together=diagnosis)
        model = {"totals": totals(diagnosis.evidence), "check": near, "unknown": list(twin.unknown)}
        print_json(document | {"model": model})
        return DONE
    _print_head(evidence, measured.origin)
    print(f"effects are those of a model of the host (vmqtui import): {near}")
    for sentence in twin.unknown:
        print(f"    not measured: {printable(sentence)}")
    _print(evidence, diagnosis.findings)
    _print_together(diagnosis)
    return DONE


def print_trial(trial: "Trial", thresholds: "AdviceThresholds", source: str, as_json: bool) -> int:
    """Run a trial and print its findings; return the exit status."""
    with engine_sentences(source), ProgressLine() as line:
        from engine.service.trial import TrialError, diagnose

        try:
            diagnosis = diagnose(trial, thresholds, progress=line.show)
        except TrialError as error:
            failed(error)
    if as_json:
        print_json(_document(diagnosis.evidence, diagnosis.tried, thresholds, source, together=diagnosis))
    else:
        _print_head(diagnosis.evidence, source)
        _print(diagnosis.evidence, diagnosis.findings)
        _print_together(diagnosis)
    return DONE


def _print_together(diagnosis: "Diagnosis") -> None:
    """Print what all fixes together do, and warn of those that were refused."""
    if diagnosis.together is not None:
        told = totals(diagnosis.together)
        print(f"\nall fixes together: {_totals_in_words(told)}; {_left_in_words(diagnosis)}")
    for one in diagnosis.tried:
        if one.refused:
            warn(f"the fix of {one.finding.rule}, {one.finding.where}, was refused: {one.refused}")


def read_settings(settings: Sequence[str]) -> "AdviceThresholds":
    """Return the configured thresholds, overridden by ``settings``, each ``NAME=VALUE``."""
    import msgspec

    from engine.advice.thresholds import THRESHOLDS, read_threshold
    from engine.scenario.load import unknown_key
    from engine.scenario.values import show
    from vmqtui.cli.config import own_preferences

    known = {one.name: one for one in THRESHOLDS}
    changed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in known or not equals:
            what = unknown_key(name, list(known)) if name not in known else "has no value (NAME=VALUE fits)"
            unusable(f"--set: {show(setting)}: {what}")
        try:
            changed[name] = read_threshold(known[name], float(text))
        except ValueError as error:
            said = str(error) if "fits" in str(error) else f"{show(text)} is not a number"
            unusable(f"--set: {name}: {said}")
    return msgspec.structs.replace(own_preferences().advice, **changed)


def _advise_live(
    at: HostOptions, seconds: float | None, thresholds: "AdviceThresholds", as_json: bool
) -> int:
    """Watch a running engine for ``seconds``, or until a whole window was watched; print the findings."""
    import msgspec

    from engine.advice.window import AdviceWindow
    from vmqtui.cli.run import run_async

    window_s = max(thresholds.window_s, seconds or 0)
    window = AdviceWindow(msgspec.structs.replace(thresholds, window_s=window_s))
    with sentences(), ProgressLine() as line:
        evidence = run_async(_watch(at, seconds, window, line))
    if as_json:
        print_json(_document(evidence, window.listed, thresholds, evidence.config.host, window))
    else:
        hint = " (without --seconds the rest is watched too)" if seconds else ""
        _print_head(evidence, evidence.config.host, window, hint)
        _print(evidence, window.listed, window)
    return DONE


async def _watch(
    at: HostOptions, seconds: float | None, window: "AdviceWindow", line: ProgressLine
) -> "Evidence":
    """Feed an engine's readings to ``window`` for ``seconds`` of simulated time, or three times as long by
    the wall clock if the engine is late; then add the engine's own earlier findings. Without ``seconds``:
    until those and its own make a whole window. Returns the counters over that time."""
    from engine.advice.evidence import Evidence
    from engine.bus.watcher import KINDS
    from vmqtui.cli.attach import ANSWER_S, Readings, find_host, open_watcher

    async with open_watcher(at, at.host, user="viewer", kinds=(*KINDS, "advice")) as watcher:
        readings = Readings(watcher, await find_host(watcher, at.host))
        first = None
        latest = 0.0
        matched = time.monotonic()
        while True:
            if not await readings.next():
                failed(readings.why_none)
            stats, config = readings.snapshot.stats, readings.snapshot.config
            assert stats is not None
            assert config is not None
            window.add(config, stats)
            now = time.monotonic()
            if config.revision != stats.revision:
                if now - matched > ANSWER_S:
                    failed(f"host {readings.name} sent no configuration for its readings in {ANSWER_S:g} s")
                continue
            matched = now
            if first is None or stats.sim_time_ns < first.sim_time_ns:
                first, latest = stats, now + 3 * (seconds or window.thresholds.window_s)
            elapsed_s = (stats.sim_time_ns - first.sim_time_ns) / 1e9
            advice = readings.view.advice if readings.view is not None else None
            left_s = max((seconds or _SECONDS) - elapsed_s, 0 if seconds else window.left_s(advice))
            if now >= latest or (elapsed_s and left_s <= 0):
                window.finish()
                if advice is not None:
                    window.take_over(advice)
                return Evidence(config, stats, first)
            line.show(f"watching {readings.name}", elapsed_s / (elapsed_s + left_s))


def _document(
    evidence: "Evidence",
    found: "Sequence[TriedFix | Finding]",
    thresholds: "AdviceThresholds",
    source: str,
    window: "AdviceWindow | None" = None,
    together: "Diagnosis | None" = None,
) -> dict[str, Any]:
    import msgspec

    from engine.advice.finding import Finding
    from engine.advice.rules import unchecked

    listed = []
    for one in found:
        finding = one if isinstance(one, Finding) else one.finding
        entry = msgspec.to_builtins(finding)
        if not isinstance(one, Finding):
            entry["totals_after"] = None if one.after is None else totals(one.after)
            if one.refused:
                entry["refused"] = one.refused
        listed.append(entry)
    return {
        "schema": "vmq.advise/1",
        "source": source,
        "host": evidence.config.host,
        "seconds": evidence.span_s,
        "window_s": evidence.span_s if window is None else window.seconds,
        "left_s": 0.0 if window is None else window.left_s(),
        "totals": totals(evidence),
        "thresholds": msgspec.to_builtins(thresholds),
        "findings": listed,
        "unchecked": msgspec.to_builtins(unchecked(evidence)),
        "together": None
        if together is None or together.together is None
        else {
            "totals_after": totals(together.together),
            "left": [[one.rule, one.adapter, one.key] for one in together.left],
        },
    }


def totals(evidence: "Evidence") -> dict[str, float | None]:
    """Return the host's total rates of frames, and its highest processor load."""
    from engine.advice.verdict import totals as of_host

    return of_host(evidence)._asdict()


def _totals_in_words(told: dict[str, float | None]) -> str:
    delivered = told["delivered_pps"]
    frames = (
        f"{compact(told['offered_pps'])} frames/s offered"
        if delivered is None and told["offered_pps"] is not None
        else f"{compact(delivered)} frames/s delivered"
    )
    return (
        f"{frames}, {compact(told['drops_pps'])}/s dropped, busiest processor {percent(told['busiest_load'])}"
    )


def _left_in_words(diagnosis: "Diagnosis") -> str:
    left = ", ".join(f"{one.rule} ({printable(one.where)})" for one in diagnosis.left)
    return f"still found: {left}" if left else "nothing is found any more"


def _print_head(
    evidence: "Evidence", source: str, window: "AdviceWindow | None" = None, hint: str = ""
) -> None:
    """Print what was looked at; ``hint`` follows the remark that the window is not whole yet, if it isn't."""
    from vmqtui.columns import advice as words

    told = totals(evidence)
    line = f"{printable(source)}: {evidence.span_s:.3g} s looked at, {_totals_in_words(told)}"
    line += f"; findings of {window.seconds:.3g} s" if window is not None else ""
    print("\n".join(folded(line)))
    if window is not None and (left_s := window.left_s()) > 0:
        line = f"{words.watched(window.seconds, left_s)}, and what comes in bursts may be missing{hint}"
        print("\n".join(folded(line)))


def _print(evidence: "Evidence", found: "Sequence[Finding]", window: "AdviceWindow | None" = None) -> None:
    """Print each finding as a block of lines, then the rules that could not look."""
    from engine.advice.rules import unchecked
    from vmqtui.columns import advice as words
    from vmqtui.state.rows import FindingRow

    gaps = unchecked(evidence) if evidence.usable else []
    if not found:
        so_far = window is not None and window.left_s() > 0
        print(
            words.nothing_found(gaps, so_far) if evidence.usable else "no time passed, so nothing can be said"
        )
    for finding in found:
        print()
        judged = window.judged if window is not None else None
        row = None if judged is None else FindingRow.at(judged.sim_time_ns, finding)
        for line in block(finding, evidence.config.system, row):
            print(line)
    if gaps:
        print("\ncould not look:")
    for gap in gaps:
        print("\n".join(folded(f"    {words.gap(gap)}", 8)))
    sys.stdout.flush()


def block(finding: "Finding", system: str, row: "FindingRow | None" = None) -> list[str]:
    """Return a finding as lines. ``system`` is its host's operating system, "" of a model; ``row`` is its row
    now, None without a window."""
    from vmqtui.columns import advice as words

    seen = [] if row is None else [f"    seen    {words.seen(row)}"]
    lines = [
        *folded(f"{words.GLYPHS[finding.severity]} {finding.rule} · {printable(finding.says)}", 2),
        *seen,
        *folded(f"    shows   {words.numbers(finding)}", 12),
        *folded(f"    cause   {printable(finding.cause)}", 12),
        *folded(f"    fix     {printable(finding.fix)}", 12),
        *(f"            {one}" for one in words.commands(finding.requests)),
    ]
    typed = any(not one.startswith("#") for one in finding.commands)
    lines += [f"    {words.shell(system)}{' (copy as one block)' * typed}"] if finding.commands else []
    lines += [f"            {printable(one)}" for one in finding.commands]
    return [*lines, *folded(f"    effect  {words.effect(finding)}", 12)]
