"""The scripts of ``vmqtui completion`` in the shells they are for: commands, options, names and files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Here

WORDS = {
    "re": {"replay", "record"},
    "replay --sc": {"--scenario"},
    "scenario run one-": {"one-queue"},
    "help config": {"configuration"},
}
"""What the words after ``vmqtui`` complete to."""
ASK = {
    "bash": """
eval "$(vmqtui completion bash)"
while IFS= read -r line; do
    read -ra COMP_WORDS <<< "vmqtui $line"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _vmqtui_completion vmqtui
    echo "$line=${COMPREPLY[*]}"
done
complete -p vmqtui
""",
    "zsh": """
compdef() { :; }
_arguments() { print -r -- "$line=$1"; }
eval "$(vmqtui completion zsh)"
while IFS= read -r line; do
    words=(vmqtui ${=line})
    CURRENT=$#words
    _vmqtui_completion
done
""",
    "fish": """
vmqtui completion fish | source
while read line
    echo "$line="(string join -- " " (complete -C "vmqtui $line" | string split -f 1 \\t))
end
""",
}
"""A program of each shell that prints what lines of its input complete to."""


def completed(shell: str, lines: list[str], within: Path) -> list[str]:
    """Let a shell, if it is installed, complete lines after ``vmqtui``."""
    program = shutil.which(shell)
    if program is None or sys.platform == "win32":
        pytest.skip(f"{shell} is not installed")
    bare = {"bash": "--norc", "zsh": "-f", "fish": "-N"}[shell]
    done = subprocess.run(
        [program, bare, "-c", ASK[shell]],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        cwd=within,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def words_of(shell: str, answer: str) -> set[str]:
    """The words in what a shell is given to choose from."""
    return set(re.findall('"([^" ]+)"(?=[: )])', answer) if shell == "zsh" else answer.split())


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_options_and_names(shell: str, tmp_path: Path) -> None:
    answers = dict(line.split("=", 1) for line in completed(shell, list(WORDS), tmp_path) if "=" in line)
    assert {line: words_of(shell, answers[line]) for line in WORDS} == WORDS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "answer"),
    # Where bash has nothing of ours, -o default has it complete files.
    [
        ("bash", ["replay tr=", "complete -o default -F _vmqtui_completion vmqtui"]),
        ("fish", ["replay tr=trace.pcap"]),
    ],
)
def test_a_shell_completes_the_names_of_files(shell: str, answer: list[str], tmp_path: Path) -> None:
    (tmp_path / "trace.pcap").write_bytes(b"")
    assert completed(shell, ["replay tr"], tmp_path) == answer


def test_a_shell_that_is_not_known_is_refused(here: Here) -> None:
    refused = here("completion", "csh")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("error: SHELL: 'csh' is not one of its values")
