"""``vmqtui queue …``, ``filter …``, ``vm …``, ``adapter …``, ``balancer …``, ``worker …``: send requests."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vmqtui.cli.attach import find_host, open_watcher
from vmqtui.cli.failures import DONE, failed, sentences
from vmqtui.cli.options import Json, grouped
from vmqtui.cli.output import print_json, print_result
from vmqtui.cli.reach import HostOptions
from vmqtui.cli.run import run_async

if TYPE_CHECKING:
    from engine.bus.messages import Response

queue: Final = typer.Typer(help="Allocate, complete, change and free queues.", rich_markup_mode=None)
filter_: Final = typer.Typer(help="Set and clear filters.", rich_markup_mode=None)
vm: Final = typer.Typer(help="Pause, resume, remove and migrate VMs.", rich_markup_mode=None)
adapter_: Final = typer.Typer(help="Change a running adapter.", rich_markup_mode=None)
balancer: Final = typer.Typer(
    help="Let queues move between processors as load changes.", rich_markup_mode=None
)
worker: Final = typer.Typer(help="Bring back the worker of a processor that is down.", rich_markup_mode=None)

Asked = tuple[str, dict[str, Any]]
"""An operation and its specific parameters."""
QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Its id, or its name.")]
VmName = Annotated[str, typer.Argument(metavar="VM")]


Send = Callable[[str, dict[str, Any]], Awaitable["Response"]]
"""Sends an operation with its specific parameters, and returns the response."""


@dataclass(frozen=True)
class Asking(HostOptions):
    """The host to send requests to, the parameters that all requests share, and how to print the response."""

    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar="A", help="The adapter; default: the host's only one."),
    ] = None
    driver: Annotated[
        str | None,
        typer.Option(
            "--driver", metavar="D", help="The overlying driver it is for; default: vsp, the virtual switch."
        ),
    ] = None
    what_if: Annotated[bool, typer.Option("--what-if", help="Say what would happen, and change nothing.")] = (
        False
    )
    json_: Json = False

    def ask(self, op: str, params: dict[str, Any]) -> int:
        """Send a request and print the response; return the exit status. Ends with status 1 if refused."""
        return self.talk(lambda send: send(op, params), print_result)

    def talk(
        self, talk: Callable[[Send], Awaitable["Response"]], print_answer: Callable[["Response"], None]
    ) -> int:
        """Let ``talk`` send requests, and print the response it returns; return the exit status. Ends with
        status 1 if that response is a refusal."""
        with sentences():
            return run_async(self._talk(talk, print_answer))

    async def _talk(
        self, talk: Callable[[Send], Awaitable["Response"]], print_answer: Callable[["Response"], None]
    ) -> int:
        import msgspec

        from vmqtui.state.hosts import why_unchanging

        common = {"adapter": self.adapter, "driver": self.driver, "what_if": self.what_if or None}
        shared = {name: value for name, value in common.items() if value is not None}
        async with open_watcher(self, self.host, user="operator") as watcher:
            host = await find_host(watcher, self.host)
            if why := why_unchanging(host, watcher.hosts[host].status):
                failed(why)

            async def send(op: str, params: dict[str, Any]) -> "Response":
                if any(isinstance(one, str) for one in _queues_of(params)):
                    of = {} if self.adapter is None else {"adapter": self.adapter}
                    listed = await watcher.request(host, "enum_queues", of)
                    if listed.status == "error":
                        return listed
                    params = _with_ids(params, listed.result["queues"])
                return await watcher.request(host, op, params | shared)

            response = await talk(send)
        if self.json_:
            print_json(msgspec.to_builtins(response))
        elif response.status == "ok":
            print_answer(response)
        if response.status == "error":
            failed(f"{response.ndis_status}: {response.message}")
        return DONE


def _id_or_name(text: str) -> int | str:
    """Return what a queue was called by; digits are always an id."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else text


_DIGITS: Final = 19
"""Digits of a number that is too long for an id."""


def _queues_of(params: dict[str, Any]) -> list[int | str]:
    """Return the queues that a request is about, by id or name."""
    return [*params.get("queue_ids", ()), *([params["queue_id"]] if "queue_id" in params else ())]


