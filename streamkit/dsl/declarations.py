"""What one app has declared so far: sources, sinks, and who owns which name. An `App` has one; its streams share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from streamkit.dsl.place import caller
from streamkit.errors import DeclarationError, NameCollisionError
from streamkit.plan.nodes import EventTime, Node, Repartition, Sink, Source, WindowAggregate
from streamkit.plan.topic import Topic

Owner = TypeVar("Owner", bound=Repartition | WindowAggregate)


@dataclass(slots=True, eq=False)
class Declarations:
    """The only mutable thing behind the streams of an app."""

    app: str
    sinks: list[Sink] = field(default_factory=list)
    _sources: dict[str, tuple[Source, str]] = field(default_factory=dict)
    _owners: dict[str, tuple[Node, str]] = field(default_factory=dict)

    def source(self, topic: Topic[Any, Any], event_time: EventTime) -> Source:
        """The source of a topic: one node, however often it is read; `DeclarationError` if it is read differently."""
        found = self._sources.get(topic.name)
        if found is None:
            source = Source(topic, event_time)
            self._sources[topic.name] = (source, caller())
            return source
        source, place = found
        if source.event_time != event_time:
            raise DeclarationError(
                f"topic '{topic.name}' is read at {place} with another event_time: a topic has one event time and one watermark "
                "in an app. Read it once and use that stream twice"
            )
        if not source.topic.same_types(topic):
            raise DeclarationError(
                f"topic '{topic.name}' is read at {place} as {source.topic!r}, here as {topic!r}. Read it once and change the "
                "values of one branch with into() or map()"
            )
        return source

    def own(self, node: Owner) -> Owner:
        """Registers a node under its name; `NameCollisionError` if another has it. The same key_by again gives the first one."""
        found = self._owners.get(node.name)
        if found is None:
            self._owners[node.name] = (node, caller())
            return node
        owner, place = found
        if isinstance(owner, Repartition) and isinstance(node, Repartition) and owner.same_as(node):
            return cast(Owner, owner)  # same_as compares the type
        raise NameCollisionError(
            f"two things are named '{node.name}': {owner.label} at {place}, and {node.label} at {caller()}. Each owns topics of "
            f"that name in Kafka; give one another name{' by name=' if isinstance(node, Repartition) else ''}"
        )
