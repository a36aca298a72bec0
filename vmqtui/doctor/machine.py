"""Shared memory, directories, and what crashed engines left behind."""

import tempfile
from collections.abc import Iterator

from engine.bus.discovery import runtime_directory
from engine.dataplane.memory import free_bytes
from engine.kernels.layout import AdapterSizes, Sizes, batch_frames_for, total_bytes
from engine.logs import log_directory
from engine.ndis.host import Host
from engine.scenario.load import default_scenario
from engine.service.leftovers import leftovers, remove
from vmqtui.doctor.finding import Finding
from vmqtui.preferences.load import PreferencesError, config_path, load_preferences


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


def stale(*, clean: bool) -> Iterator[Finding]:
    """What crashed engines left behind; with ``clean`` it is removed."""
    found = leftovers()
    if not found:
        yield Finding("leftovers", "ok", "crashed engines left nothing behind")
    for path in found:
        held = f"{path}: of an engine that is no more"
        if not clean:
            yield Finding("leftovers", "note", held, "the next engine removes it, or vmqtui doctor --clean")
            continue
        try:
            remove(path)
            yield Finding("leftovers", "ok", f"{path}: removed")
        except OSError as error:
            yield Finding("leftovers", "failed", f"{held}; {error.strerror or error}", "remove it by hand")
