"""The kinds of faults. Each function does one fault from beginning to end, and says in words what it did.

All draws come from the fault's own random source, so a seed gives the same faults again (what they hit is up to the moment).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from tests.chaos.workers import SESSION_MS, TRANSACTION_MS, ZOMBIE, ZOMBIE_TRANSACTION_MS, Workers
from tests.support import proxy_rules as rules
from tests.support.apps.chaos import group
from tests.support.cluster3 import NODES, ProxiedKafka
from tests.support.proxy import Proxy
from tests.support.proxy_frames import Api
from tests.support.proxy_rules import Rule

_COORDINATION = ("__consumer_offsets", "__transaction_state")
_HIT_WITHIN_S = 6.0
_RUNNING_WITHIN_S = 25.0
_SESSION_S, _TRANSACTION_S, _ZOMBIE_TRANSACTION_S = SESSION_MS / 1000, TRANSACTION_MS / 1000, ZOMBIE_TRANSACTION_MS / 1000


@dataclass(frozen=True, slots=True)
class World:
    """What faults act upon."""

    kafka: ProxiedKafka
    workers: Workers
    run: str
    rng: random.Random

    @property
    def proxy(self) -> Proxy:
        return self.kafka.proxy

    def clients(self, worker: str) -> str:
        """The pattern of a worker's client ids; ``*`` is any worker."""
        return f"{group(self.run)}-{worker}-0"

    def any_worker(self, *, but: str | None = None) -> str:
        """One that is to be alive."""
        names = [name for name, worker in self.workers.by_name.items() if worker.wanted and not worker.held and name != but]
        return self.rng.choice(sorted(names))

    def any_node(self) -> int:
        return self.rng.randint(1, NODES)

    def sleep(self, least: float, most: float) -> float:
        seconds = self.rng.uniform(least, most)
        time.sleep(seconds)
        return seconds


Fault = Callable[[World], str]


# ---- brokers


def broker_killed(world: World) -> str:
    node = world.any_node()
    world.kafka.kill(node)
    seconds = world.sleep(1.0, 4.0)
    world.kafka.launch(node)
    return f"kill -9 of broker {node}, started again after {seconds:.1f} s"


def broker_stopped(world: World) -> str:
    node = world.any_node()
    world.kafka.pause(node)
    seconds = world.sleep(3.0, 7.0)
    world.kafka.resume(node)
    return f"SIGSTOP of broker {node} for {seconds:.1f} s"


def group_coordinator_lost(world: World) -> str:
    """Inside send_offsets: TxnOffsetCommit is on its way when the coordinator goes (R31)."""
    node = world.kafka.group_coordinator(group(world.run))
    return _lost_while_asked(world, node, Api.TXN_OFFSET_COMMIT, world.clients("*"))


def transaction_coordinator_lost(world: World) -> str:
    """Inside commit: EndTxn is on its way when the coordinator goes."""
    worker = world.any_worker()
    node = world.kafka.transaction_coordinator(world.clients(worker))  # the transactional id is made like the client id
    return _lost_while_asked(world, node, Api.END_TXN, world.clients(worker))


def _lost_while_asked(world: World, node: int, api: Api, clients: str) -> str:
    rule = world.proxy.rule(rules.held(), apis=[api], clients=clients, brokers=[node], times=1)
    try:
        hit = _wait_for_hits(rule)
        killed = world.rng.random() < 0.5
        if killed:
            world.kafka.kill(node)
        else:
            world.kafka.pause(node)
        time.sleep(0.3)
    finally:
        world.proxy.remove(rule)
    seconds = world.sleep(2.0, 5.0)
    if killed:
        world.kafka.launch(node)
    else:
        world.kafka.resume(node)
    how, seen = "kill -9" if killed else "SIGSTOP", "under way" if hit else "not seen"
    return f"{how} of broker {node} for {seconds:.1f} s, {api.name} {seen}"


