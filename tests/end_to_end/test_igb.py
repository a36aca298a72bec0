"""A real igb driver, emulated by QEMU: what is sent to it is what the agent in the guest reports."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.conftest import Here
from tests.end_to_end.mqtt_client import Message, Reader
from tests.qemu.bed import HOST, PATIENCE_S, Guest, guest
from tests.qemu.igb import FRAME_BYTES, Igb, Place
from vmqtui.testing import wait_until

EACH = 1500
"""Frames sent to each place."""
FUNCTIONS = (
    Place("02:00:00:00:01:01", 10),
    Place("02:00:00:00:01:02", 20),
    Place("02:00:00:00:01:03"),
)
RINGS = "rx-0", "rx-1"
ALL_FUNCTIONS = "vf 0", "vf 1", "vf 2"
BROADCASTS = 250
"""Untagged: the adapter gives each to the PF and to the function without a VLAN."""
UNKNOWN_VLAN = 99
"""A VLAN of no function: the adapter lets its frames reach none, and not the PF either."""
NOBODY = 65534


class Lab:
    """The guest's adapter, and what its agent, an ordinary user's, publishes."""

    def __init__(self, machine: Guest, broker: str) -> None:
        self.guest, self.igb = machine, Igb(machine)
        self.reader = Reader(broker, "guest")
        url = f"mqtt://{HOST}:{urlsplit(broker).port}"
        command = [
            sys.executable,
            "-m",
            "vmqtui",
            "agent",
            self.igb.name,
            "--broker",
            url,
            "--host",
            "guest",
            "--interval",
            "0.5",
        ]
        self.output = "/run/tmp/agent.log"
        self._agent = machine.call("start", command=command, user=NOBODY, output=self.output)
        self.wait(lambda: self.reader.messages["stats"], "stats of the agent")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait as long as a busy machine takes."""
        wait_until(
            condition,
            PATIENCE_S,
            what=what,
            seen=lambda: (self.guest.call("read", path=self.output), self.rows(), self.events()),
            between=self._let_the_agent_run,
        )

    def _let_the_agent_run(self) -> None:
        time.sleep(0.1)
        status = self.guest.call("status", pid=self._agent)
        assert status is None, (status, self.guest.call("read", path=self.output))

    def rows(self) -> dict[str, Message]:
        """The queues of the newest configuration by name, with their newest counters."""
        if not (self.reader.messages["stats"] and self.reader.messages["config"]):
            return {}
        (adapter,) = self.reader.last("config")["adapters"]
        columns = self.reader.last("stats")["adapters"][adapter["name"]]["queues"]
        counters = {(row["id"], row["generation"]): row for row in rows_of(columns)}
        queues = (
            (one["name"], counters.get((one["queue_id"], one["generation"]))) for one in adapter["queues"]
        )
        return {name: row for name, row in queues if row is not None}

    def received(self) -> dict[str, int | None]:
        """Frames received, by queue."""
        return {name: row["received_frames"] for name, row in self.rows().items()}

    def wait_for_queues(self, *names: str) -> None:
        """Wait until these are the queues, and their frames are known."""

        def known() -> bool:
            received = self.received()
            return received.keys() == set(names) and None not in received.values()

        self.wait(known, f"counters of {names}")

    def events(self) -> list[str]:
        return [f"{one['event']}: {one['cause']}" for one in self.reader.messages["event"]]

    def count(self, kind: str) -> int:
        return len([one for one in self.reader.messages["event"] if one["event"] == kind])

    @contextmanager
    def expecting(self, *kinds: str) -> Iterator[None]:
        """Wait for further events of these kinds, after what the block does."""
        before = {kind: self.count(kind) for kind in kinds}
        yield
        self.wait(lambda: all(self.count(kind) > before[kind] for kind in kinds), f"events {kinds}")

    def next_stats(self) -> Message:
        """Stats that were read after this call."""
        seen = self.reader.last("stats")["seq"]
        self.wait(lambda: self.reader.last("stats")["seq"] > seen + 1, "further stats")
        return self.reader.last("stats")


