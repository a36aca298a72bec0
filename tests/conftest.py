"""What all tests share."""

import gc
import logging
import os
import re
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from engine import logs
from engine.kernels import prepare as kernels
from tests.slow import examples
from tests.veth import Veth, veth

# Programs that tests start keep their bytecode: each would compile the packages again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests neither read nor write what the developer chose on the screen; those of the state file have their own.
os.environ["VMQTUI_NO_STATE"] = "1"

# A shell that starts a test run in the background makes it ignore Ctrl-C, and so do all its child processes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no reason to fail: how long an example takes says nothing of what it shows.
settings.register_profile(
    "vmqtui", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vmqtui")

_NO_SKIPS = "VMQTUI_NO_SKIPS"
_MISSING = re.compile(r"(is|are) not (here|installed)|could not import")


_MOST_PROCESSES = 8


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes a processor: tests wait for brokers and engines, too."""
    return min(_MOST_PROCESSES, 2 * (os.cpu_count() or 1))


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before the processes that run the tests start."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        kernels.prepare(print)


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what all tests share: a quarter of the time of a dashboard's test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their argument: each process must collect the same ids, and people read them."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, which installs every tool and has the captures, a test that misses one fails."""
    report = yield
    if report.skipped and os.environ.get(_NO_SKIPS) and _MISSING.search(str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"skipped, with {_NO_SKIPS} set: {report.longrepr}"
    return report


def _process() -> tuple[dict[str, str], list[object]]:
    """The environment and the handlers of the signals that end a program."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return environment, [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Fail a test that leaves this process otherwise than it was: which tests follow here is chance."""
    before = _process()
    yield
    assert _process() == before


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process has set up."""
    yield
    for room in logs._ROOMS:
        logger = logging.getLogger(room)
        if logger.propagate:
            continue
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.addHandler(logging.NullHandler())
    logging.raiseExceptions = True


@pytest.fixture
def cable() -> Iterator[Veth]:
    """A network cable whose near end an engine can read."""
    with veth() as laid:
        yield laid
