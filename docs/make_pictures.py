"""Write docs/images/*.svg: the dashboard over an engine that runs the default scenario, one of them moving.

    python docs/make_pictures.py [SECONDS]

The engine really runs; SECONDS (default 45) is how long it is watched before the pictures are taken.
"""

import asyncio
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from engine.bus.urls import BrokerUrl
from vmqtui.app import VmqApp
from vmqtui.link import BusLink
from vmqtui.view_actions import without_outside

IMAGES = Path(__file__).parent / "images"
PICTURES = {
    "overview": ["1"],
    "queues": ["2"],
    "queue": ["2", "home", "down", "enter"],
    "filters": ["3", "end"],
    "buffers": ["4", "home", *["down"] * 7],
    "processors": ["5", *["right"] * 3, *["down"] * 5],
    "default-queue": ["6"],
    "events": ["7"],
}
"""Each picture and the keys that lead to it."""
STORY: list[tuple[list[str], float, int]] = [
    (["1"], 0.7, 4),
    (["5"], 0.7, 2),
    (["2", "home", "down", "m"], 1.5, 1),
    (["end"], 2.0, 1),
    (["enter"], 0.7, 1),
    (["5"], 0.7, 4),
    (["8"], 1.5, 2),
]
"""The moving picture: keys, seconds that a picture stays, and the number of pictures after the keys."""


async def main(seconds: float) -> None:
    """Start an engine, watch it, take the pictures, end it."""
    scenario = files("engine.scenario").joinpath("default.toml").read_text(encoding="utf-8")
    named = scenario.replace("[host]\n", '[host]\nname = "hv01"\n', 1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "hv01.toml")
        path.write_text(named, encoding="utf-8")  # noqa: ASYNC240 - a script that waits for nothing else
        engine = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vmqtui", "engine", "--scenario", str(path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert engine.stdout is not None
            url = BrokerUrl.parse((await engine.stdout.readline()).decode().strip())
            await _watch(url, seconds)
        finally:
            engine.terminate()
            await engine.wait()


async def _watch(url: BrokerUrl, seconds: float) -> None:
    async with BusLink() as link:
        app = VmqApp(link)
        async with app.run_test(size=(120, 40)) as pilot:
            await link.connect(url)
            await pilot.pause(3)
            await pilot.press("2", "home", "down", "enter")  # its rates are kept from here on
            await pilot.pause(seconds)
            for name, keys in PICTURES.items():
                await pilot.press(*keys)
                await pilot.pause(0.5)
                _save(name, app.export_screenshot(title="vmqtui"))
            await pilot.press("2", "home", "down", "m", "end")
            await pilot.pause(1.0)
            _save("move", app.export_screenshot(title="vmqtui"))
            await pilot.press("escape")
            pictures = []
            for keys, stays_s, count in STORY:
                await pilot.press(*keys)
                for _ in range(count):
                    await pilot.pause(stays_s)
                    pictures.append((app.export_screenshot(title="vmqtui"), stays_s))
            _save("tour", _moving(pictures))


def _moving(pictures: list[tuple[str, float]]) -> str:
    """Return one SVG that shows pictures in turn, each for some seconds; if motion is unwanted, the first."""
    (size,) = re.findall(r'viewBox="0 0 ([\d.]+ [\d.]+)"', pictures[0][0])
    whole_s = sum(stays_s for _, stays_s in pictures)
    rules, frames, at_s = [], [], 0.0
    for number, (picture, stays_s) in enumerate(pictures):
        begin, end = 100 * at_s / whole_s, 100 * (at_s + stays_s) / whole_s
        hidden = "" if number == 0 else "0%{visibility:hidden}"
        last = "" if number == len(pictures) - 1 else f"{end:.3f}%{{visibility:hidden}}"
        rules.append(f"@keyframes p{number}{{{hidden}{begin:.3f}%{{visibility:visible}}{last}}}")
        rules.append(f"#p{number}{{animation:p{number} {whole_s:.1f}s step-end infinite}}")
        visibility = "hidden" if number else "visible"
        frames.append(f'<g id="p{number}" visibility="{visibility}">{picture}</g>')
        at_s += stays_s
    style = f"<style>@media (prefers-reduced-motion: no-preference){{{''.join(rules)}}}</style>"
    return f'<svg viewBox="0 0 {size}" xmlns="http://www.w3.org/2000/svg">{style}{"".join(frames)}</svg>\n'


def _save(name: str, picture: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    Path(IMAGES, f"{name}.svg").write_text(without_outside(picture), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 45.0))
