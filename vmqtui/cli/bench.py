"""``vmqtui bench``."""

import sys
from typing import Any

from vmqtui.cli.failures import DONE, engine_sentences, failed, unusable
from vmqtui.cli.output import print_json
from vmqtui.cli.start import prepare_kernels


def run_bench(
    cpus: int, queues: int, filters: int, frame_bytes: int, seconds: float, *, as_json: bool
) -> int:
    """Measure and print; the exit status."""
    if filters < queues:
        unusable(f"--filters: {filters} is less than one a queue (--queues {queues})")
    prepare_kernels()
    with engine_sentences("bench"):
        from engine.service.bench import BenchFailedError, Settings, bench

        on_terminal = sys.stderr.isatty()
        try:
            document = bench(
                Settings(cpus, queues, filters, frame_bytes, seconds),
                lambda sentence: print(sentence, file=sys.stderr) if on_terminal else None,
            )
        except BenchFailedError as error:
            failed(error)
    if as_json:
        print_json(document)
    else:
        _print(document)
    return DONE


def _print(document: dict[str, Any]) -> None:
    print(
        f"{document['cpus']} CPUs, {document['queues']} queues, {document['filters']} filters,"
        f" {document['frame_bytes']}-byte frames, on {document['cores']} cores"
    )
    for title, text in (
        ("whole path", f"{document['frames_per_second'] / 1e6:.2f} M frames/s"),
        ("", f"{document['gbits_per_second']:.2f} Gbit/s"),
        ("", f"{document['line_rate_10g_ratio']:.2f} × 10 GbE line rate"),
        ("spread of runs", f"{document['frames_per_second_spread']:.1%}"),
        ("steering, a core", f"{document['steer_frames_per_second_per_core'] / 1e6:.1f} M frames/s"),
        ("memcpy", f"{document['memcpy_gbytes_per_second']:.2f} GB/s"),
        ("copied", f"{document['copied_gbytes_per_second']:.2f} GB/s"),
        ("", f"{document['copy_ratio']:.2f} of memcpy"),
        ("workers ready", f"{document['ready_seconds']:.2f} s"),
    ):
        print(f"  {title:<18}{text}")
