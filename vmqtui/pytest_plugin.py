"""A pytest plugin with fixtures that run engines, for tests of other projects (docs/library.md, "Fixtures").

pytest loads this module in every project of the environment. It imports the engine only when a test uses a
fixture, so that a project with a package ``engine`` of its own is not disturbed.

    @pytest.mark.vmq(scenario="lab.toml", clock="manual")
    async def test_my_reader(vmq):
        await vmq.advance(1.0)  # a real engine, with real workers, behind vmq.url
"""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from vmqtui import _engine_is_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path
    from types import ModuleType
    from typing import Literal, TypedDict, Unpack

    from engine.scenario.load import ScenarioSource
    from engine.service.pacing import ClockName
    from engine.traffic.capture_file import CaptureFile
    from vmqtui import AdviceThresholds, BrokerUrl, Engine, Listen, Stats
    from vmqtui.hosting import EnginePool

    class EngineOptions(TypedDict, total=False):
        """The named arguments of ``Engine``."""

        capture: CaptureFile | Path | str | None
        loop: bool
        interface: str | None
        promiscuous: bool
        adapter: str | None
        broker: BrokerUrl | str | None
        listen: Listen | None
        clock: ClockName
        run_to: float | Callable[[Stats], bool] | None
        interval_s: float
        worker_deadline_s: float
        announce: Literal["no", "found", "named"]
        viewers: Sequence[str]
        thresholds: AdviceThresholds | None
        progress: Callable[[str], None]


OPTIONS: Final = (
    *("scenario", "clock", "run_to", "interval_s", "capture", "loop", "adapter", "interface", "promiscuous"),
    *("broker", "listen", "announce", "viewers", "thresholds", "worker_deadline_s", "progress"),
)
"""What the marker takes: the arguments of ``Engine``."""

_MARKER: Final = (
    "vmq(scenario=…, clock=…, …): the arguments of the engine that the fixtures vmq and vmq_engine start"
)
_RUN_COROUTINES: Final = ("asyncio", "anyio")
_TEST: Final = pytest.StashKey[pytest.Item]()
"""The test whose function runs now."""


class StartEngine(Protocol):
    """A coroutine function that starts an ``Engine`` with its arguments, by default those of the marker."""

    async def __call__(
        self, scenario: "ScenarioSource" = None, **options: "Unpack[EngineOptions]"
    ) -> "Engine": ...


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> "Generator[None, object, object]":
    """Note the test: the starters of wider scopes use its marker."""
    item.config.stash[_TEST] = item
    try:
        return (yield)
    finally:
        del item.config.stash[_TEST]


def _marked(node: pytest.Item | pytest.Collector) -> dict[str, Any]:
    """The arguments of the marker that is closest to a test, class or module."""
    marker = node.get_closest_marker("vmq")
    if marker is None:
        return {}
    fitting = ", ".join(OPTIONS)
    if marker.args:
        pytest.fail(f"@pytest.mark.vmq: {marker.args[0]!r} has no name; {fitting} fits", pytrace=False)
    for name in marker.kwargs:
        if name not in OPTIONS:
            pytest.fail(f"@pytest.mark.vmq: {name!r} is no argument of it; {fitting} fits", pytrace=False)
    return dict(marker.kwargs)


def _hosting(request: pytest.FixtureRequest) -> "ModuleType":
    """Import the engine; a test that can't use it fails with a sentence."""
    name = "vmq" if request.fixturename == "_vmq_pool" else request.fixturename
    plugins = request.config.pluginmanager
    if not any(plugins.hasplugin(name) for name in _RUN_COROUTINES):
        pytest.fail(
            f"{name}: tests of an engine are coroutines, and no plugin here runs those:"
            " pip install 'vmqtui[testing]'",
            pytrace=False,
        )
    try:
        return import_module("vmqtui.hosting")
    except ImportError as error:
        hidden = _engine_is_hidden(error)
        pytest.fail(f"{name}: {hidden or f'the engine cannot be imported ({error})'}", pytrace=False)


def _starter(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """Start engines in a loop of their own; all end with the fixture."""
    of_scope, hosting = _marked(request.node), _hosting(request)
    with hosting.Home() as home:

        async def start(*arguments: Any, **options: Any) -> "Engine":
            test = request.config.stash.get(_TEST, None)
            marked = of_scope if test is None else _marked(test)
            defaults = {name: marked[name] for name in marked if not (arguments and name == "scenario")}
            engine: Engine = hosting.HostedEngine(*arguments, **(defaults | options))
            home.add(engine)
            return await engine.__aenter__()

        yield start


@pytest.fixture
def vmq_engine(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """A coroutine function that starts an ``Engine`` with its arguments; all engines end with the test."""
    yield from _starter(request)


@pytest.fixture(scope="class")
def vmq_engine_class(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """The same, and the engines end with the test's class."""
    yield from _starter(request)


@pytest.fixture(scope="module")
def vmq_engine_module(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """The same, and the engines end with the test's module."""
    yield from _starter(request)


@pytest.fixture(scope="session")
def vmq_engine_session(request: pytest.FixtureRequest) -> Iterator[StartEngine]:
    """The same, and the engines end with the test session."""
    yield from _starter(request)


@pytest.fixture(scope="session")
def _vmq_pool(request: pytest.FixtureRequest) -> Iterator["EnginePool"]:
    """The engines of ``vmq``."""
    hosting = _hosting(request)
    with hosting.Home() as home:
        yield hosting.EnginePool(home)


@pytest.fixture
def vmq(request: pytest.FixtureRequest) -> "Engine":
    """A running ``Engine`` with the marker's arguments, as if it had just started.

    Tests with the same arguments get the same engine, reset: simulated time, counters, ids and events are
    those of a new one.
    """
    marked = _marked(request.node)
    pool: EnginePool = request.getfixturevalue("_vmq_pool")
    try:
        return pool.take(marked)
    except (ValueError, OSError) as error:
        pytest.fail(f"@pytest.mark.vmq: {error}", pytrace=False)
