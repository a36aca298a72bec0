"""What ``vmqtui doctor`` finds, check by check."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from engine.bus import discovery
from engine.bus.broker import EmbeddedBroker
from engine.bus.urls import BrokerUrl
from engine.kernels import cache as kernel_cache
from engine.scenario.load import default_scenario
from engine.service import leftovers
from engine.service.machine import Machine
from vmqtui import doctor
from vmqtui.doctor import Finding


@pytest.fixture
def ended_pid() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.slow
def test_what_the_default_scenario_needs_is_what_an_engine_of_it_makes() -> None:
    made = Machine(default_scenario())
    try:
        from engine.dataplane.memory import total_bytes

        assert doctor.default_bytes() == total_bytes(made.plane.sizes)
    finally:
        made.close()


def test_too_little_shared_memory_fails_and_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_bytes", lambda: 1_000)
    [found] = doctor.shared_memory()
    assert (found.verdict, found.found[:22]) == ("failed", "1,000 bytes are free, ")
    assert "--shm-size" in found.advice


def test_a_package_that_is_missing_or_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "1.26.4", "textual": "9.0.0", "aiomqtt": "2.4.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    assert doctor.misfit("numpy>=2") == "numpy 1.26.4 is not >=2"
    assert doctor.misfit("textual<9,>=8") == "textual 9.0.0 is not <9,>=8"
    assert doctor.misfit("aiomqtt<3,>=2.4") == ""
    assert doctor.misfit("psutil>=6; extra == 'x'") == "psutil is missing"


@pytest.mark.parametrize(
    ("environment", "verdict"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "ok"),
        ({"TERM": "xterm-256color"}, "note"),
        ({"TERM": "vt100"}, "note"),
        ({"TERM": "dumb"}, "failed"),
        ({}, "failed"),
        ({"TERM": "dumb", "NO_COLOR": "1"}, "ok"),
    ],
)
def test_colours_are_what_the_terminal_says_of_itself(environment: dict[str, str], verdict: str) -> None:
    assert doctor.colours(environment, windows=False).verdict == verdict


@pytest.mark.parametrize(
    ("encoding", "verdict"), [("utf-8", "ok"), ("ascii", "failed"), ("no such", "failed")]
)
def test_a_terminal_has_to_have_box_drawing_characters(encoding: str, verdict: str) -> None:
    assert doctor.characters(encoding).verdict == verdict


@pytest.mark.parametrize(("size", "verdict"), [((80, 24), "ok"), ((79, 24), "note"), ((80, 23), "note")])
def test_80_by_24_is_room_enough(size: tuple[int, int], verdict: str) -> None:
    assert doctor.terminal_size(*size).verdict == verdict


async def named(url: str) -> list[Finding]:
    return [one async for one in doctor.named_broker(url, lambda each: each)]


async def test_a_broker_that_answers_is_ok_and_one_that_does_not_is_said_why() -> None:
    async with EmbeddedBroker() as broker:
        url = broker.url.with_password()
        assert [one.verdict for one in await named(url)] == ["ok"]
    [gone] = await named(url)
    assert gone.verdict == "failed"
    assert gone.found.startswith(f"no connection to {BrokerUrl.parse(url)}: ")


async def test_no_password_is_printed() -> None:
    for url in ("mqtt://me:hunter2@127.0.0.1:1", "mqtt://me:hunter2@127.0.0.1:0", "me:hunter2@x"):
        assert "hunter2" not in str(await named(url))


async def test_a_broker_beyond_loopback_without_tls_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reached(subject: str, url: BrokerUrl, advice: str) -> Finding:
        return Finding(subject, "ok", "")

    monkeypatch.setattr(doctor, "_reached", reached)
    assert [one.verdict for one in await named("mqtt://192.0.2.1")] == ["ok", "note"]
    assert [one.verdict for one in await named("mqtts://192.0.2.1")] == ["ok"]
    assert [one.verdict for one in await named("mqtt://[::1]")] == ["ok"]


def test_files_of_dead_engines_are_found_and_removed_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_pid: int
) -> None:
    runtime, shared = tmp_path / "run", tmp_path / "shm"
    runtime.mkdir(mode=0o700)
    shared.mkdir()
    monkeypatch.setattr(leftovers, "runtime_directory", lambda: runtime)
    monkeypatch.setattr(leftovers, "SHOWN_IN", shared)
    living = discovery.announce({"owner": BrokerUrl("127.0.0.1", 1)}, "here", directory=runtime)
    dead = [runtime / f"engine-{ended_pid}.json", shared / f"vmq-{ended_pid:x}-0a1b2c3d"]
    others = [shared / "vmq-else", shared / f"{ended_pid:x}-0a1b2c3d", runtime / "notes.json"]
    for path in (*dead, *others):
        path.touch()

    found = list(doctor.stale(clean=False))
    assert [one.verdict for one in found] == ["note", "note"]
    assert all("--clean" in one.advice for one in found)
    assert all(path.exists() for path in dead)

    assert [one.verdict for one in doctor.stale(clean=True)] == ["ok", "ok"]
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in (living, *others))
    assert [one.found for one in doctor.stale(clean=True)] == ["crashed engines left nothing behind"]


def test_without_a_place_for_kernels_every_start_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    place: Any = None
    monkeypatch.setattr(doctor, "CACHE_DIRECTORY", place)
    [found] = doctor.kernels()
    assert found.verdict == "note"
    assert "XDG_CACHE_HOME" in found.advice


def test_the_content_of_the_kernel_cache_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(doctor, "REFUSED", ())
    monkeypatch.setattr(doctor, "MODULES", ("one", "other"))
    kernel_cache.keep(tmp_path, "one.serve", b"machine code")
    kernel_cache.complete(tmp_path, "one")
    [found] = doctor.kernels()
    assert (found.verdict, found.found[:23]) == ("note", "1 of 2 modules not comp")
    kernel_cache.complete(tmp_path, "other")
    assert [one.verdict for one in doctor.kernels()] == ["ok"]
    os.truncate(tmp_path / "one.serve.kernel", 40)
    [found] = doctor.kernels()
    assert (found.verdict, found.found) == ("note", f"{tmp_path / 'one.serve.kernel'}: is damaged")


def test_a_cache_that_others_can_write_is_told_with_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(doctor, "REFUSED", ("/home can be written by every user",))
    refused, _ = doctor.kernels()
    assert (refused.verdict, refused.found.endswith(": /home can be written by every user")) == ("note", True)
    assert str(tmp_path) in refused.advice
