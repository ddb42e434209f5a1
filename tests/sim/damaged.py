"""Pipelines to which something is done that nothing can repair."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamkit.errors import LostOffsetError, StateError, TopicError
from streamkit.testing.sim.damage import Damage
from streamkit.testing.sim.scenario import Input
from streamkit.testing.sim.world import World
from tests.sim.load import Load
from tests.sim.pipelines import Pipeline, Windows


@dataclass
class Damaged(Windows):
    """Windows, until something is done to the topics that nothing can repair."""

    keyed: str = "record-key"
    title: str = "damaged"
    damage: Damage | None = None

    def __post_init__(self) -> None:
        self.load = Load(keys_of_partition=True, least=40)  # there is state when it happens
        self.name = self.title

    def inputs(self, rng: random.Random) -> Sequence[Input]:
        assert self.damage is not None
        wait = 0.0 if self.damage.at is not None else 5.0  # nothing comes before the damage
        return [replace(one, at=one.at + wait) for one in super().inputs(rng)]


def changelog_of(world: World) -> str:
    return f"{world.topology.plan.app}.agg.changelog"


def recreate_changelog(world: World) -> None:
    name = changelog_of(world)
    config = world.cluster.broker.topics[name].info().config
    admin = world.client("damage", "damage").admin()
    admin.delete_topics([name], 1.0)
    world.cluster.create_topic(name, 2, config)


def cut_changelog(world: World) -> None:
    """Everything but the last record of each partition: the time record is there, the blocks are not."""
    name = changelog_of(world)
    before = {}
    for log in world.cluster.broker.topics[name].logs:
        records = world.cluster.read(name, partitions=[log.tp.partition])
        if records:
            before[log.tp] = records[-1].offset
    world.client("damage", "damage").admin().delete_records(before, 1.0)


def write_into_changelog(world: World) -> None:
    for partition in range(2):
        world.cluster.append(changelog_of(world), b"not a block", b"block:someone:0", partition)


def forget_offsets(world: World) -> None:
    world.cluster.broker.groups[world.topology.plan.app].offsets.clear()


def set_offsets_back(world: World) -> None:
    offsets = world.cluster.broker.groups[world.topology.plan.app].offsets
    for tp, committed in offsets.items():
        offsets[tp] = committed._replace(offset=0, metadata="")  # as Kafka's own tool does


def cut_source(world: World) -> None:
    """Records that were appended while nobody ran are deleted unread."""
    for partition in range(2):
        world.cluster.append("events", b'{"number":-1,"key":"a0","value":1,"at":1}', b"a0", partition)
    ends = {log.tp: log.high_watermark for log in world.cluster.broker.topics["events"].logs}
    world.client("damage", "damage").admin().delete_records(ends, 1.0)


def recreate_source(world: World) -> None:
    config = world.cluster.broker.topics["events"].info().config
    world.client("damage", "damage").admin().delete_topics(["events"], 1.0)
    world.cluster.create_topic("events", 2, config)


def grow_source(world: World) -> None:
    world.cluster.add_partitions("events", 3)


def damaged(title: str, apply: Any, *stops: type[Exception], at: float | None = 2.5) -> Damaged:
    return Damaged(title=title, damage=Damage(apply, stops, at))


DAMAGED: dict[str, Pipeline] = {
    one.name: one
    for one in (
        damaged("changelog-recreated", recreate_changelog, StateError, TopicError),
        damaged("changelog-cut", cut_changelog, StateError),
        damaged("changelog-foreign", write_into_changelog, StateError),
        damaged("offsets-gone", forget_offsets, StateError),
        damaged("offsets-set-back", set_offsets_back, StateError),
        damaged("source-cut", cut_source, LostOffsetError),
        damaged("source-cut-before-the-first-record", cut_source, LostOffsetError, at=None),
        damaged("source-recreated", recreate_source, LostOffsetError, StateError, TopicError),
        damaged("source-grown", grow_source, TopicError),
    )
}
"""After these nothing may be committed any more."""
