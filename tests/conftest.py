"""What all tests share."""

import os
from collections.abc import Generator

import pytest

_NO_SKIPS = "VMQTUI_NO_SKIPS"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, which installs every tool, a test that skips is a test that fails."""
    report = yield
    if report.skipped and os.environ.get(_NO_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped, with {_NO_SKIPS} set: {report.longrepr}"
    return report
