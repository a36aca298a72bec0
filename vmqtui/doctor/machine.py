"""Shared memory, directories, and what crashed engines left behind."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.bus.discovery import left_behind, process_lives, runtime_directory
from engine.dataplane.layout import AdapterSizes, Sizes, batch_frames_for, total_bytes
from engine.dataplane.memory import free_bytes
from engine.logs import log_directory
from engine.ndis.host import Host
from engine.scenario.load import default_scenario
from vmqtui.doctor.finding import Finding
from vmqtui.preferences.load import PreferencesError, config_path, load_preferences

_SHARED: Final = Path("/dev/shm")
_BLOCK: Final = re.compile(r"vmq-([0-9a-f]{1,8})-[0-9a-f]+")


def shared_memory() -> Iterator[Finding]:
    """Whether the default scenario's shared memory is free."""
    needed, free = default_bytes(), free_bytes()
    found = f"{free:,} bytes are free, the default scenario needs {needed:,}"
    if needed <= free:
        yield Finding("shared memory", "ok", found)
    else:
        advice = "end other programs, enlarge /dev/shm (in a container: --shm-size), or ask for fewer buffers"
        yield Finding("shared memory", "failed", found, advice)


def default_bytes() -> int:
    """The shared memory that an engine of the default scenario makes."""
    scenario = default_scenario()
    host = Host(scenario, None)
    host.start()
    adapters = tuple(
        AdapterSizes(
            adapter.max_queues + 1,
            adapter.max_filters + 1,
            1 << (2 * need.max_steering_rows).bit_length(),
            adapter.total_buffers,
            adapter.max_frame_bytes,
            need.max_vms,
        )
        for adapter, need in zip(scenario.adapter, host.adapters, strict=True)
    )
    return total_bytes(Sizes(scenario.host.cpus, adapters, batch_frames_for(scenario.host.cpus)))


def directories() -> Iterator[Finding]:
    """Where engines announce themselves, where logs go, and the configuration file."""
    try:
        yield Finding("runtime directory", "ok", str(runtime_directory()))
    except OSError as error:
        advice = "without it, commands find an engine only by --broker URL"
        yield Finding("runtime directory", "note", str(error), advice)
    logs = log_directory()
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            yield Finding("log directory", "ok", str(logs))
    except OSError as error:
        advice = "nothing is logged until it can be written (VMQTUI_LOG_DIR names another)"
        yield Finding("log directory", "note", f"{logs}: {error.strerror or error}", advice)
    try:
        load_preferences()
        file = config_path()
        yield Finding("configuration", "ok", f"{file}{'' if file.exists() else ': not there, defaults hold'}")
    except PreferencesError as error:
        yield Finding("configuration", "failed", str(error), "correct or remove that line")


def leftovers() -> list[Path]:
    """Files of engines that are no more: announcements, and shared memory where the system shows it."""
    found: list[Path] = []
    with suppress(OSError):
        found += left_behind(runtime_directory())
    with suppress(OSError):
        for path in _SHARED.iterdir():
            match = _BLOCK.fullmatch(path.name)
            if match and not process_lives(int(match[1], 16)) and _is_ours(path):
                found.append(path)
    return sorted(found)


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except (OSError, AttributeError):
        return False


def stale(*, clean: bool) -> Iterator[Finding]:
    """What crashed engines left behind; with ``clean`` it is removed."""
    found = leftovers()
    if not found:
        yield Finding("leftovers", "ok", "crashed engines left nothing behind")
    for path in found:
        held = f"{path}: of an engine that is no more"
        if not clean:
            yield Finding("leftovers", "note", held, "vmqtui doctor --clean removes it")
            continue
        try:
            path.unlink()
            yield Finding("leftovers", "ok", f"{path}: removed")
        except OSError as error:
            yield Finding("leftovers", "failed", f"{held}; {error.strerror or error}", "remove it by hand")
