"""The soak program itself, for a moment: each kind of fault once, those that take longest left out."""

import shutil
import sys

import pytest

from tests.soak.run import soak, table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="processes are found as Linux shows them"
    ),
    pytest.mark.skipif(
        not shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin"),
        reason="mosquitto is not installed",
    ),
]

FAULTS = (
    "valid requests",
    "invalid requests",
    "a request sent twice",
    "worker killed (SIGKILL)",
    "worker stopped (SIGSTOP)",
    "broker killed (SIGKILL)",
)


async def test_a_moment_of_every_day_faults_is_survived() -> None:
    report = await soak(0.0, seed=2, pause_s=0.1, interval_s=0.05, only=FAULTS)
    assert not report.problems, table(report)
    assert set(report.rows) == set(FAULTS)
    assert all(row.times >= 1 for row in report.rows.values())
