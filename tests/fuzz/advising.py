"""What is advised of a host: by rules over a configuration and readings that anybody may have written."""

from typing import Final

import msgspec

from engine.advice.evidence import Evidence, Trail
from engine.advice.rules import findings, unchecked
from engine.advice.window import AdviceWindow
from engine.bus import codec
from engine.bus.errors import BadMessage
from engine.telemetry.config import Config
from engine.telemetry.stats import Stats
from tests import measured
from tests.fuzz.messages import FEW
from tests.fuzz.mutate import STREAM
from tests.fuzz.target import Target
from tests.vmqtui.scripted import VMS, make_config, make_stats
from vmqtui.cli.advise import block
from vmqtui.columns import advice as words
from vmqtui.printable import is_plain


def _advice(data: bytes) -> None:
    """A configuration, and two readings of it."""
    try:
        config, before, now, *_ = [*map(msgspec.msgpack.encode, STREAM.read(data)[:3])]
        known = codec.decode(Config, config)
        first, last = codec.decode(Stats, before), codec.decode(Stats, now)
    except (BadMessage, ValueError, TypeError, msgspec.MsgspecError):
        return
    trail = Trail()
    trail.add(make_config(FEW), first.sim_time_ns)
    trace = trail.add(known, last.sim_time_ns)
    window = AdviceWindow()
    for stats in (first, last):
        window.add(known, stats)
    if window.finish():
        found = window.advice()
        msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=type(found))
    for evidence in (Evidence(known, last, first, trace), Evidence(known, last)):
        for gap in unchecked(evidence):
            assert is_plain(words.gap(gap)), gap
        for finding in findings(evidence):
            for line in block(finding, known.system):
                assert is_plain(line), line
            for request in finding.requests:
                assert words.command(request).isprintable()


def _seeds() -> list[bytes]:
    alone = [(make_config(vms), vms, ("nic0",)) for vms in (FEW, VMS)]
    teams = [(_team(mode), FEW, ("nic0", "nic1")) for mode in ("sum", "min")]
    models = [
        (config, make_stats(1, vms, adapters=adapters), make_stats(9, vms, adapters=adapters))
        for config, vms, adapters in [*alone, *teams]
    ]
    real = [
        (host.config, host.readings[0], host.readings[-1]) for host in (measured.linux(), measured.windows())
    ]
    return [
        codec.encode(config) + codec.encode(before) + codec.encode(now)
        for config, before, now in [*models, *real]
    ]


def _team(mode: str) -> Config:
    """Two adapters as a team, and a balancer."""
    config = make_config(FEW, adapters=("nic0", "nic1"))
    adapters = [msgspec.structs.replace(one, team="t", team_mode=mode) for one in config.adapters]
    return msgspec.structs.replace(
        config,
        adapters=adapters,
        balancer={"mode": "off" if mode == "sum" else "dynamic", "scale_out": 0.8, "scale_in": 0.4},
    )


TARGETS: Final = {"advice": Target(_advice, _seeds, form=STREAM)}
"""By name."""