def rows_of(columns: dict[str, list[Any]]) -> list[Message]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.slow
def test_what_is_sent_to_a_real_adapter_is_what_an_agent_reports(
    mosquitto: str, here: Here, tmp_path: Path
) -> None:
    with guest(tmp_path) as machine:
        lab = Lab(machine, mosquitto)
        _it_is_a_measured_host(lab)
        _rings_share_the_flows(lab)
        _a_ring_moves_with_its_interrupt(lab)
        _functions_take_their_frames_by_mac_and_vlan(lab)
        _commands_tell_the_same(lab, here, mosquitto)
        _functions_change_their_filters(lab)
        _channels_change(lab)
        _functions_go(lab)
        _the_link_goes_and_comes(lab)
        _the_driver_is_loaded_again(lab)
        _no_counter_goes_back(lab)
        lab.reader.close()


def _it_is_a_measured_host(lab: Lab) -> None:
    status, config = lab.reader.last("status"), lab.reader.last("config")
    assert (status["kind"], status["controls"]) == ("measured", False)
    (adapter,) = config["adapters"]
    assert config["system"].startswith("Linux 6.")
    assert adapter["nic_driver"].startswith("igb 6.")
    assert (adapter["name"], adapter["link_up"], adapter["link_gbps"]) == (lab.igb.name, True, 1.0)
    assert [(one["queue_id"], one["name"], one["buffers"]) for one in adapter["queues"]] == [
        (0, "rx-0", 256),
        (1, "rx-1", 256),
    ]


def _rings_share_the_flows(lab: Lab) -> None:
    lab.igb.send(Place(lab.igb.mac), EACH)
    lab.wait(lambda: sum(map(_number, lab.received().values())) == EACH, "frames of both rings")
    stats = lab.next_stats()["adapters"][lab.igb.name]
    for row in lab.rows().values():
        assert row["received_frames"] > EACH // 10
        assert row["dropped_no_buffer"] == 0
        assert row["steered_frames"] == row["received_frames"]
        assert row["steered_bytes"] == row["received_frames"] * FRAME_BYTES
        assert {row[name] for name in ("indicated_frames", "pending", "outstanding", "dpcs")} == {None}
    assert stats["port"]["offered_frames"] == EACH
    assert stats["sources"]["received_frames"] == stats["sources"]["dropped_no_buffer"] == "exact"
    assert stats["sources"]["interrupts"] == "guessed"


def _a_ring_moves_with_its_interrupt(lab: Lab) -> None:
    (irq,) = lab.guest.sh(f"sed -n 's/ *\\([0-9]*\\):.* {lab.igb.name}-rx-1$/\\1/p' /proc/interrupts").split()
    before = _queue(lab, "rx-1")["cpu"]
    with lab.expecting("queue_moved"):
        lab.guest.call("write", path=f"/proc/irq/{irq}/smp_affinity_list", text=str(1 - before))
    lab.wait(lambda: _queue(lab, "rx-1")["cpu"] == 1 - before, "another processor")
    moves = [one["queue_id"] for one in lab.reader.messages["event"] if one["event"] == "queue_moved"]
    assert moves == [1], lab.events()


def _functions_take_their_frames_by_mac_and_vlan(lab: Lab) -> None:
    with lab.expecting("functions_changed"):
        lab.igb.make_functions(FUNCTIONS)

    def configured() -> bool:
        filters = lab.reader.last("config")["adapters"][0]["filters"]
        wanted = [(2 + vf, place.mac, place.vlan or "untagged") for vf, place in enumerate(FUNCTIONS)]
        return wanted == [(one["queue_id"], one["mac"], one["vlan"]) for one in filters]

    lab.wait(configured, "filters of the functions")
    lab.wait_for_queues(*RINGS, *ALL_FUNCTIONS)
    assert set(lab.received().values()) == {0}
    lab.igb.send(Place(FUNCTIONS[0].mac, UNKNOWN_VLAN), EACH)
    for place in FUNCTIONS:
        lab.igb.send(place, EACH)
    lab.igb.send(Place(FUNCTIONS[0].mac, FUNCTIONS[1].vlan), EACH)
    lab.igb.send(Place("ff:ff:ff:ff:ff:ff"), BROADCASTS)
    to_all = EACH + BROADCASTS
    wanted = {"rx-0": to_all, "rx-1": 0, "vf 0": EACH, "vf 1": EACH, "vf 2": to_all}
    lab.wait(lambda: lab.received() == wanted, f"{wanted}")
    stats = lab.next_stats()["adapters"][lab.igb.name]
    assert lab.received() == wanted
    assert stats["filters"]["matched_frames"] == [EACH, EACH, to_all]
    assert stats["sources"]["received_frames"] == "exact"
    assert stats["port"]["offered_frames"] is None