def _with_ids(params: dict[str, Any], queues: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a request's parameters with ids in place of names; ends the program where a name does not fit
    one queue."""
    from vmqtui.actions.commands import Named, row_called

    rows = [
        Named(int(one["queue_id"]), "", (str(one["queue_id"]), one["name"] or one["vm"] or ""))
        for one in queues
    ]
    try:
        ids = [one if isinstance(one, int) else row_called(one, "queue", rows) for one in _queues_of(params)]
    except ValueError as error:
        failed(error)
    return params | ({"queue_ids": ids} if "queue_ids" in params else {"queue_id": ids[0]})


def asks(
    group: typer.Typer, name: str | None = None
) -> Callable[[Callable[..., Asked]], Callable[..., Asked]]:
    """Decorate a function that returns an operation and its parameters, to make it a command.

    The command has the function's parameters and those that all requests share; it sends the request and
    prints the response.
    """

    def decorate(make: Callable[..., Asked]) -> Callable[..., Asked]:
        def command(*, asking: Asking, **given: Any) -> int:
            return asking.ask(*make(**given))

        own = signature(make, eval_str=True)
        asking = Parameter("asking", Parameter.KEYWORD_ONLY, annotation=Asking)
        # Typer reads __signature__; typeshed does not declare it.
        command.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*own.parameters.values(), asking]
        )
        command.__name__, command.__doc__ = make.__name__, make.__doc__
        group.command(name)(grouped(command))
        return make

    return decorate


@asks(queue)
def allocate(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The queue's name.")],
    vm: Annotated[str | None, typer.Option("--vm", metavar="VM", help="The VM it is for.")] = None,
    cpu: Annotated[int, typer.Option("--cpu", metavar="CPU", help="The processor that serves it.")] = 0,
    buffers: Annotated[
        int, typer.Option("--buffers", metavar="N", help="Receive buffers it suggests.")
    ] = 512,
    lookahead_bytes: Annotated[
        int, typer.Option("--lookahead-bytes", metavar="N", help="Ask for the split; NDIS 6.20 only.")
    ] = 0,
) -> Asked:
    """Allocate a queue. It takes frames once it has a filter and its allocation is completed."""
    params = {"name": name, "vm": vm, "cpu": cpu, "buffers": buffers, "lookahead_bytes": lookahead_bytes}
    return "allocate_queue", params


@asks(queue)
def complete(
    queues: Annotated[list[str], typer.Argument(metavar="QUEUE…", help="Their ids, or their names.")],
) -> Asked:
    """Complete the allocation of queues, as one batch that shares the buffers left."""
    return "complete_allocation", {"queue_ids": [_id_or_name(one) for one in queues]}


@asks(queue, "set")
def set_parameters(
    queue: QueueName,
    cpu: Annotated[
        int | None, typer.Option("--cpu", metavar="CPU", help="The processor that serves it.")
    ] = None,
    buffers: Annotated[
        int | None, typer.Option("--buffers", metavar="N", help="Receive buffers it suggests.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its name.")] = None,
    keep_home: Annotated[
        bool | None,
        typer.Option("--keep-home", help="The balancer's home for it stays; default: the new processor."),
    ] = None,
) -> Asked:
    """Move a queue to another processor, give it more or fewer buffers, rename it."""
    wanted = {"cpu": cpu, "buffers": buffers, "name": name, "keep_home": keep_home}
    given = {key: value for key, value in wanted.items() if value is not None}
    return "set_queue_parameters", {"queue_id": _id_or_name(queue), **given}


@asks(queue)
def free(queue: QueueName) -> Asked:
    """Free a queue without filters; PENDING while its VM holds buffers."""
    return "free_queue", {"queue_id": _id_or_name(queue)}


@asks(filter_, "set")
def set_filter(
    queue: QueueName,
    mac: Annotated[str, typer.Argument(metavar="MAC")],
    vlan: Annotated[
        str | None, typer.Option("--vlan", metavar="VLAN", help='1..4094 or "untagged"; default: any.')
    ] = None,
) -> Asked:
    """Set a filter on a queue: frames to this MAC and VLAN go to it."""
    params: dict[str, Any] = {"queue_id": _id_or_name(queue), "mac": mac}
    if vlan is not None:
        params["vlan"] = int(vlan) if vlan.isascii() and vlan.isdigit() and len(vlan) < 9 else vlan
    return "set_filter", params


@asks(filter_)
def clear(
    queue: QueueName,
    filter_id: Annotated[int, typer.Argument(metavar="FILTER_ID")],
) -> Asked:
    """Clear a filter; without its last one a running queue pauses and discards what it holds."""
    return "clear_filter", {"queue_id": _id_or_name(queue), "filter_id": filter_id}


@asks(vm)
def pause(name: VmName) -> Asked:
    """Pause a VM: it returns no buffer until resumed."""
    return "pause_vm", {"vm": name}


@asks(vm)
def resume(name: VmName) -> Asked:
    """Resume a paused VM: it returns its buffers again."""
    return "resume_vm", {"vm": name}


@asks(vm)
def remove(name: VmName) -> Asked:
    """End a VM: its queues are freed, its ports gone."""
    return "remove_vm", {"vm": name}


@asks(vm)
def migrate(name: VmName) -> Asked:
    """Migrate a VM away: it is paused, then as with remove."""
    return "migrate_vm", {"vm": name}


@asks(adapter_, "set")
def set_adapter(
    link_gbps: Annotated[
        float | None, typer.Option("--link-gbps", metavar="G", help="Its link's speed in Gbit/s.")
    ] = None,
    vlan_filtering: Annotated[
        bool | None,
        typer.Option("--vlan-filtering/--no-vlan-filtering", help="Whether a filter may have a VLAN number."),
    ] = None,
    max_queues: Annotated[
        int | None, typer.Option("--max-queues", metavar="N", help="Queues besides the default queue.")
    ] = None,
    max_filters: Annotated[
        int | None, typer.Option("--max-filters", metavar="N", help="Filters on all queues together.")
    ] = None,
    vmq: Annotated[
        bool | None,
        typer.Option("--vmq/--no-vmq", help="Whether it has queues; off frees all but the default one."),
    ] = None,
    base_processor: Annotated[
        str | None, typer.Option(metavar="G:N", help="First processor of its set; none: not set.")
    ] = None,
    max_processor: Annotated[
        str | None, typer.Option(metavar="G:N", help="Last processor that its set may have; none: not set.")
    ] = None,
    max_processors: Annotated[
        str | None, typer.Option(metavar="N", help="Most processors of its set; none: not set.")
    ] = None,
    preferred_numa_node: Annotated[
        str | None, typer.Option(metavar="NODE", help="Preferred node of its set; none: not set.")
    ] = None,
) -> Asked:
    """Change what an adapter lets itself be changed while it runs."""
    wanted = {
        "link_gbps": link_gbps,
        "vlan_filtering": vlan_filtering,
        "max_queues": max_queues,
        "max_filters": max_filters,
        "vmq": vmq,
    }
    of_set = {
        "base_processor": base_processor,
        "max_processor": max_processor,
        "max_processors": max_processors,
        "preferred_numa_node": preferred_numa_node,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    return "set_adapter", given | {key: _of_set(value) for key, value in of_set.items() if value is not None}


def _of_set(text: str) -> str | int | None:
    """Return the value of a key of the set as typed; ``none`` takes the key's value away."""
    if text == "none":
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else text


@asks(balancer, "set")
def set_balancer(
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="MODE", help="dynamic: queues move; off: they don't.")
    ] = None,
    interval_ms: Annotated[
        int | None, typer.Option("--interval-ms", metavar="MS", help="Simulated time between decisions.")
    ] = None,
    scale_out: Annotated[
        float | None, typer.Option("--scale-out", metavar="LOAD", help="From which on queues move away.")
    ] = None,
    scale_in: Annotated[
        float | None, typer.Option("--scale-in", metavar="LOAD", help="Up to which queues move home.")
    ] = None,
    cooldown_ms: Annotated[
        int | None, typer.Option("--cooldown-ms", metavar="MS", help="How long a queue rests after a move.")
    ] = None,
    max_moves: Annotated[
        int | None, typer.Option("--max-moves", metavar="N", help="Most queues that move at once.")
    ] = None,
) -> Asked:
    """Turn the balancer on or off, or change what it goes by; loads are 0 to 1."""
    wanted = {
        "mode": mode,
        "interval_ms": interval_ms,
        "scale_out": scale_out,
        "scale_in": scale_in,
        "cooldown_ms": cooldown_ms,
        "max_moves": max_moves,
    }
    return "set_balancer", {key: value for key, value in wanted.items() if value is not None}


@asks(worker)
def restart(
    cpu: Annotated[int, typer.Argument(metavar="CPU", help="The processor's number.")],
) -> Asked:
    """Start a worker for a processor that is down; one that is up keeps its own."""
    return "restart_worker", {"cpu": cpu}
