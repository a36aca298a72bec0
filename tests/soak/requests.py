"""Random requests, valid ones from the configuration of now, and ones that can't be."""

import random
import secrets
from typing import Any

import msgpack

from tests.soak.lab import CPUS, MACS, VMS
from tests.soak.ledger import Message

Asked = tuple[str, dict[str, Any]]


class Valid:
    """Requests that are well formed; an adapter may still refuse one for what it has left."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._named = 0

    def next(self, config: Message) -> list[Asked]:
        """Requests that belong together, to be sent one after the other."""
        dice = self._dice
        adapter = dice.choice(config["adapters"])
        at = {"adapter": adapter["name"]}
        queues = [queue for queue in adapter["queues"] if queue["queue_id"] and queue["state"] != "freeing"]
        queue = dice.choice(queues) if queues else None
        kinds = ["add", "traffic", "link", "look", "vm"]
        if queue is not None:
            kinds += ["move", "move", "buffers", "name", "filter", "free"]
        match dice.choice(kinds):
            case "move" if queue:
                cpu = dice.randrange(CPUS)
                return [("set_queue_parameters", at | {"queue_id": queue["queue_id"], "cpu": cpu})]
            case "buffers" if queue:
                buffers = dice.choice([16, 64, 256, 512])
                return [("set_queue_parameters", at | {"queue_id": queue["queue_id"], "buffers": buffers})]
            case "name" if queue:
                return [("set_queue_parameters", at | {"queue_id": queue["queue_id"], "name": self._name()})]
            case "filter" if queue:
                return [("set_filter", at | {"queue_id": queue["queue_id"]} | self._test())]
            case "free" if queue:
                own = [one for one in adapter["filters"] if one["queue_id"] == queue["queue_id"]]
                cleared: list[Asked] = [
                    ("clear_filter", at | {"queue_id": queue["queue_id"], "filter_id": one["filter_id"]})
                    for one in own
                ]
                return [*cleared, ("free_queue", at | {"queue_id": queue["queue_id"]})]
            case "traffic":
                flow = [{"mac": mac} for mac in dice.sample(MACS, 6)] + [{"kind": "unknown"}]
                mix = [
                    {"adapter": one["name"], "rate_pps": dice.choice([0.5, 2_000, 15_000]), "flow": flow}
                    for one in config["adapters"]
                ]
                return [("set_traffic", {"mix": mix, "seed": dice.randrange(1000)})]
            case "link":
                return [("set_adapter", at | {"link_gbps": dice.choice([1.0, 10.0, 25.0])})]
            case "vm":
                vm = dice.choice(VMS)
                op = dice.choice(["pause_vm", "resume_vm", "resume_vm", "remove_vm", "migrate_vm"])
                return [(op, at | {"vm": vm})]
            case "look":
                return [(dice.choice(["enum_queues", "query_capabilities", "query_traffic"]), at)]
        name = self._name()
        new = {"name": name, "vm": dice.choice(VMS), "cpu": dice.randrange(CPUS), "buffers": 128}
        return [("allocate_queue", at | new), ("set_filter", at | self._test()), ("complete_allocation", at)]

    def _name(self) -> str:
        self._named += 1
        return f"soak-{self._named}"

    def _test(self) -> dict[str, Any]:
        vlan = self._dice.choice([None, None, 10, "untagged"])
        return {"mac": self._dice.choice(MACS)} | ({} if vlan is None else {"vlan": vlan})


def invalid(dice: random.Random) -> Message:
    """A request with an id that must be answered with an error."""
    junk: Any = dice.choice([-1, 10**9, 2**63, 1.5, "\x1b[2J", None, [], {"a": 1}, True, "x" * 5000])
    op, params = dice.choice(
        [
            ("no_such_op", {}),
            ("set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "cpu": junk}),
            ("set_queue_parameters", {"adapter": "nic0", "queue_id": 1, "nonsense": junk}),
            ("set_queue_parameters", {"adapter": junk, "queue_id": 1, "cpu": 0}),
            ("allocate_queue", {"adapter": "nic0", "name": "n", "vm": "v", "cpu": 0, "buffers": -5}),
            ("set_filter", {"adapter": "nic1", "queue_id": 1, "mac": "ff:ff:ff:ff:ff:ff"}),
            ("set_filter", {"adapter": "nic1", "queue_id": junk, "mac": "00:15:5d:00:00:01", "vlan": 4095}),
            ("free_queue", {"adapter": "nic0", "queue_id": 0}),
            ("set_traffic", {"mix": [{"rate_pps": -1}]}),
            ("restart_worker", {"cpu": 10**6}),
            ("set_adapter", {"adapter": "nic0", "max_frame_bytes": 9000}),
            ("complete_allocation", {"adapter": "nic0", "queue_ids": "all"}),
        ]
    )
    return {"id": secrets.token_hex(8), "op": op, "params": params}


def garbage(dice: random.Random) -> bytes:
    """Bytes that are no request, to be counted and not answered."""
    whole: bytes = msgpack.packb({"id": "x", "op": "ping", "params": {}})
    choices: list[bytes] = [
        dice.randbytes(dice.randrange(1, 2000)),
        whole[: dice.randrange(1, len(whole))],
        b"\x91" * 5000,
        msgpack.packb({"id": "y" * 100, "op": "ping", "params": {}}),
        msgpack.packb([1, 2, 3]),
        b"",
    ]
    return dice.choice(choices)
