"""docs/drivers.md repeats the table of drivers, and is held to it."""

from collections.abc import Sequence
from pathlib import Path

from engine.measure.drivers import DRIVERS, OTHER, Driver

PAGE = Path(__file__).parents[2] / "docs/drivers.md"
MARKS = {"exact": "", "derived": " ≈", "guessed": " ?"}


def counters(names: Sequence[str], source: str = "exact") -> str:
    """Names as the page writes them, with ``N`` for the number of a ring."""
    alternatives = [f"`{each.replace('{}', 'N')}`{MARKS[source]}" for each in names]
    return ", or ".join(alternatives) or "–"


def row(driver: Driver) -> str:
    functions = (
        "frames, bytes, drops" if driver.vf_dropped else "frames, bytes" if driver.vf_counters else "–"
    )
    cells = (
        driver.title,
        counters(driver.frames, driver.frames_source),
        counters(driver.bytes, "guessed" if driver.bytes_have_fcs is None else "exact"),
        counters(driver.dropped, driver.dropped_source),
        counters([driver.port_dropped] if driver.port_dropped else []),
        counters(driver.interrupts),
        functions,
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_on_drivers_has_the_table_s_rows() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(place for place, line in enumerate(lines) if line.startswith("|---"))
    table = [line for line in lines[head + 1 :] if line.startswith("|")]
    assert table == [row(driver) for driver in (*DRIVERS, OTHER)]
