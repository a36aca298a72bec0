"""Commands that only print load nothing heavy: a second of start for each is felt all day."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import contextlib, io, json, sys
from vmqtui.cli.program import run
loaded = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        status = run(words.split())
    loaded[words] = [status, sorted({name.partition(".")[0] for name in sys.modules})]
print(json.dumps(loaded))
"""
NEVER = {"aiohttp", "aiomqtt", "asyncio", "multiprocessing", "numba", "numpy", "psutil", "pyarrow", "textual"}
"""What none of these commands needs."""
NOT_FOR = {
    "--help": {"msgpack", "msgspec", "platformdirs", "pydantic", "rich", "tomllib"},
    "export grafana": {"msgpack", "msgspec", "platformdirs", "rich", "tomllib"},
    "get --help": {"msgpack", "msgspec", "platformdirs", "rich", "tomllib"},
    "plan --help": {"msgpack", "msgspec", "platformdirs", "rich", "tomllib"},
    "scenario list": {"msgpack", "platformdirs", "rich"},
    "config show": {"msgpack"},
}
"""What a command does not need either. They run in one process in this order: each may load more."""


def test_commands_that_only_print_load_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([*NOT_FOR])],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
    )
    for words, (status, loaded) in json.loads(done.stdout).items():
        assert status == 0, words
        assert not (NEVER | NOT_FOR[words]) & set(loaded), words
