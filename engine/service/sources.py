"""Sources of a host's frames: a capture (file or pipe), a live interface, or synthetic traffic."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Union

from engine.counted import counted
from engine.scenario.model import Scenario, TeamSpec
from engine.traffic.capture import CaptureSource
from engine.traffic.capture_file import CaptureFile
from engine.traffic.synthetic import SyntheticSource

if TYPE_CHECKING:
    from engine.traffic.interface import InterfaceSource
    from engine.traffic.team import TeamCapture, TeamSource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Final

import msgspec

from engine.files import own_directory
from engine.ndis.effects import SetLink, SetTraffic
from engine.scenario.values import one_line
from engine.service import arguments
from engine.service.rows import NoSuchRowError, listed, no_such
from engine.traffic.batch import LiveSource
from engine.traffic.capture import CaptureError
from engine.traffic.capture_formats import is_capture
from engine.traffic.injected import Injected, SharedWire

CaptureFrames = Union[CaptureSource, "TeamCapture"]
Synthetic = Union[SyntheticSource, "TeamSource"]


class ReadCapture(Protocol):
    """A capture that is being read or was read."""

    @property
    def bytes_total(self) -> int:
        """Size of the file; 0: unknown."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""

    @property
    def frames(self) -> int:
        """Frames read so far."""

    @property
    def last_arrival_ns(self) -> int:
        """Arrival of the last frame read."""

    @property
    def skipped_frames(self) -> int:
        """Frames of non-Ethernet interfaces, which are left out."""

    @property
    def broken(self) -> str | None:
        """A sentence on damage after which no frame was read."""


@dataclass(frozen=True)
class Caveats:
    """Parts of a capture that a report does not cover.

    ``broken`` is a sentence on damage in the file, after which no frame was read; ``skipped_frames`` counts
    frames of non-Ethernet interfaces.
    """

    broken: str | None = None
    skipped_frames: int = 0

    @classmethod
    def of(cls, source: ReadCapture) -> "Caveats":
        """The caveats of a source that was read to its end."""
        return cls(source.broken, source.skipped_frames)


class ChoiceError(Exception):
    """The adapter for a capture or interface is unknown or ambiguous; a sentence for exit status 2."""


def fed(scenario: Scenario, name: str | None, *, teams: bool = True) -> int | TeamSpec:
    """Return the index of the adapter, or the team, that a capture feeds: the named one, else the only
    adapter.

    ``teams`` False: a team is no valid choice. Raises ChoiceError.
    """
    names = [adapter.name for adapter in scenario.adapter]
    known = {team.name: team for team in scenario.team if teams}
    fitting = ", ".join([*names, *known])
    if name is None:
        if len(names) > 1:
            raise ChoiceError(
                f"--adapter: the scenario has {counted(len(names), 'adapter')}; one of {fitting} fits"
            )
        return 0
    if name in known:
        return known[name]
    if name not in names:
        raise ChoiceError(f"--adapter: {name!r} is not an adapter of the scenario; {fitting} fits")
    return names.index(name)


def capture_source(
    capture: CaptureFile | Path,
    scenario: Scenario,
    adapter: str | None,
    *,
    loop: bool = False,
    shorten_gaps: bool = False,
) -> CaptureFrames:
    """Open a capture as the source of an adapter or a team. Raises ChoiceError, CaptureError."""
    target = fed(scenario, adapter)
    if isinstance(target, TeamSpec):
        from engine.traffic.team import TeamCapture  # compiles kernels that most engines never use

        return TeamCapture(scenario, target, capture, loop=loop, shorten_gaps=shorten_gaps)
    return CaptureSource(
        capture,
        adapter=target,
        link_gbps=scenario.adapter[target].link_gbps,
        loop=loop,
        shorten_gaps=shorten_gaps,
    )


def interface_source(
    name: str, scenario: Scenario, adapter: str | None, *, promiscuous: bool = False
) -> "InterfaceSource":
    """Open a live interface as the source of an adapter. Raises ChoiceError, InterfaceError."""
    from engine.traffic.interface import InterfaceSource  # compiles kernels that most engines never use

    team = next((one for one in scenario.team if one.name == adapter), None)
    if team is not None:
        raise ChoiceError(
            f"--adapter: {team.name} is a team, and a live interface is the wire of one adapter"
            f" ({', '.join(team.members)} fits)"
        )
    index = fed(scenario, adapter, teams=False)
    assert isinstance(index, int)
    link_gbps = scenario.adapter[index].link_gbps
    return InterfaceSource(name, adapter=index, link_gbps=link_gbps, promiscuous=promiscuous)


