"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

RECORDING_MB: Final = 1000.0
"""How large a recording may become, unless it is said."""

ScenarioFile = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="F", help="Scenario file (TOML); default: one that ships."),
]
CaptureFile = Annotated[
    Path | None,
    typer.Option("--capture", metavar="F", help="Receive the frames of this capture (pcap, pcapng)."),
]
CaptureArgument = Annotated[
    Path, typer.Argument(metavar="CAPTURE", help="A pcap or pcapng file, also gzipped; - is standard input.")
]
Loop = Annotated[bool, typer.Option("--loop", help="Start the capture again when it ends.")]
Interface = Annotated[
    str | None,
    typer.Option("--interface", metavar="IF", help="Receive what this network interface receives."),
]
Promiscuous = Annotated[
    bool, typer.Option("--promiscuous", help="Have the interface receive frames for others, too.")
]
FedAdapter = Annotated[
    str | None,
    typer.Option("--adapter", metavar="NAME", help="The adapter that the capture or interface feeds."),
]
OnlyAdapter = Annotated[str | None, typer.Option("--adapter", metavar="A", help="Only this adapter.")]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        envvar="VMQTUI_BROKER",
        show_envvar=True,
        help="MQTT broker: mqtt://[user[:password]@]host[:port], or mqtts://…",
    ),
]
HostName = Annotated[
    str | None, typer.Option("--host", metavar="H", help="The host, where there are several.")
]
HostOrAll = Annotated[
    str | None, typer.Option("--host", metavar="H", help="The host, where there are several; all: every one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]
WorkerDeadline = Annotated[
    float | None,
    typer.Option(
        "--worker-deadline",
        metavar="S",
        min=0.5,
        max=600,
        help="Replace a worker that hangs for so long; default: 5.",
    ),
]
Theme = Annotated[str | None, typer.Option("--theme", metavar="T", help="One of the themes.")]
LogForm = Literal["json", "text"]
LogFormat = Annotated[
    LogForm, typer.Option("--log-format", help="How its log file is written (vmqtui logs path).")
]
