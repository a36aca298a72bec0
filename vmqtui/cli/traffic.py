"""``vmqtui traffic …``: what a running engine receives, shown and changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.counted import counted
from vmqtui.cli.controls import Asking, Driver, OnAdapter, Send, WhatIf
from vmqtui.cli.failures import failed, sentences, unusable
from vmqtui.cli.options import Broker, HostName, Json
from vmqtui.cli.reach import reaches

if TYPE_CHECKING:
    from engine.bus.messages import Response

traffic = typer.Typer(help="Show and change what an engine receives.", rich_markup_mode=None)


@traffic.command()
@reaches
def show(
    broker: Broker = None,
    host: HostName = None,
    json_: Json = False,
) -> None:
    """Print the traffic as the table [traffic] of a scenario file, which "set" takes."""
    Asking(broker, host, None, None, False, json_).talk(lambda send: send("query_traffic", {}), print_traffic)


@traffic.command("set")
@reaches
def set_traffic(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A TOML file with a table [traffic].")
    ] = None,
    rate_pps: Annotated[
        float | None, typer.Option("--rate-pps", metavar="N", help="The only mix's frames per second.")
    ] = None,
    rate_gbps: Annotated[
        float | None, typer.Option("--rate-gbps", metavar="G", help="The only mix's Gbit/s.")
    ] = None,
    broker: Broker = None,
    host: HostName = None,
    adapter: OnAdapter = None,
    driver: Driver = None,
    what_if: WhatIf = False,
    json_: Json = False,
) -> None:
    """Let other traffic begin: that of a file, or the only mix there is at another rate."""
    from engine.scenario.load import load_traffic
    from vmqtui.cli.output import print_result

    rates = {"rate_pps": rate_pps, "rate_gbps": rate_gbps}
    given = {key: value for key, value in rates.items() if value is not None}
    if len(given) + (file is not None) != 1:
        unusable("FILE, --rate-pps, --rate-gbps: exactly one of them fits")
    with sentences():
        wanted = None if file is None else load_traffic(file)

    async def talk(send: Send) -> "Response":
        if wanted is not None:
            return await send("set_traffic", wanted)
        return await _set_rate(send, given)

    Asking(broker, host, adapter, driver, what_if, json_).talk(talk, print_result)


async def _set_rate(send: Send, rate: dict[str, float]) -> "Response":
    """Give the only mix there is another rate."""
    now = await send("query_traffic", {})
    return now if now.status == "error" else await send("set_traffic", scaled(now, rate))


def scaled(now: "Response", rate: dict[str, float]) -> dict[str, Any]:
    """The traffic of an answer to ``query_traffic`` with its only mix at another rate."""
    own = _table(now)
    mixes = [] if own is None else own.get("mix", [])
    if len(mixes) != 1:
        option = "--" + "".join(rate).replace("_", "-")
        unusable(
            f"{option}: the traffic has {counted(len(mixes), 'mix', 'mixes')}; it scales the only one"
            " (FILE fits)"
        )
    kept = {key: value for key, value in mixes[0].items() if key not in ("rate_pps", "rate_gbps")}
    return {"mix": [kept | rate]}


def print_traffic(response: "Response") -> None:
    """Print an answer to ``query_traffic`` as a scenario writes it."""
    from vmqtui.cli.streams import write_in_utf8
    from vmqtui.printable import printable
    from vmqtui.tasks.traffic import as_toml

    own = _table(response)
    write_in_utf8()
    print(f"# {printable(response.message)}")
    if own is not None:
        print(as_toml(own), flush=True)


def _table(response: "Response") -> dict[str, Any] | None:
    from vmqtui.tasks.traffic import table_of

    try:
        return table_of(response)
    except ValueError as error:
        failed(error)
