"""``vmqtui scenario list|show|run``: the library of scenarios."""

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.files import own_directory
from vmqtui.cli.failures import DONE, FAILED, sentences, unusable
from vmqtui.cli.frames import SourceOptions, prepare_kernels
from vmqtui.cli.options import Json, NoState, Theme
from vmqtui.cli.output import folded, print_json, write_in_utf8

if TYPE_CHECKING:
    from vmqtui.library.lessons import Lesson

scenario: Final = typer.Typer(
    help="Scenarios to learn VMQ with: what goes wrong, and what helps.", rich_markup_mode=None
)


def _names_that_begin_with(incomplete: str) -> list[str]:
    """Names of scenarios, for the completion of a shell."""
    from vmqtui.library.lessons import LESSONS

    return [name for name in LESSONS if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A scenario of the library.", autocompletion=_names_that_begin_with),
]


def lesson_of(name: str) -> "Lesson":
    """Return the lesson of that name. Ends with status 2 if there is none."""
    from vmqtui.library.lessons import LESSONS

    if name not in LESSONS:
        nearest = difflib.get_close_matches(name, LESSONS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else "vmqtui scenario list names them"
        unusable(f"NAME: {name!r} is not in the library ({hint})")
    return LESSONS[name]


@scenario.command("list")
def list_(json_: Json = False) -> None:
    """List the library: what each scenario shows, and the finding it raises."""
    from vmqtui.library.lessons import LESSONS

    if json_:
        print_json({"schema": "vmq.scenarios/1", "scenarios": [_entry(one) for one in LESSONS.values()]})
        return
    wide, wide_rule = (max(map(len, names)) for names in (LESSONS, [one.rule for one in LESSONS.values()]))
    print(f"{'Name':<{wide}}  {'Finding':<{wide_rule}}  Lesson")
    for one in LESSONS.values():
        line = f"{one.name:<{wide}}  {one.rule:<{wide_rule}}  {one.title}"
        print("\n".join(folded(line, wide + wide_rule + 4)))


def _entry(lesson: "Lesson") -> dict[str, Any]:
    return {
        "name": lesson.name,
        "title": lesson.title,
        "finding": lesson.rule,
        "rows": list(lesson.rows),
        "seconds": lesson.seconds,
    }


@scenario.command()
def show(
    name: Name,
    toml: Annotated[bool, typer.Option("--toml", help="Print the scenario file instead.")] = False,
) -> None:
    """Print the lesson of a scenario: what people see, why, where to look, what to try."""
    lesson = lesson_of(name)
    if toml:
        write_in_utf8()
        print(lesson.toml, end="")
        return
    print(lesson.text)
    print(f"\n    vmqtui scenario run {lesson.name}              the dashboard on it")
    print(f"    vmqtui scenario run {lesson.name} --headless   the finding, and what its fix changes")
    print(f"    vmqtui scenario show {lesson.name} --toml      the scenario file")


@scenario.command()
def run(
    name: Name,
    headless: Annotated[
        bool, typer.Option("--headless", help="Run the model without a screen, and print what is found.")
    ] = False,
    json_: Json = False,
    theme: Theme = None,
    no_state: NoState = False,
) -> int:
    """Open the dashboard on a scenario of the library."""
    lesson = lesson_of(name)
    if json_ and not headless:
        unusable("--json: is for --headless")
    return _run_headless(lesson, json_) if headless else _run_dashboard(lesson, theme, no_state)


def _run_headless(lesson: "Lesson", as_json: bool) -> int:
    from vmqtui.cli.advise import print_trial, read_settings

    with sentences():
        thresholds = read_settings(())
    prepare_kernels()
    return print_trial(trial_of(lesson), thresholds, lesson.name, as_json)


def trial_of(lesson: "Lesson") -> Any:
    """Return a lesson's trial: its scenario, duration and interventions."""
    from engine.service.trial import Intervention, Trial

    interventions = [Intervention(one.at_s, one.op, one.params) for one in lesson.interventions]
    return Trial(lesson.scenario, lesson.seconds, interventions=interventions)


def _run_dashboard(lesson: "Lesson", theme: str | None, no_state: bool) -> int:
    from vmqtui.cli.dashboard import ScreenOptions, show_dashboard
    from vmqtui.cli.reach import HostOptions

    with own_directory() as directory:
        path = directory / f"{lesson.name}.toml"
        path.write_text(lesson.toml, encoding="utf-8")
        status = show_dashboard(
            SourceOptions(scenario=path),
            HostOptions(),
            ScreenOptions(theme=theme, no_state=no_state),
            lesson,
        )
    return status or DONE if status != FAILED else FAILED