def _commands_tell_the_same(lab: Lab, here: Here, broker: str) -> None:
    got = here("get", "queues", "--broker", broker, "--host", "guest", "--json")
    assert got.status == 0, got
    frames = list(lab.received().values())
    assert [row["received_frames"] for row in got.document["queues"]] == frames
    assert got.document["sources"]["received_frames"] == "exact"
    watched = lab.guest.run("vmqtui", "watch", lab.igb.name, "--once", "--json", user=NOBODY)
    assert watched.status == 0, watched
    columns = json.loads(watched.out)["stats"]["adapters"][lab.igb.name]["queues"]
    assert columns["received_frames"] == frames


def _functions_change_their_filters(lab: Lab) -> None:
    with lab.expecting("filter_changed"):
        lab.guest.sh(f"ip link set {lab.igb.name} vf 2 vlan 30")
    lab.wait(lambda: lab.reader.last("config")["adapters"][0]["filters"][2]["vlan"] == 30, "the other VLAN")


def _channels_change(lab: Lab) -> None:
    before = {name: row["generation"] for name, row in lab.rows().items()}
    with lab.expecting("channels_changed"):
        lab.igb.set_channels(1)
    lab.wait_for_queues("rx-0", *ALL_FUNCTIONS)
    assert lab.rows()["rx-0"]["generation"] > max(before.values())
    lab.igb.send(Place(lab.igb.mac), EACH)
    lab.wait(lambda: lab.received()["rx-0"] == EACH, "frames of the ring that is left")
    with lab.expecting("channels_changed"):
        lab.igb.set_channels(2)
    lab.wait_for_queues(*RINGS, *ALL_FUNCTIONS)


def _functions_go(lab: Lab) -> None:
    with lab.expecting("functions_changed"):
        lab.igb.remove_functions()
    lab.wait_for_queues(*RINGS)
    freed = lab.next_stats()["adapters"][lab.igb.name]["freed"]
    # It is unknown if a generation ended of which no reading knew the frames, as may be during a reset.
    assert freed["received_frames"] in (None, 6 * EACH + 2 * BROADCASTS)


def _the_link_goes_and_comes(lab: Lab) -> None:
    lab.wait(lambda: lab.reader.last("config")["adapters"][0]["link_up"], "link after the functions went")
    with lab.expecting("link_down"):
        lab.guest.sh(f"ip link set {lab.igb.name} down")
    with lab.expecting("link_up"):
        lab.guest.sh(f"ip link set {lab.igb.name} up")


def _the_driver_is_loaded_again(lab: Lab) -> None:
    with lab.expecting("adapter_gone"):
        lab.igb.unload()
    with lab.expecting("adapter_came"):
        lab.igb.load()
    lab.igb.send(Place(lab.igb.mac), EACH)
    lab.wait(lambda: sum(map(_number, lab.received().values())) == EACH, "frames after the driver was loaded")


def _no_counter_goes_back(lab: Lab) -> None:
    """While an interface is down or away, its counters may be unknown; then they go on where they were."""
    last: dict[tuple[int, int, str], int] = {}
    for stats in lab.reader.messages["stats"]:
        for row in rows_of(stats["adapters"].get(lab.igb.name, {"queues": {}})["queues"]):
            for name in ("received_frames", "steered_frames", "steered_bytes", "interrupts"):
                key = row["id"], row["generation"], name
                if row[name] is not None:
                    assert row[name] >= last.get(key, 0), (key, last, row)
                    last[key] = row[name]


def _number(cell: int | None) -> int:
    return cell or 0


def _queue(lab: Lab, name: str) -> Message:
    queues = lab.reader.last("config")["adapters"][0]["queues"]
    return next(one for one in queues if one["name"] == name)