def coordinators_moved(world: World) -> str:
    """Without a crash: a broker hands its partitions over and ends; when it is back, they go home by an election."""
    node = world.kafka.group_coordinator(group(world.run))
    world.kafka.terminate(node)
    world.kafka.launch(node)
    world.kafka.wait_healthy(list(_COORDINATION))
    before = {topic: world.kafka.leaders(topic) for topic in _COORDINATION}
    admin = world.kafka.admin()
    partitions = [KafkaPartition(topic, partition) for topic, leaders in before.items() for partition in leaders]
    try:
        admin.elect_leaders(ElectionType.PREFERRED, partitions).result(10)
    except KafkaException as error:
        return f"broker {node} restarted in order; preferred leaders were not elected: {error}"
    moved = sum(leader != before[topic][p] for topic in before for p, leader in world.kafka.leaders(topic).items())
    return f"broker {node} restarted in order, then {moved} coordinators moved by an election"


# ---- workers


def worker_killed(world: World) -> str:
    worker = world.any_worker()
    world.workers.kill(worker)
    seconds = world.sleep(0.2, 3.0)
    world.workers.start(worker)
    return f"kill -9 of worker {worker}, started again after {seconds:.1f} s"


def worker_gone(world: World) -> str:
    """Longer than the session: the others have its partitions when it comes back."""
    worker = world.any_worker(but=ZOMBIE)
    world.workers.kill(worker)
    seconds = world.sleep(_SESSION_S + 1, _SESSION_S + 3)
    world.workers.start(worker)
    return f"kill -9 of worker {worker}, started again after {seconds:.1f} s"


def worker_zombie(world: World) -> str:
    """Longer than the session, shorter than its transaction: it wakes with an open transaction whose inputs others have."""
    told = _stopped(world, ZOMBIE, _SESSION_S + 1.5, _SESSION_S + 3.0)
    return f"{told}: session {_SESSION_S:g} s, transaction {_ZOMBIE_TRANSACTION_S:g} s"


def worker_stopped(world: World) -> str:
    """Longer than both session and transaction."""
    told = _stopped(world, world.any_worker(but=ZOMBIE), _SESSION_S + 1.5, _SESSION_S + 4.0)
    return f"{told}: session {_SESSION_S:g} s, transaction {_TRANSACTION_S:g} s"


def worker_stopped_shortly(world: World) -> str:
    """Shorter than the session, so nobody takes over; perhaps longer than a transaction."""
    return _stopped(world, world.any_worker(), 1.0, _SESSION_S - 1.0)


def _stopped(world: World, worker: str, shortest_s: float, longest_s: float) -> str:
    world.workers.pause(worker)
    seconds = world.sleep(shortest_s, longest_s)
    world.workers.resume(worker)
    return f"SIGSTOP of worker {worker} for {seconds:.1f} s"


def member_joined_and_left(world: World) -> str:
    before = world.workers.running("d")
    world.workers.start("d")
    deadline = time.monotonic() + _RUNNING_WITHIN_S
    while world.workers.running("d") == before and time.monotonic() < deadline:
        time.sleep(0.2)
    ran = world.workers.running("d") > before
    stayed = world.sleep(0.5, 3.0)
    code = world.workers.leave("d")
    return f"worker d joined{'' if ran else ' (got no tasks in time)'}, left after {stayed:.1f} s with exit code {code}"


def rolling_restart(world: World) -> str:
    codes = {}
    for name in sorted(name for name, worker in world.workers.by_name.items() if worker.wanted):
        before = world.workers.running(name)
        codes[name] = world.workers.leave(name)
        world.workers.start(name)
        deadline = time.monotonic() + _RUNNING_WITHIN_S
        while world.workers.running(name) == before and time.monotonic() < deadline:
            time.sleep(0.2)
    return f"workers restarted one after the other, exit codes {codes}"


# ---- network


def worker_cut_off(world: World) -> str:
    worker = world.any_worker()
    block = world.proxy.impair("block", clients=world.clients(worker))
    seconds = world.sleep(0.5, 5.0)
    world.proxy.lift(block)
    return f"worker {worker} cut off from all brokers for {seconds:.1f} s"