def synthetic_source(
    scenario: Scenario, *, start_ns: int = 0, wire_free: Mapping[int, Fraction] | None = None
) -> Synthetic | None:
    """Return a source of the scenario's own traffic, or None; the options are those of SyntheticSource."""
    if scenario.traffic is None or not scenario.traffic.mix:
        return None
    fed_by_mix = {mix.adapter for mix in scenario.traffic.mix}
    teams = [team for team in scenario.team if team.name in fed_by_mix]

    def opened() -> SyntheticSource:
        return SyntheticSource(scenario, start_ns=start_ns, wire_free=wire_free)

    if not teams:
        return opened()
    from engine.traffic.team import TeamSource  # compiles kernels that most engines never use

    beside = len(fed_by_mix) > len(teams)
    return TeamSource(scenario, teams, opened, beside=beside, wire_free=wire_free)


def is_synthetic(source: "AnySource | None") -> bool:
    """Return whether a source makes its frames, which have no end; others can break."""
    return source is not None and not hasattr(source, "broken")


AnySource = CaptureFrames | Synthetic | LiveSource


@dataclass(frozen=True)
class TrafficOverride:
    """A capture or a live interface whose frames replace a scenario's traffic on ``adapter``; or neither."""

    capture: CaptureFile | Path | None
    loop: bool
    interface: str | None
    promiscuous: bool
    adapter: str | None

    @classmethod
    def checked(
        cls, *, capture: object, loop: bool, interface: object, promiscuous: bool, adapter: object
    ) -> "TrafficOverride":
        """Check a program's arguments: at most one source replaces the traffic. Raises ValueError."""
        override = cls(
            arguments.capture(capture),
            loop,
            arguments.an("interface", interface, str, "an interface's name"),
            promiscuous,
            arguments.an("adapter", adapter, str, "an adapter's name"),
        )
        if capture is not None and interface is not None:
            raise ValueError("interface: the engine has a capture, and one of both fits")
        if loop and capture is None:
            raise ValueError("loop: there is no capture to repeat (False fits)")
        if promiscuous and interface is None:
            raise ValueError("promiscuous: there is no interface to read from (False fits)")
        if adapter is not None and capture is None and interface is None:
            raise ValueError("adapter: there is no capture and no interface to feed it (None fits)")
        return override

    def open(self, scenario: Scenario) -> tuple[AnySource | None, str | None]:
        """Open the source, by default that of the scenario's traffic; with it, describe what replaces that.

        Raises ChoiceError, CaptureError, InterfaceError.
        """
        if self.capture is not None:
            source = capture_source(self.capture, scenario, self.adapter, loop=self.loop, shorten_gaps=True)
            return source, f"capture {self.capture.name}{', looped' if self.loop else ''}"
        if self.interface is not None:
            live = interface_source(self.interface, scenario, self.adapter, promiscuous=self.promiscuous)
            return live, f"interface {self.interface}{', promiscuous' if self.promiscuous else ''}"
        return synthetic_source(scenario), None


