"""What the balancer would do with what was seen, if it were on."""

import msgspec

from engine.advice.evidence import Evidence
from engine.balance.decide import Move, ProcessorLoad, QueueKey, QueueLoad, barred, decide
from engine.ndis.adapter import DEFAULT_DRIVER
from engine.scenario.keys import keys_of
from engine.scenario.load import ScenarioError, read_balancer
from engine.scenario.model import BalancerSpec
from engine.scenario.values import check_number


def if_on(evidence: Evidence) -> BalancerSpec | None:
    """What the balancer would go by, where it is off; None where it is on, or there is none."""
    told = {key: value for key, value in evidence.config.balancer.items() if key in keys_of(BalancerSpec)}
    try:
        spec = read_balancer(told, BalancerSpec())
    except ScenarioError:
        return None  # another writer's, which says what can't be
    return msgspec.structs.replace(spec, mode="dynamic") if told.get("mode") == "off" else None


def foreseen(evidence: Evidence, spec: BalancerSpec) -> list[Move]:
    """What the balancer would do at once, on what was seen."""
    seconds, hyperthreading = evidence.span_s, evidence.config.hyperthreading
    processors = [
        ProcessorLoad(
            cpu=cpu.id,
            numa_node=cpu.known.numa_node,
            usable=not cpu.down and not (hyperthreading and cpu.id % 2),
            load=cpu.load or 0.0,
            budget_cycles=round((cpu.rate("budget_cycles") or 0.0) * seconds),
        )
        for cpu in evidence.cpus
    ]
    place = {adapter.name: number for number, adapter in enumerate(evidence.adapters)}
    apart = barred(
        [{queue.planned_cpu for queue in adapter.of_vms} for adapter in evidence.adapters],
        [[place[one.adapter] for one in team.members] for team in evidence.teams if team.mode == "sum"],
    )
    queues = [
        QueueLoad(
            key=QueueKey(number, queue.queue_id, queue.generation),
            cpu=queue.known.cpu,
            home_cpu=queue.planned_cpu,
            numa_node=adapter.known.numa_node,
            cycles=(queue.cycles - queue.copy_cycles) * seconds,
            copy_cycles=queue.copy_cycles * seconds,
            movable=queue.queue_id != 0 and queue.state == "running" and queue.known.driver == DEFAULT_DRIVER,
            rested=True,
            barred=apart[number],
        )
        for number, adapter in enumerate(evidence.adapters)
        for queue in adapter.queues
        if {queue.known.cpu, queue.planned_cpu} <= evidence.cpu.keys()
    ]
    try:
        dearer = check_number(evidence.config.cpu_model.get("remote_copy_factor"), 1, 1e6)
    except ValueError:
        dearer = 1.0
    return decide(spec, processors, queues, dearer)
