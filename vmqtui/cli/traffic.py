"""``vmqtui traffic …``: show and change the traffic that a running engine receives."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.counted import counted
from vmqtui.cli.controls import Asking, Send
from vmqtui.cli.failures import failed, sentences, unusable
from vmqtui.cli.options import Json, grouped
from vmqtui.cli.output import print_result, write_in_utf8
from vmqtui.cli.reach import HostOptions

if TYPE_CHECKING:
    from engine.bus.messages import Response

traffic: Final = typer.Typer(help="Show and change what an engine receives.", rich_markup_mode=None)


@traffic.command()
@grouped
def show(at: HostOptions, json_: Json = False) -> int:
    """Print the traffic as the table [traffic] of a scenario file, which "set" takes."""
    asking = Asking(**vars(at), json_=json_)
    return asking.talk(lambda send: send("query_traffic", {}), print_traffic)


@traffic.command("set")
@grouped
def set_traffic(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A TOML file with a table [traffic].")
    ] = None,
    rate_pps: Annotated[
        float | None, typer.Option("--rate-pps", metavar="N", help="The only mix's frames per second.")
    ] = None,
    rate_gbps: Annotated[
        float | None, typer.Option("--rate-gbps", metavar="G", help="The only mix's Gbit/s.")
    ] = None,
    asking: Asking,
) -> int:
    """Let other traffic begin: that of a file, or the only mix there is at another rate."""
    from engine.scenario.load import load_traffic

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

    return asking.talk(talk, print_result)


async def _set_rate(send: Send, rate: dict[str, float]) -> "Response":
    """Set the rate of the only mix."""
    now = await send("query_traffic", {})
    return now if now.status == "error" else await send("set_traffic", scaled(now, rate))


def scaled(now: "Response", rate: dict[str, float]) -> dict[str, Any]:
    """Return the traffic of a response to ``query_traffic``, with the rate of its only mix replaced.

    Ends with status 2 if there is not exactly one mix.
    """
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
    """Print a response to ``query_traffic`` as the TOML of a scenario file."""
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
