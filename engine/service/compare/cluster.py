"""Runs on a Dask cluster: each is a task, whose answer is the same as that of a process beside this one.

The capture goes along, so workers need no file of ours; they need this version of vmqtui. Dask is optional
(the extra ``cluster``).
"""

import hashlib
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from engine.scenario.values import one_line
from engine.service.compare.pool import Progress, RunFailedError
from engine.service.compare.runs import Result, Run
from engine.service.compare.task import Failure, decode_answer, encode_run, with_capture
from engine.temporary import own_directory
from engine.traffic.capture_file import CaptureFile

MAX_CAPTURE_BYTES: Final = 256 * 1024 * 1024
"""Largest capture that is sent."""

_CONNECT_S: Final = 10


def run_on(
    url: str, runs: Sequence[Run], progress: Callable[[Progress], None] = lambda progress: None
) -> list[Result]:
    """Carry out runs on the cluster whose scheduler is at ``url``; results in their order.

    Raises RunFailedError, also where there is no Dask, nobody answers, or workers have another version.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise RunFailedError(
            "--dask: distributed is not installed (pip install 'vmqtui[cluster]' fits)", unusable=True
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said by us, once
    captures = _captures(runs)
    so_far = Progress(0, len(runs), {})
    results: dict[int, Result] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(url, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise RunFailedError(f"--dask: {url}: {_first_line(error)}", unusable=False) from None
        try:
            held = {capture: client.scatter(content) for capture, content in captures.items()}
            futures = {
                client.submit(_carry_out, encode_run(run), held.get(run.capture), pure=False): number
                for number, run in enumerate(runs)
            }
            progress(so_far)
            for future in as_completed(futures):
                number = futures[future]
                results[number] = _result(future, runs[number])
                so_far.done += 1
                progress(so_far)
        finally:
            client.close()  # which gives up what it waits for
    return [results[number] for number in range(len(runs))]


def _captures(runs: Sequence[Run]) -> dict[CaptureFile | None, bytes]:
    """The content of each capture that the runs read."""
    found: dict[CaptureFile | None, bytes] = {}
    for capture in {run.capture for run in runs if run.capture is not None}:
        name = capture.name
        try:
            size = Path(capture.path).stat().st_size
            if size > MAX_CAPTURE_BYTES:
                raise RunFailedError(
                    f"--dask: {one_line(name)}: {size:,} bytes are too many to send"
                    f" ({MAX_CAPTURE_BYTES:,} fit)",
                    unusable=True,
                )
            found[capture] = Path(capture.path).read_bytes()
        except OSError as error:
            raise RunFailedError(f"{one_line(name)}: {error.strerror}", unusable=True) from None
    return found


def _result(future: Any, run: Run) -> Result:
    try:
        said = decode_answer(future.result())
    except Exception as error:  # whatever a worker raised, or became of it
        raise RunFailedError(f"{run.label}: on a worker: {_first_line(error)}", unusable=False) from None
    if isinstance(said, Failure):
        raise RunFailedError(f"{run.label}: {said.sentence}", unusable=said.kind in ("unusable", "memory"))
    assert isinstance(said, Result)
    return said


def _first_line(error: Exception) -> str:
    return one_line((str(error).strip() or type(error).__name__).splitlines()[0])


def _carry_out(order: bytes, capture: bytes | None) -> bytes:
    """A worker's task: the run in a process of its own, since a worker's processes may have no children."""
    with own_directory() as directory:
        if capture is not None:
            path = directory / hashlib.sha256(capture).hexdigest()[:16]
            path.write_bytes(capture)
            order = with_capture(order, str(path))
        done = subprocess.run(
            [sys.executable, "-m", "engine.service.compare.task"],
            input=order,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it died")
    return done.stdout
