"""``vmqtui play``: a recording in the dashboard, or what it holds."""

import sys
from pathlib import Path

from engine.telemetry.recording import Recording, RecordingError
from vmqtui.cli.failures import DONE, sentences, unusable, warn
from vmqtui.cli.output import print_json
from vmqtui.cli.own import own_preferences
from vmqtui.cli.run import run_app, run_async, status_of
from vmqtui.preferences.model import Preferences


def run_play(path: Path, *, host: str | None, theme: str | None, speed: float, as_json: bool) -> int:
    """Play a recording until the dashboard is left, or list it; the exit status."""
    try:
        recording = Recording(path)
    except RecordingError as error:
        unusable(error)
    except OSError as error:
        unusable(f"{path}: {error.strerror or error}")
    with recording:
        played = [name for name, index in recording.hosts.items() if len(index.offsets)]
        if not played:
            unusable(f"{path}: holds no reading")
        if host is not None and host not in played:
            unusable(f"--host: {host!r} is not in {path}; {', '.join(sorted(played))} fits")
        if as_json:
            if recording.broken is not None:
                warn(f"{recording.broken}; what is before can be played")
            print_json(_listing(recording))
            return DONE
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            unusable("playing needs a terminal; with --json it is told what the recording holds")
        with sentences():
            preferences = own_preferences()
        return run_async(_play(recording, host, theme, speed, preferences))


async def _play(
    recording: Recording, host: str | None, theme: str | None, speed: float, preferences: Preferences
) -> int:
    from vmqtui.app import VmqApp
    from vmqtui.recorded import RecordedLink

    link = RecordedLink(recording)
    notes = [f"{recording.broken}; it plays up to there"] if recording.broken is not None else []
    app = VmqApp(
        link,
        theme=theme,
        read_only=True,
        host=host,
        tapes=link.tape,
        speed=speed,
        notes=notes,
        preferences=preferences,
    )
    await run_app(app)
    if recording.broken is not None:
        warn(f"{recording.broken}; it was played up to there")
    return status_of(app)


def _listing(recording: Recording) -> dict[str, object]:
    return {
        "schema": "vmq.play/1",
        "recording": str(recording.path),
        "version": recording.version,
        "broken": recording.broken,
        "hosts": [
            {
                "host": host,
                "readings": len(index.offsets),
                "events": len(index.messages["event"]),
                "configs": len(index.messages["config"]),
                "first_time_ns": index.times_ns[0] if index.times_ns else None,
                "last_time_ns": index.times_ns[-1] if index.times_ns else None,
                "runs": index.runs[-1] + 1 if index.runs else 0,
            }
            for host, index in sorted(recording.hosts.items())
        ],
    }
