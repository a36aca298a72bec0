"""What is done to an engine and its broker, and what must be seen of it. A fault is a method; all block."""

import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.soak.lab import DEADLINE_S, EngineProcess, Mosquitto
from tests.soak.ledger import Ledger, Message
from tests.soak.observer import Observer
from tests.soak.requests import Valid, garbage, invalid

LOOK_S = 0.05
RECOVERY_S = 60.0
"""On a machine with other things to do; how long it really took is in the table."""


@dataclass(frozen=True)
class Told:
    """What came of a fault: seconds until it was noticed, None where nobody has to; and words."""

    noticed_s: float | None = None
    words: str = ""


class Faults:
    """Raises AssertionError where something that must happen does not."""

    def __init__(
        self,
        engine: EngineProcess,
        mosquitto: Mosquitto | None,
        observer: Observer,
        ledger: Ledger,
        dice: random.Random,
    ) -> None:
        self._engine = engine
        self._mosquitto = mosquitto
        self._observer = observer
        self._ledger = ledger
        self._dice = dice
        self._valid = Valid(dice)

    @property
    def deck(self) -> dict[str, Callable[[], Told]]:
        """Every fault by what the table calls it."""
        return {
            "valid requests": self.valid_requests,
            "invalid requests": self.invalid_requests,
            "a request sent twice": self.repeated_request,
            "garbage at the broker's port": self.garbage_connections,
            "worker killed (SIGKILL)": self.kill_worker,
            "worker stopped (SIGSTOP)": self.stop_worker,
            "worker killed until it is down": self.keep_killing_worker,
            "broker killed (SIGKILL)": lambda: self._broker_ends(signal.SIGKILL),
            "broker ended (SIGTERM)": lambda: self._broker_ends(signal.SIGTERM),
            "broker stopped (SIGSTOP)": self.stop_broker,
        }

    def valid_requests(self) -> Told:
        """A few changes of configuration; what was answered "ok" is there."""
        answered = refused = 0
        for _ in range(self._dice.randrange(1, 5)):
            queue_id = None
            for op, params in self._valid.next(self._ledger.kept["config"]):
                if queue_id is not None:
                    params |= (
                        {"queue_ids": [queue_id]} if op == "complete_allocation" else {"queue_id": queue_id}
                    )
                answer = self._observer.ask(op, **params)
                assert answer is not None, f"{op} {params} was not answered"
                answered += 1
                refused += answer["status"] != "ok"
                if answer["status"] != "ok":
                    break
                queue_id = answer["result"].get("queue_id") if op == "allocate_queue" else queue_id
                if op == "set_queue_parameters":
                    self._is_there(params)
        return Told(words=f"{answered} answered, {refused} refused")

    def _is_there(self, params: Message) -> None:
        asked = {"adapter": params["adapter"], "queue_id": params["queue_id"]}
        answer = self._observer.ask("query_queue", **asked)
        if answer is None or answer["status"] != "ok":  # a paused VM's free may have ended meanwhile
            return
        found = {key: answer["result"][key] for key in params if key not in asked}
        assert found == {key: params[key] for key in found}, f"{params} was answered ok, but is {found}"

    def invalid_requests(self) -> Told:
        """Requests that must be refused, and bytes that are none; the configuration stays as it is."""
        for _ in range(5):
            request = invalid(self._dice)
            answer = self._observer.send(request)
            assert answer is not None, f"{request} was not answered"
            assert answer["status"] == "error", f"{request} was answered {answer}"
            assert answer["message"], f"{request} was refused without a word"
            self._observer.publish(garbage(self._dice))
        return Told()

    def repeated_request(self) -> Told:
        """The same id again is answered the same, and does nothing."""
        name = f"soak-twice-{secrets.token_hex(4)}"
        request = {
            "id": secrets.token_hex(8),
            "op": "allocate_queue",
            "params": {"adapter": "nic1", "name": name, "vm": None, "cpu": 0, "buffers": 16},
        }
        first, second = self._observer.send(request), self._observer.send(request)
        assert first == second, f"{request} was answered {first}, then {second}"
        if first is not None and first["status"] == "ok":
            freed = self._observer.ask("free_queue", adapter="nic1", queue_id=first["result"]["queue_id"])
            assert freed is not None
        return Told()

    def garbage_connections(self) -> Told:
        """Bytes that are no MQTT, on several connections."""
        address = self._engine.address
        for _ in range(5):
            with socket.create_connection((address.name, address.port), 5) as connection:
                connection.settimeout(5)
                try:
                    connection.sendall(self._dice.randbytes(self._dice.randrange(1, 4000)))
                except OSError:
                    continue
        return Told()

    def kill_worker(self) -> Told:
        """One worker dies."""
        return self._hurt_worker(signal.SIGKILL, "died")

    def stop_worker(self) -> Told:
        """One worker hangs, and is killed at its deadline."""
        return self._hurt_worker(signal.SIGSTOP, "hung")

    def _hurt_worker(self, number: int, word: str) -> Told:
        seen = len(self._ledger.events)
        worker = self._dice.choice(self._workers())
        at_ns = time.time_ns()
        worker.send_signal(number)
        died = self._event(seen, "worker_died")
        assert word in died["cause"], died
        noticed_s = (died["time_ns"] - at_ns) / 1e9
        cpu = int(died["cause"].split("CPU ")[1].split()[0])
        self._comes_back(seen, cpu)
        return Told(noticed_s - (DEADLINE_S if number == signal.SIGSTOP else 0))

    def _workers(self) -> list[psutil.Process]:
        for _ in range(round(RECOVERY_S / LOOK_S)):
            if workers := self._engine.workers():
                return workers
            time.sleep(LOOK_S)
        raise AssertionError("there are no workers")

    def _comes_back(self, seen: int, cpu: int) -> None:
        """The processor has a worker again: by itself, or on request, when the next one would take long."""

        def up() -> bool:
            return cpu not in self._ledger.down() and self._of(seen, "worker_replaced", cpu)

        def settled() -> bool:
            return up() or self._of(seen, "worker_down", cpu)

        assert self._ledger.wait_for(settled, RECOVERY_S), f"CPU {cpu} has no worker again"
        if not up():
            answer = self._observer.ask("restart_worker", cpu=cpu)
            assert answer is not None
            assert answer["status"] == "ok", answer
            assert self._ledger.wait_for(up, RECOVERY_S), f"CPU {cpu} was not brought back"

    def _of(self, seen: int, kind: str, cpu: int) -> bool:
        return any(
            one["event"] == kind and f"CPU {cpu} " in one["cause"] + " " for one in self._ledger.events[seen:]
        )

    def _event(self, seen: int, kind: str) -> Message:
        came = self._ledger.wait_for(lambda: self._ledger.event_after(seen, kind), RECOVERY_S)
        event = self._ledger.event_after(seen, kind)
        assert came, f"no {kind} within {RECOVERY_S:.0f} s"
        assert event is not None
        return event

    def keep_killing_worker(self) -> Told:
        """Each worker of one processor is killed, until no more come; then one is asked for."""
        started = len(self._ledger.events)
        known = {worker.pid for worker in self._workers()}
        victim = self._dice.choice(self._workers())
        victim.kill()
        cpu = int(self._event(started, "worker_died")["cause"].split("CPU ")[1].split()[0])

        def given_up() -> bool:
            return self._of(started, "worker_down", cpu)

        for _ in range(round(RECOVERY_S)):
            if self._ledger.wait_for(given_up, 0.5):
                break
            new = [each for each in self._workers() if each.pid not in known]
            if not new:
                continue
            seen = len(self._ledger.events)
            new[0].kill()
            known.add(new[0].pid)
            self._event(seen, "worker_died")
        assert self._ledger.wait_for(lambda: cpu in self._ledger.down(), RECOVERY_S), f"CPU {cpu} is not down"
        down_since = len(self._ledger.events)
        answer = self._observer.ask("restart_worker", cpu=cpu)
        assert answer is not None
        assert answer["status"] == "ok", answer
        self._comes_back(down_since, cpu)
        return Told()

    def _broker_ends(self, number: int) -> Told:
        """The broker is gone for a moment, and comes back with nothing of what it knew."""
        if self._mosquitto is not None:
            self._mosquitto.end(number)
            time.sleep(self._dice.choice([0.0, 0.5, 2.0]))
            self._mosquitto.start()
        else:
            broker = self._engine.broker()
            assert broker is not None, "the engine has no broker"
            broker.send_signal(number)
        return self._answers_again()

    def stop_broker(self) -> Told:
        """The broker hangs for a while."""
        broker = psutil.Process(self._mosquitto.process.pid) if self._mosquitto else self._engine.broker()
        assert broker is not None, "the engine has no broker"
        broker.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.choice([0.5, 3.0]))
        broker.send_signal(signal.SIGCONT)
        return self._answers_again()

    def _answers_again(self) -> Told:
        """The engine is back: it answers, and its readings come."""
        readings = self._ledger.readings
        answer = self._observer.ask("ping")
        assert answer is not None, "no ping is answered"
        assert self._ledger.wait_for(lambda: self._ledger.readings > readings + 1, RECOVERY_S), (
            "no reading comes"
        )
        return Told()