class ActiveSource:
    """The current source, or None; requests replace or change it, in the loop's thread between two rounds.

    The source was made from ``scenario``; the next one is made from it and the changes since.
    """

    def __init__(self, scenario: Scenario, source: AnySource | None) -> None:
        self.source = source
        self._scenario = scenario
        self._wire_free: dict[int, Fraction] = {}
        self.injected = Injected([adapter.link_gbps for adapter in scenario.adapter])

    def receive(self, frames: Sequence[bytes], adapter: str | None, at_s: float | None, now_ns: int) -> None:
        """Send frames from memory to an adapter, at the simulated time ``at_s`` or now.

        Raises NoSuchRowError for the adapter, ValueError if the frames can't be sent.
        """
        names = [one.name for one in self._scenario.adapter]
        if adapter is None and len(names) > 1:
            raise NoSuchRowError(
                f"adapter: the host has {counted(len(names), 'adapter')} ({listed(names)} fits)"
            )
        if adapter is not None and adapter not in names:
            raise no_such("adapter", adapter, names)
        if self.source is not None and not isinstance(self.source, SharedWire):
            raise ValueError(
                "receive: the traffic of a team feeds the host, and frames from memory can't share a team's"
                " wires (a scenario without traffic to the team fits)"
            )
        at_ns = now_ns if at_s is None else round(at_s * 1e9)
        if at_ns < now_ns:
            raise ValueError(f"at: {at_s:g} s is past; the simulated time is {now_ns / 1e9:.9g} s")
        self.injected.add(names.index(adapter) if adapter is not None else 0, frames, at_ns)

    def carry_out(self, effect: SetTraffic | SetLink, now_ns: int) -> None:
        """Apply an effect of the control plane; new traffic starts at the simulated time ``now_ns``."""
        match effect:
            case SetTraffic():
                self._scenario = msgspec.structs.replace(self._scenario, traffic=effect.traffic)
                self._begin(now_ns)
            case SetLink():
                adapters = list(self._scenario.adapter)
                adapters[effect.adapter] = msgspec.structs.replace(
                    adapters[effect.adapter], link_gbps=effect.link_gbps
                )
                self._scenario = msgspec.structs.replace(self._scenario, adapter=adapters)
                self.injected.set_link(effect.adapter, effect.link_gbps)
                if self.source is not None:
                    self.source.set_link(effect.adapter, effect.link_gbps)

    def interface_counters(self) -> dict[int, dict[str, int]]:
        """The kernel's counters of a live interface, by adapter index; empty for any other source."""
        source = self.source
        return {source.adapter: source.counters()} if isinstance(source, LiveSource) else {}

    def close(self) -> None:
        """Close the source."""
        if self.source is not None:
            self.source.close()

    def _begin(self, now_ns: int) -> None:
        """Replace the source by a synthetic one, which starts after the old source's last frame is sent."""
        old = self.source
        if old is not None and hasattr(old, "wire_free"):
            self._wire_free |= old.wire_free()
        for adapter, end in self.injected.wire_free().items():
            self._wire_free[adapter] = max(end, self._wire_free.get(adapter, end))
        self.source = synthetic_source(self._scenario, start_ns=now_ns, wire_free=self._wire_free)
        if old is not None:
            old.close()


STANDARD_INPUT: Final = "-"
KEPT_BYTES_LIMIT: Final = 4 << 30
"""Largest capture accepted from a pipe."""

_CHUNK_BYTES: Final = 1 << 20
_MAGIC_BYTES: Final = 16


@contextmanager
def piped_capture(
    path: Path, progress: Callable[[str, int], None] = lambda name, read_bytes: None
) -> Iterator[CaptureFile]:
    """Copy a capture from a pipe to a temporary file, which is removed at the end of the context.

    ``path`` "-" is standard input. ``progress`` is called with the pipe's name and the bytes read so far, at
    the start and after each chunk. Raises CaptureError.
    """
    is_standard_input = str(path) == STANDARD_INPUT
    name = "standard input" if is_standard_input else str(path)
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(own_directory())
        except OSError as error:
            where = "set TMPDIR to a directory"
            raise CaptureError(f"{one_line(name)}: can't be kept: {error} ({where})") from None
        copy = directory / ("standard input" if is_standard_input else path.name)
        progress(name, 0)
        try:
            with _opened(path) as stream:
                _copy(stream, copy, name, lambda read_bytes: progress(name, read_bytes))
        except OSError as error:
            raise CaptureError(f"{one_line(name)}: {error.strerror or error}; a capture fits") from None
        yield CaptureFile(str(copy), name)


def _opened(path: Path) -> BinaryIO:
    if str(path) != STANDARD_INPUT:
        return path.open("rb", buffering=0)
    if sys.stdin is None or sys.stdin.closed:
        raise OSError("is closed")
    if sys.stdin.isatty():
        raise OSError("is a terminal")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _copy(stream: BinaryIO, copy: Path, name: str, progress: Callable[[int], None]) -> None:
    """Copy a stream to its end. Stop early if its first bytes are not those of a capture: the reader of the
    copy reports that error."""
    read_bytes = 0
    start = b""
    with copy.open("wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            read_bytes += len(chunk)
            if read_bytes > KEPT_BYTES_LIMIT:
                raise CaptureError(
                    f"{one_line(name)}: is longer than the {KEPT_BYTES_LIMIT >> 30} GiB that are kept of a"
                    " pipe (save it, and name the file)"
                )
            try:
                file.write(chunk)
            except OSError as error:
                raise CaptureError(
                    f"{one_line(name)}: can't be kept in {copy.parent}: {error.strerror} (set TMPDIR to a"
                    " directory with room for it)"
                ) from None
            if len(start) < _MAGIC_BYTES:
                start += chunk[:_MAGIC_BYTES]
                if len(start) >= _MAGIC_BYTES and not is_capture(start):
                    return
            progress(read_bytes)