def worker_cut_from_a_broker(world: World) -> str:
    worker, node = world.any_worker(), world.any_node()
    block = world.proxy.impair("block", clients=world.clients(worker), brokers=[node])
    seconds = world.sleep(1.0, 5.0)
    world.proxy.lift(block)
    return f"worker {worker} cut off from broker {node} for {seconds:.1f} s"


def one_way_loss(world: World) -> str:
    worker, way = world.any_worker(), world.rng.choice(("stall-up", "stall-down"))
    stall = world.proxy.impair("stall-up" if way == "stall-up" else "stall-down", clients=world.clients(worker))
    seconds = world.sleep(2.0, _SESSION_S + 2.0)
    world.proxy.lift(stall)
    return f"{way} of worker {worker} for {seconds:.1f} s"


def slow_network(world: World) -> str:
    worker, delay = world.any_worker(), world.rng.uniform(0.05, 0.4)
    slow = world.proxy.impair("latency", clients=world.clients(worker), seconds=delay)
    seconds = world.sleep(3.0, 5.0)
    world.proxy.lift(slow)
    return f"worker {worker} with {delay * 1000:.0f} ms each way for {seconds:.1f} s"


# ---- the end of a transaction


def end_txn_delayed(world: World) -> str:
    """Longer and shorter than the client waits for an answer (a third of the transaction time-out)."""
    worker, seconds = world.any_worker(), world.rng.uniform(0.3, 2.0)
    return _on_end_txn(world, worker, rules.delayed(seconds), f"delayed by {seconds:.1f} s")


def end_txn_answer_lost(world: World) -> str:
    return _on_end_txn(world, world.any_worker(), rules.answer_lost(), "answered into a broken connection")


def end_txn_stray(world: World) -> str:
    """KAFKA-17754: the connection breaks, EndTxn is sent again, and the first one arrives during the next transaction."""
    worker, seconds = world.any_worker(), world.rng.uniform(0.05, 0.8)
    return _on_end_txn(world, worker, rules.stray(seconds), f"repeated, the first copy arriving after {seconds:.2f} s")


def _on_end_txn(world: World, worker: str, action: rules.Action, what: str) -> str:
    rule = world.proxy.rule(action, apis=[Api.END_TXN], clients=world.clients(worker), times=world.rng.randint(1, 3))
    _wait_for_hits(rule, left=0)
    world.proxy.remove(rule)
    time.sleep(1.0)
    return f"EndTxn of worker {worker} {what} ({len(rule.hits)} times)"


def _wait_for_hits(rule: Rule, left: int | None = None) -> bool:
    """Until the rule took a request (or as many as it may); False if there was none in time."""
    deadline = time.monotonic() + _HIT_WITHIN_S
    while not rule.hits or (left is not None and rule.times != left):
        if time.monotonic() > deadline:
            return bool(rule.hits)
        time.sleep(0.02)
    return True


KINDS: Mapping[str, Fault] = {
    "broker killed": broker_killed,
    "broker stopped": broker_stopped,
    "group coordinator lost in send_offsets": group_coordinator_lost,
    "transaction coordinator lost in commit": transaction_coordinator_lost,
    "coordinators moved": coordinators_moved,
    "worker killed": worker_killed,
    "worker gone": worker_gone,
    "worker stopped: zombie": worker_zombie,
    "worker stopped: longer than both": worker_stopped,
    "worker stopped: shorter than the session": worker_stopped_shortly,
    "member joined and left": member_joined_and_left,
    "rolling restart": rolling_restart,
    "worker cut off": worker_cut_off,
    "worker cut off from one broker": worker_cut_from_a_broker,
    "one-way loss": one_way_loss,
    "slow network": slow_network,
    "EndTxn delayed": end_txn_delayed,
    "EndTxn answer lost": end_txn_answer_lost,
    "EndTxn stray": end_txn_stray,
}
